"""The data and the model that both entry points share."""

from argparse import ArgumentParser, Namespace

from sklearn.datasets import load_diabetes
from sklearn.linear_model import SGDRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

SEED = 42


def arguments() -> Namespace:
    parser = ArgumentParser()
    parser.add_argument("--alpha", type=float, required=True)
    parser.add_argument("--l1-ratio", type=float, required=True)
    return parser.parse_args()


def data():
    """442 patients, 10 measurements each, and the progress of their disease after a year."""
    return load_diabetes(return_X_y=True)


def regressor(alpha: float, l1_ratio: float) -> SGDRegressor:
    return SGDRegressor(
        penalty="elasticnet", alpha=alpha, l1_ratio=l1_ratio, eta0=0.003, max_iter=5000, random_state=SEED
    )


def pipeline(alpha: float, l1_ratio: float):
    return make_pipeline(StandardScaler(), regressor(alpha, l1_ratio))
