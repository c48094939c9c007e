"""Canonical names of language models: what the rule `ModelName` shows, and prices are found under."""

from otel_prom_bridge.model_names.canonical import canonical, spellings

__all__ = ["canonical", "spellings"]
