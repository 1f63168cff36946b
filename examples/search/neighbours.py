"""Which iris is it? Ask the nearest ones that are known."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

IRIS = Path(__file__).parent / "iris.csv"
FOLDS = 5


@dataclass(frozen=True)
class Choice:
    """k neighbours vote; they are near by the Minkowski distance of order p."""

    k: int
    p: float
    weighted: bool


def accuracy(choice: Choice) -> float:
    """Share of the flowers that are named rightly by those outside of their own fold."""
    cells = np.loadtxt(IRIS, dtype=str, delimiter=",", skiprows=1)
    flowers = cells[:, :4].astype(float)
    names, species = np.unique(cells[:, 4], return_inverse=True)
    distances = (np.abs(flowers[:, None] - flowers[None]) ** choice.p).sum(axis=2) ** (1 / choice.p)
    fold = np.arange(len(flowers)) % FOLDS
    distances[fold[:, None] == fold[None]] = np.inf
    nearest = np.argsort(distances, axis=1, kind="stable")[:, : choice.k]
    votes = np.zeros((len(flowers), len(names)))
    for column in nearest.T:
        away = distances[np.arange(len(flowers)), column]
        votes[np.arange(len(flowers)), species[column]] += 1 / (away + 1e-9) if choice.weighted else 1
    return float(np.mean(votes.argmax(axis=1) == species))
