"""The server: one thread with all sockets, workers for answers."""
