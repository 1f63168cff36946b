"""Train an elastic net by stochastic gradient descent and log how it went, epoch by epoch."""

import joblib
import matplotlib

matplotlib.use("Agg")

import mlflow
from diabetes import SEED, arguments, data, regressor
from matplotlib.figure import Figure
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

EPOCHS = 40


def main() -> None:
    given = arguments()
    features, target = data()
    train_x, test_x, train_y, test_y = train_test_split(features, target, test_size=0.25, random_state=SEED)
    scaler = StandardScaler().fit(train_x)
    model = regressor(given.alpha, given.l1_ratio)
    losses = []
    with mlflow.start_run():
        mlflow.log_params({"epochs": EPOCHS, "seed": SEED})
        for epoch in range(EPOCHS):
            model.partial_fit(scaler.transform(train_x), train_y)
            losses.append(root_mean_squared_error(test_y, model.predict(scaler.transform(test_x))))
            mlflow.log_metric("rmse", losses[-1], step=epoch)
        predicted = model.predict(scaler.transform(test_x))
        r2 = r2_score(test_y, predicted)
        mlflow.log_metrics({"mae": mean_absolute_error(test_y, predicted), "r2": r2})
        mlflow.log_figure(learning_curve(losses), "learning_curve.png")
        joblib.dump(make_pipeline(scaler, model), "model.joblib")
        mlflow.log_artifact("model.joblib", "model")
    print(f"alpha={given.alpha} l1_ratio={given.l1_ratio}: rmse={losses[-1]:.2f} r2={r2:.3f}")


def learning_curve(losses: list[float]) -> Figure:
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot(range(1, len(losses) + 1), losses)
    axes.set_xlabel("epoch")
    axes.set_ylabel("RMSE on held-out data")
    return figure


if __name__ == "__main__":
    main()
