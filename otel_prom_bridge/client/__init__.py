"""To and from prometheus_client."""
