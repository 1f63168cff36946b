"""The embedded store: one SQLite file and a directory of artifacts."""
