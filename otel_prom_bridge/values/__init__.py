"""What a value of an option may be, and how it is written."""
