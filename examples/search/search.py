"""Random search: each choice is a run of its own below this one, the best is told in this one's tags."""

import random
from argparse import ArgumentParser
from dataclasses import asdict

import mlflow
from neighbours import Choice, accuracy


def main() -> None:
    parser = ArgumentParser()
    parser.add_argument("--trials", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    given = parser.parse_args()
    dice = random.Random(given.seed)
    with mlflow.start_run():
        scores = {choice: tried(choice) for choice in {drawn(dice): None for _ in range(given.trials)}}
        best = max(scores, key=lambda choice: scores[choice])
        mlflow.log_metric("best_accuracy", scores[best])
        mlflow.set_tags({f"best_{name}": value for name, value in asdict(best).items()})
    print(f"best of {len(scores)}: {best} with accuracy {scores[best]:.3f}")


def drawn(dice: random.Random) -> Choice:
    return Choice(k=dice.randint(1, 60), p=dice.choice([1, 2, 3]), weighted=dice.random() < 0.5)


def tried(choice: Choice) -> float:
    score = accuracy(choice)
    with mlflow.start_run(nested=True, run_name=f"k={choice.k}"):
        mlflow.log_params(asdict(choice))
        mlflow.log_metric("accuracy", score)
    return score


if __name__ == "__main__":
    main()
