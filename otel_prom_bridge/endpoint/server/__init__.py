"""The server: one thread has all sockets, and workers make the answers."""
