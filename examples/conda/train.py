"""The width of a petal from its length: a line by least squares."""

from argparse import ArgumentParser

import mlflow
import numpy as np


def main() -> None:
    parser = ArgumentParser()
    parser.add_argument("--held-out", type=int, required=True)
    parser.add_argument("petals")
    given = parser.parse_args()
    length, width = np.loadtxt(given.petals, delimiter=",").T
    slope, intercept = np.polyfit(length[given.held_out :], width[given.held_out :], 1)
    errors = width[: given.held_out] - (slope * length[: given.held_out] + intercept)
    with mlflow.start_run():
        mlflow.log_metrics({"slope": slope, "rmse": float(np.sqrt(np.mean(errors**2)))})
    print(f"width = {slope:.3f} * length {intercept:+.3f} cm")


if __name__ == "__main__":
    main()
