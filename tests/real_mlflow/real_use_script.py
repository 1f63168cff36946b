"""Run through `projrun run` by mlflow clients of every version: what scripts do. Prints JSON."""

# mypy: disable-error-code="import-not-found,import-untyped"

import json
import os
import sys
import tempfile
from pathlib import Path

import mlflow
import mlflow.sklearn
import numpy
from mlflow import MlflowClient
from sklearn.linear_model import LinearRegression

FULL, MAJOR = sys.argv[1] == "full", int(mlflow.__version__.split(".")[0])
INFERS = FULL and MAJOR != 2  # the oldest and the newest: it takes its time
client = MlflowClient()
inputs = numpy.array([[1.0], [2.0], [3.0], [4.0]])
targets = numpy.array([2.0, 4.0, 6.0, 8.0])
seen = {}

with mlflow.start_run() as run:
    run_id = run.info.run_id
    mlflow.log_params({"rate": 0.1, "depth": 3})
    for step in range(3):
        mlflow.log_metrics({"loss": 1.0 / (step + 1)}, step=step)
    mlflow.set_tags({"team": "blue"})
    mlflow.log_dict({"x": 1}, "conf/a.json")
    mlflow.log_text("spoken", "notes.txt")
    if hasattr(mlflow, "log_table"):
        mlflow.log_table({"word": ["a", "b"]}, "words.json")
        seen["table"] = mlflow.load_table("words.json", run_ids=[run_id])["word"].tolist()
    if FULL:
        import matplotlib

        matplotlib.use("agg")
        from matplotlib import pyplot

        figure, axes = pyplot.subplots()
        axes.plot([1, 2])
        mlflow.log_figure(figure, "plots/line.png")
        seen["figure"] = [file.path for file in client.list_artifacts(run_id, "plots")]
    # Clients from 2.10 on ask for an upload in parts first.
    os.environ["MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD"] = "true"
    os.environ["MLFLOW_MULTIPART_UPLOAD_MINIMUM_FILE_SIZE"] = str(5 << 20)
    os.environ["MLFLOW_MULTIPART_UPLOAD_CHUNK_SIZE"] = str(5 << 20)
    with tempfile.TemporaryDirectory() as place:
        Path(place, "big.bin").write_bytes(bytes(range(256)) * (6 << 12))
        mlflow.log_artifact(f"{place}/big.bin")
    seen["big"] = [
        (file.path, file.file_size) for file in client.list_artifacts(run_id) if "big" in file.path
    ]
    with mlflow.start_run(nested=True, run_name="inner") as inner:
        mlflow.log_metric("loss", 9)
    named: dict[str, object] = {"name": "line"} if MAJOR >= 3 else {"artifact_path": "line"}
    model = LinearRegression().fit(inputs, targets)
    if not INFERS:  # else they start a process to find out what the model imports
        named["pip_requirements"] = ["scikit-learn", "cloudpickle"]
    mlflow.sklearn.log_model(model, registered_model_name="lines", **named)

if hasattr(client, "set_registered_model_alias"):
    client.set_registered_model_alias("lines", "champion", "1")
client.transition_model_version_stage("lines", "1", "Production")
names = [f"runs:/{run_id}/line", "models:/lines/1", "models:/lines/Production", "models:/lines/latest"]
if hasattr(client, "set_registered_model_alias"):
    names.append("models:/lines@champion")
seen["loaded"] = [round(float(mlflow.pyfunc.load_model(name).predict(inputs[:1])[0]), 6) for name in names]
needs = Path(mlflow.pyfunc.get_model_dependencies(f"runs:/{run_id}/line")).read_text()
seen["needs"] = "scikit-learn" in needs

mlflow.sklearn.autolog(log_models=False)
with mlflow.start_run(nested=True) as learned:
    LinearRegression().fit(inputs, targets)
mlflow.sklearn.autolog(disable=True)
learned = client.get_run(learned.info.run_id)
seen["autolog"] = [learned.data.params["fit_intercept"], learned.data.tags["estimator_name"]]

experiment = run.info.experiment_id
found = mlflow.search_runs(
    [experiment], "metrics.loss < 0.5 and params.depth = '3' and tags.team = 'blue'", output_format="list"
)
seen["found"] = [one.info.run_id == run_id for one in found]
children = client.search_runs(
    [experiment], f"tags.`mlflow.parentRunId` = '{run_id}'", order_by=["metrics.loss DESC"]
)
seen["children"] = [one.info.run_id == inner.info.run_id for one in children]
seen["history"] = [metric.value for metric in client.get_metric_history(run_id, "loss")]
seen["text"] = mlflow.artifacts.load_text(f"{run.info.artifact_uri}/notes.txt")
seen["stage"] = client.get_model_version("lines", "1").current_stage
print(json.dumps(seen))
