"""Run by a real mlflow client's interpreter: fills the store of mlflow's own that argv[1] names."""

# mypy: disable-error-code="import-not-found,import-untyped"

import json
import math
import os
import sys

import mlflow
from mlflow import MlflowClient

mlflow.set_tracking_uri(sys.argv[1])
os.makedirs("work", exist_ok=True)
with open("work/ä b.txt", "w") as file:
    file.write("hello")

mlflow.set_experiment("old times")
with mlflow.start_run(run_name="first", tags={"team": "blue"}) as first:
    mlflow.log_params({"depth": 3, "a/b": "x" * 300})
    for step in range(3):
        mlflow.log_metric("loss", 1 / (step + 1), step=step)
    mlflow.log_metrics({"nan": math.nan, "inf": math.inf, "ninf": -math.inf})
    mlflow.log_artifacts("work", "files")
    if hasattr(mlflow, "log_input"):
        import pandas

        data = mlflow.data.from_pandas(pandas.DataFrame({"x": [1, 2]}), name="two rows")
        mlflow.log_input(data, context="training")
    with mlflow.start_run(nested=True, run_name="inner") as inner:
        pass
with mlflow.start_run(run_name="gone") as gone:
    pass
client = MlflowClient()
client.delete_run(gone.info.run_id)
client.set_experiment_tag(first.info.experiment_id, "owner", "me")
client.set_terminated(inner.info.run_id, "FAILED")
mlflow.set_experiment("another")
with mlflow.start_run():
    mlflow.log_metric("z", 1)
print(json.dumps([first.info.run_id, inner.info.run_id, gone.info.run_id]))
