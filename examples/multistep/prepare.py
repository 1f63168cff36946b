"""Drop the days that lack a value, split the others into training and test data."""

import random
from argparse import ArgumentParser
from pathlib import Path

import mlflow

RENTALS = Path(__file__).parent / "data" / "rentals.csv"
SEED = 7


def main() -> None:
    parser = ArgumentParser()
    parser.add_argument("--test-share", type=float, required=True)
    share = parser.parse_args().test_share
    header, *days = RENTALS.read_text().splitlines()
    complete = [day for day in days if all(day.split(","))]
    random.Random(SEED).shuffle(complete)
    held_out = round(share * len(complete))
    with mlflow.start_run():
        mlflow.log_text("\n".join([header, *complete[held_out:]]), "train.csv")
        mlflow.log_text("\n".join([header, *complete[:held_out]]), "test.csv")
        mlflow.log_metrics({"days": len(complete), "days_dropped": len(days) - len(complete)})
    print(f"{len(complete)} days, {held_out} of them held out, {len(days) - len(complete)} dropped")


if __name__ == "__main__":
    main()
