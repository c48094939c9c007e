"""HTTP servers: ASGI and WSGI applications, and what both share."""
