"""Least squares: a polynomial through each set."""

from argparse import ArgumentParser

import mlflow
import numpy as np

from anscombe.data import SETS


def main() -> None:
    parser = ArgumentParser()
    parser.add_argument("--degree", type=int, default=1)
    degree = parser.parse_args().degree
    with mlflow.start_run():
        mlflow.log_param("degree", degree)
        for name, (x, y) in SETS.items():
            r2 = explained(np.array(x), np.array(y), degree)
            mlflow.log_metric(f"r2_{name}", r2)
            print(f"set {name:3}: r2={r2:.3f}")


def explained(x: np.ndarray, y: np.ndarray, degree: int) -> float:
    """Share of the variance of y that the polynomial explains."""
    powers = np.vander(x, degree + 1)
    weights = np.linalg.lstsq(powers, y, rcond=None)[0]
    return float(1 - np.var(y - powers @ weights) / np.var(y))
