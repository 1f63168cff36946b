"""Conda environments, made by rattler."""
