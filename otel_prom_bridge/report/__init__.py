"""What the bridge says about itself, and what it finds in expositions of others."""
