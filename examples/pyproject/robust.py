# /// script
# requires-python = ">=3.10"
# dependencies = ["mlflow-skinny", "numpy"]
# ///
"""A line that one outlier cannot move: the median of the slopes between all pairs (Theil and Sen)."""

from itertools import combinations

import mlflow
import numpy as np

X = np.array([10, 8, 13, 9, 11, 14, 6, 4, 12, 7, 5])
Y = np.array([7.46, 6.77, 12.74, 7.11, 7.81, 8.84, 6.08, 5.39, 8.15, 6.42, 5.73])

slopes = [(Y[b] - Y[a]) / (X[b] - X[a]) for a, b in combinations(range(len(X)), 2)]
least_squares = float(np.polyfit(X, Y, 1)[0])
robust = float(np.median(slopes))

with mlflow.start_run():
    mlflow.log_metrics({"slope_least_squares": least_squares, "slope_robust": robust})
print(f"slope of set III: {least_squares:.3f} by least squares, {robust:.3f} by the median")
