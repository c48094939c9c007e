"""Databases: their queries, connections and errors."""
