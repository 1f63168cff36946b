"""Cross-validate the parameters; fail when the model explains less than a quarter of the variance."""

import sys

import mlflow
from diabetes import SEED, arguments, data, pipeline
from sklearn.model_selection import KFold, cross_val_score

WANTED_R2 = 0.25


def main() -> None:
    given = arguments()
    folds = KFold(n_splits=5, shuffle=True, random_state=SEED)
    scores = cross_val_score(pipeline(given.alpha, given.l1_ratio), *data(), cv=folds, scoring="r2")
    with mlflow.start_run():
        for fold, score in enumerate(scores):
            mlflow.log_metric("fold_r2", score, step=fold)
        mlflow.log_metric("r2", scores.mean())
    print(f"r2 over {len(scores)} folds: {scores.mean():.3f} ± {scores.std():.3f}")
    if scores.mean() < WANTED_R2:
        sys.exit(f"r2 is below {WANTED_R2}")


if __name__ == "__main__":
    main()
