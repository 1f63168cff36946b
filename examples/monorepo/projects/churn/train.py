"""Who is going to leave? Train on the first three quarters of the customers, score on the others."""

from argparse import ArgumentParser
from pathlib import Path

import mlflow
import numpy as np
from common.logistic import chances, fitted
from common.scores import auc

CUSTOMERS = Path(__file__).parent / "customers.csv"


def main() -> None:
    parser = ArgumentParser()
    parser.add_argument("--epochs", type=int, required=True)
    epochs = parser.parse_args().epochs
    rows = np.loadtxt(CUSTOMERS, delimiter=",", skiprows=1)
    features, left = rows[:, :-1], rows[:, -1]
    features = (features - features.mean(axis=0)) / features.std(axis=0)
    border = len(rows) * 3 // 4
    weights = fitted(features[:border], left[:border], epochs)
    score = auc(left[border:], chances(features[border:], weights))
    with mlflow.start_run():
        mlflow.log_metric("auc", score)
        mlflow.log_dict({"months": weights[0], "calls": weights[1], "fee": weights[2]}, "weights.json")
    print(f"auc of {len(rows) - border} customers: {score:.3f}")


if __name__ == "__main__":
    main()
