"""What the bridge says of itself and of others."""
