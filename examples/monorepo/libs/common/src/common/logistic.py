"""Logistic regression by gradient descent."""

import numpy as np


def fitted(features: np.ndarray, labels: np.ndarray, epochs: int, rate: float = 0.5) -> np.ndarray:
    """Weights (feature + intercept) for standardised features (row x feature) and labels 0 or 1."""
    rows = with_intercept(features)
    weights = np.zeros(rows.shape[1])
    for _ in range(epochs):
        weights += rate * rows.T @ (labels - chances(features, weights)) / len(labels)
    return weights


def chances(features: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-with_intercept(features) @ weights))


def with_intercept(features: np.ndarray) -> np.ndarray:
    return np.column_stack([features, np.ones(len(features))])
