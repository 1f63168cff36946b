"""Ridge regression in closed form, on standardised features."""

from argparse import ArgumentParser

import mlflow
import numpy as np
from tables import table


def main() -> None:
    parser = ArgumentParser()
    parser.add_argument("--prepared", required=True)
    parser.add_argument("--alpha", type=float, required=True)
    given = parser.parse_args()
    features, rentals = table(given.prepared, "train.csv")
    mean, scale = features.mean(axis=0), features.std(axis=0)
    weights = ridge((features - mean) / scale, rentals - rentals.mean(), given.alpha)
    model = {"mean": mean, "scale": scale, "weights": weights, "intercept": rentals.mean()}
    with mlflow.start_run():
        mlflow.log_dict({name: np.asarray(value).tolist() for name, value in model.items()}, "model.json")
        mlflow.log_metric("weight_norm", float(np.linalg.norm(weights)))
    print("weights:", np.round(weights, 1))


def ridge(features: np.ndarray, target: np.ndarray, alpha: float) -> np.ndarray:
    penalty = alpha * np.eye(features.shape[1])
    return np.linalg.solve(features.T @ features + penalty, features.T @ target)


if __name__ == "__main__":
    main()
