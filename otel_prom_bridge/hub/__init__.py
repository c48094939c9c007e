"""One process that shows what all processes of an application record: they push, and it is scraped."""
