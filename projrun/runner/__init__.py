"""Turn a request into a record."""
