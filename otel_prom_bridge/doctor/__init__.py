"""Why there is nothing to see: what is configured here, and what of it cannot work."""
