"""How likely was an O-ring to be damaged at a launch of the Space Shuttle, given the temperature?

A logistic regression by Newton's method, with an interval from launches drawn anew (bootstrap).
"""

import csv
import random
import time
from argparse import ArgumentParser

import mlflow
import numpy as np

FAHRENHEIT = [66, 70, 69, 68, 67, 72, 73, 70, 57, 63, 70, 78, 67, 53, 67, 75, 70, 81, 76, 79, 75, 76, 58]
DAMAGED = [0, 1, 0, 0, 0, 0, 0, 0, 1, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 0, 1]
CHALLENGER = 31
"""Degrees at the launch of 28 January 1986."""
SEED = 1986


def main() -> None:
    parser = ArgumentParser()
    parser.add_argument("--resamples", type=int, required=True)
    resamples = parser.parse_args().resamples
    started = time.monotonic()
    launches = np.array(FAHRENHEIT, float), np.array(DAMAGED, float)
    weights = fitted(*launches)
    dice = random.Random(SEED)  # numpy may change its streams from one release to the next
    drawn = [dice.choices(range(len(DAMAGED)), k=len(DAMAGED)) for _ in range(resamples)]
    others = [fitted(launches[0][rows], launches[1][rows]) for rows in drawn]
    with open("risk.csv", "w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["fahrenheit", "risk", "low", "high"])
        for degrees in (CHALLENGER, 53, 65, 75):
            low, high = np.quantile([risk(one, degrees) for one in others], [0.05, 0.95])
            table.writerow([degrees, risk(weights, degrees), float(low), float(high)])
    with mlflow.start_run():
        mlflow.log_metrics({"intercept": weights[0], "slope": weights[1], "risk": risk(weights, CHALLENGER)})
        mlflow.log_metric("seconds", time.monotonic() - started)
    print(f"risk at {CHALLENGER} °F: {risk(weights, CHALLENGER):.4f}; slope {weights[1]:.4f} per degree")


def fitted(fahrenheit: np.ndarray, damaged: np.ndarray) -> np.ndarray:
    """Intercept and slope; a small penalty keeps them finite where the launches can be told apart."""
    features = np.stack([np.ones_like(fahrenheit), (fahrenheit - 65) / 10], axis=1)
    weights = np.zeros(2)
    for _ in range(30):
        chances = 1 / (1 + np.exp(-features @ weights))
        gradient = features.T @ (damaged - chances) - 1e-3 * weights
        curvature = (features.T * (chances * (1 - chances))) @ features + 1e-3 * np.eye(2)
        weights = weights + np.linalg.solve(curvature, gradient)
    return np.array([weights[0] - 6.5 * weights[1], weights[1] / 10])


def risk(weights: np.ndarray, fahrenheit: float) -> float:
    return float(1 / (1 + np.exp(-(weights[0] + weights[1] * fahrenheit))))


if __name__ == "__main__":
    main()
