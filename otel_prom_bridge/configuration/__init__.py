"""Where options come from, and what they become."""
