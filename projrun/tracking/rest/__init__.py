"""A remote MLflow server as the store."""
