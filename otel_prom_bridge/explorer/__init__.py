"""The explorer: a page that shows what an endpoint exposes, and the JSON that it is made of."""
