"""How good a classifier is."""

import numpy as np


def auc(labels: np.ndarray, chances: np.ndarray) -> float:
    """Chance that one who has the label is ranked above one who has not; ties count half."""
    higher = chances[labels == 1][:, None] - chances[labels == 0][None]
    return float(np.mean((higher > 0) + 0.5 * (higher == 0)))
