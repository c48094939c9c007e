"""What the SDK hands over: its instruments, and its batches as streams of points."""
