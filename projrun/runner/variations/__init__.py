"""Do a run again with one thing varied."""
