"""How far the model is off on the days that it has not seen."""

from argparse import ArgumentParser

import mlflow
import numpy as np
from tables import table


def main() -> None:
    parser = ArgumentParser()
    parser.add_argument("--prepared", required=True)
    parser.add_argument("--trained", required=True)
    given = parser.parse_args()
    features, rentals = table(given.prepared, "test.csv")
    model = mlflow.artifacts.load_dict(f"runs:/{given.trained}/model.json")
    standardised = (features - np.array(model["mean"])) / np.array(model["scale"])
    errors = rentals - (standardised @ np.array(model["weights"]) + model["intercept"])
    with mlflow.start_run():
        mlflow.log_metric("rmse", float(np.sqrt(np.mean(errors**2))))
        mlflow.log_metric("r2", float(1 - np.mean(errors**2) / np.var(rentals)))


if __name__ == "__main__":
    main()
