"""What is to be shown: a description, checked when it is made."""
