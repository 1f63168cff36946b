"""Run by the real mlflow client's interpreter: a training script of the usual kind. Prints JSON."""

# mypy: disable-error-code="import-not-found"

import json
import math
import sys
import tempfile
from pathlib import Path

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag

mlflow.set_experiment("real")
scratch = Path(tempfile.mkdtemp(dir=sys.argv[1]))
(scratch / "dir" / "deep").mkdir(parents=True)
(scratch / "dir" / "deep" / "b ü.txt").write_text("bee")
(scratch / "a.txt").write_text("a")

with mlflow.start_run(run_name="outer", tags={"team": "blue"}) as outer:
    mlflow.log_param("depth", 3)
    mlflow.log_params({"rate": 0.1, "name": "näme"})
    for step in range(3):
        mlflow.log_metric("loss", 1.0 / (step + 1), step=step)
    mlflow.log_metrics({"nan": math.nan, "inf": math.inf, "ninf": -math.inf}, step=1)
    mlflow.set_tag("note", "hello")
    mlflow.log_artifact(str(scratch / "a.txt"), "files")
    mlflow.log_artifacts(str(scratch / "dir"), "tree")
    mlflow.log_dict({"x": [1, 2]}, "d.json")
    mlflow.log_text("text", "t.txt")
    with mlflow.start_run(run_name="inner", nested=True) as inner:
        mlflow.log_metric("loss", 7)

client = MlflowClient()
now = 1_700_000_000_000
client.log_batch(
    outer.info.run_id,
    metrics=[Metric(f"m{n}", float(n), now, n) for n in range(1000)][:800],
    params=[Param(f"p{n}", str(n)) for n in range(100)],
    tags=[RunTag(f"t{n}", str(n)) for n in range(100)],
)
try:
    client.log_param(outer.info.run_id, "depth", 4)
    changed = "allowed"
except mlflow.MlflowException as error:
    changed = error.error_code
try:
    client.get_run("0" * 32)
    missing = "found"
except mlflow.MlflowException as error:
    missing = error.error_code

run = client.get_run(outer.info.run_id)
target = mlflow.artifacts.download_artifacts(
    run_id=run.info.run_id, artifact_path="tree", dst_path=str(scratch)
)
found = mlflow.search_runs(
    experiment_names=["real"], filter_string="metrics.loss < 1 and params.depth = '3'", output_format="list"
)
nested = client.search_runs(
    [run.info.experiment_id], f"tags.mlflow.parentRunId = '{run.info.run_id}'", order_by=["metrics.loss DESC"]
)
renamed = client.create_experiment("short-lived")
client.rename_experiment(renamed, "renamed")
client.delete_experiment(renamed)
client.delete_run(inner.info.run_id)
client.restore_run(inner.info.run_id)
client.delete_tag(run.info.run_id, "note")

print(
    json.dumps(
        {
            "run_id": run.info.run_id,
            "status": run.info.status,
            "name": run.info.run_name,
            "params": {key: run.data.params[key] for key in ("depth", "rate", "name", "p99")},
            "count": [len(run.data.params), len(run.data.metrics)],
            "metrics": {key: repr(run.data.metrics[key]) for key in ("loss", "nan", "inf", "ninf", "m799")},
            "history": [
                (m.step, round(m.value, 3)) for m in client.get_metric_history(run.info.run_id, "loss")
            ],
            "artifacts": [f.path for f in client.list_artifacts(run.info.run_id)],
            "deep": [
                (f.path, f.is_dir, f.file_size) for f in client.list_artifacts(run.info.run_id, "tree/deep")
            ],
            "downloaded": (Path(target) / "deep" / "b ü.txt").read_text(),
            "loaded": mlflow.artifacts.load_dict(f"{run.info.artifact_uri}/d.json"),
            "text": mlflow.artifacts.load_text(f"{run.info.artifact_uri}/t.txt"),
            "found": [r.info.run_name for r in found],
            "nested": [r.info.run_name for r in nested],
            "experiments": sorted(e.name for e in client.search_experiments()),
            "changed": changed,
            "missing": missing,
        }
    )
)
