"""The SDK's MetricReader, and one collection at a time."""
