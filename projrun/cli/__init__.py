"""Doors: one small file per verb. Their bodies import what they need."""
