"""Metrics from the spans that are there."""
