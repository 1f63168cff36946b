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

# The directories of mlflow 1.x keep none.
has_registry = "sqlite" in sys.argv[1] or not mlflow.__version__.startswith("1.")
if has_registry:
    client.create_registered_model("prices", tags={"team": "blue"}, description="what houses cost")
    source = f"{first.info.artifact_uri}/files"
    client.create_model_version("prices", source, first.info.run_id, tags={"checked": "yes"})
    client.create_model_version("prices", source, first.info.run_id, description="the second")
    client.transition_model_version_stage("prices", "2", "Production")
    if hasattr(client, "set_registered_model_alias"):
        client.set_registered_model_alias("prices", "champion", "1")
model_id = ""
if hasattr(client, "create_logged_model"):
    model = client.create_logged_model(
        first.info.experiment_id, "line", first.info.run_id, tags={"kind": "linear"}, params={"alpha": "1"}
    )
    model_id = model.model_id
    client.log_model_artifacts(model_id, "work")
    client.finalize_logged_model(model_id, "READY")
    from mlflow.entities import LoggedModelOutput

    client.log_outputs(first.info.run_id, [LoggedModelOutput(model_id, step=2)])
    client.log_metric(first.info.run_id, "rmse", 0.5, step=1, model_id=model_id)
    client.log_metric(first.info.run_id, "rmse", math.nan, step=2, model_id=model_id)
    client.create_model_version("prices", f"models:/{model_id}", first.info.run_id, model_id=model_id)
mlflow.set_experiment("another")
with mlflow.start_run():
    mlflow.log_metric("z", 1)
print(json.dumps([[first.info.run_id, inner.info.run_id, gone.info.run_id], model_id]))
