"""What is read from disk, and read again when it changes."""
