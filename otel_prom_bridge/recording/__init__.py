"""What all recorders are made of: operations that end once, what goes on, and values of metrics."""
