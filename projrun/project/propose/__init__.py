"""Propose an MLproject file for a directory that has none."""
