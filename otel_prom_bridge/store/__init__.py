"""What was recorded: the state, and the families that it is shown as."""
