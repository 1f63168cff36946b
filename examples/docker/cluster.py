"""k-means: find the groups in points that nobody has sorted."""

from argparse import ArgumentParser

import mlflow
import numpy as np

SEED = 5
CENTRES = np.array([[0.0, 0.0], [6.0, 1.0], [3.0, 6.0]])


def main() -> None:
    parser = ArgumentParser()
    parser.add_argument("--clusters", type=int, required=True)
    clusters = parser.parse_args().clusters
    dice = np.random.default_rng(SEED)
    points = np.concatenate([centre + dice.normal(size=(100, 2)) for centre in CENTRES])
    centres = points[dice.choice(len(points), clusters, replace=False)]
    with mlflow.start_run():
        for step in range(20):
            away = np.linalg.norm(points[:, None] - centres[None], axis=2)
            nearest = away.argmin(axis=1)
            mlflow.log_metric("inertia", float((away.min(axis=1) ** 2).sum()), step=step)
            moved = np.array([centroid(points[nearest == one], centres[one]) for one in range(clusters)])
            if np.allclose(moved, centres):
                break
            centres = moved
    print(f"{clusters} clusters after {step + 1} steps, sizes {np.bincount(nearest, minlength=clusters)}")


def centroid(points: np.ndarray, before: np.ndarray) -> np.ndarray:
    """The mean of the points, or where it was if none are left."""
    return points.mean(axis=0) if len(points) else before


if __name__ == "__main__":
    main()
