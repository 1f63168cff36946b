"""Measurements, side by side with the floor and with mlflow."""
