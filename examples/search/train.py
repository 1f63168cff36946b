"""One choice alone, such as the best one."""

from argparse import ArgumentParser

import mlflow
from neighbours import Choice, accuracy


def main() -> None:
    parser = ArgumentParser()
    parser.add_argument("--k", type=int, required=True)
    parser.add_argument("--p", type=float, required=True)
    parser.add_argument("--weighted", required=True)
    given = parser.parse_args()
    weighted = given.weighted.lower() in ("true", "yes", "1")
    score = accuracy(Choice(given.k, given.p, weighted))
    with mlflow.start_run():
        mlflow.log_metric("accuracy", score)
    print(f"accuracy {score:.3f}")


if __name__ == "__main__":
    main()
