"""Run by the interpreter of a real mlflow client, 3.x: a script that logs, registers and loads models."""

# mypy: ignore-errors

import json
import warnings

warnings.simplefilter("ignore")

import mlflow  # noqa: E402
import mlflow.sklearn  # noqa: E402
import numpy as np  # noqa: E402
from mlflow import MlflowClient  # noqa: E402
from sklearn.linear_model import LinearRegression  # noqa: E402

x, y = np.array([[1.0], [2.0], [3.0]]), np.array([2.0, 4.0, 6.0])
model = LinearRegression().fit(x, y)
client = MlflowClient()
pins = ["scikit-learn"]  # without them the client would look for requirements in a process of its own


def code(call):
    try:
        call()
    except mlflow.MlflowException as error:
        return error.error_code
    return "OK"


def predicted(uri):
    return round(float(mlflow.sklearn.load_model(uri).predict([[4.0]])[0]), 6)


experiment = mlflow.set_experiment("models")
with mlflow.start_run() as run:
    mlflow.log_param("depth", 3)
    first = mlflow.sklearn.log_model(
        model, name="ridge", registered_model_name="prices", pip_requirements=pins, params={"alpha": 1}
    )
    mlflow.log_metric("rmse", 0.5, model_id=first.model_id)
    mlflow.log_metric("rmse", 0.25, step=1, model_id=first.model_id)
    second = mlflow.sklearn.log_model(model, name="lasso", pip_requirements=pins)
    mlflow.log_metric("rmse", 0.75, model_id=second.model_id)
run_id = run.info.run_id

version = mlflow.register_model(f"models:/{second.model_id}", "prices", tags={"kind": "lasso"})
client.set_registered_model_alias("prices", "champion", "2")
client.set_registered_model_tag("prices", "team", "blue")
client.set_model_version_tag("prices", "1", "checked", "yes")
client.update_registered_model("prices", "what houses cost")
client.update_model_version("prices", "1", "the first")
client.create_registered_model("weather", tags={"team": "red"})
client.copy_model_version("models:/prices@champion", "copies")

uris = [
    f"runs:/{run_id}/ridge",
    f"models:/{first.model_id}",
    "models:/prices/1",
    "models:/prices@champion",
    "models:/prices/latest",
    "models:/copies/1",
]
seen = {"loaded": [predicted(uri) for uri in uris]}
seen["pyfunc"] = round(float(mlflow.pyfunc.load_model("models:/prices/2").predict(x)[0]), 6)

client.transition_model_version_stage("prices", "1", "Production")
client.transition_model_version_stage("prices", "2", "production", archive_existing_versions=True)
seen["stages"] = [client.get_model_version("prices", n).current_stage for n in ("1", "2")]
seen["by_stage"] = predicted("models:/prices/Production")
seen["latest"] = sorted(v.version for v in client.get_latest_versions("prices"))
seen["alias"] = client.get_model_version_by_alias("prices", "champion").version
seen["aliases"] = client.get_registered_model("prices").aliases
got = client.get_model_version("prices", "1")
seen["version"] = [got.description, got.tags, got.run_id == run_id, got.source == f"models:/{first.model_id}"]
seen["registered"] = [
    [m.name for m in client.search_registered_models()],
    [m.name for m in client.search_registered_models("name LIKE 'p%'")],
    [m.name for m in client.search_registered_models("tags.team = 'red'")],
    [m.name for m in client.search_registered_models(order_by=["name DESC"], max_results=2)],
]
seen["versions"] = [
    sorted((v.name, v.version) for v in client.search_model_versions(f"run_id = '{run_id}'")),
    [v.version for v in client.search_model_versions("name='prices'", order_by=["version_number ASC"])],
    sorted(v.version for v in client.search_model_versions("tags.kind = 'lasso'")),
]

logged = client.get_logged_model(first.model_id)
client.set_logged_model_tags(first.model_id, {"a": "1", "b/c": "2"})
client.delete_logged_model_tag(first.model_id, "b/c")
seen["logged"] = [
    logged.name,
    str(logged.status),
    logged.params,
    sorted((m.key, m.value, m.step, m.run_id == run_id) for m in logged.metrics),
    {key: value for key, value in client.get_logged_model(first.model_id).tags.items() if key == "a"},
    logged.source_run_id == run_id,
    sorted(f.path for f in client.list_logged_model_artifacts(first.model_id))[:1],
]


def search(**arguments):
    found = mlflow.search_logged_models([experiment.experiment_id], output_format="list", **arguments)
    return [m.name for m in found]


seen["search"] = [
    search(),
    search(filter_string="name = 'ridge' AND params.depth = '3'"),
    search(filter_string="metrics.rmse > 0.6"),
    search(order_by=[{"field_name": "metrics.rmse", "ascending": True}]),
    search(filter_string=f"source_run_id = '{run_id}' AND status = 'READY'", max_results=1),
]
outputs = client.get_run(run_id).outputs.model_outputs
seen["outputs"] = sorted(o.model_id for o in outputs) == sorted([first.model_id, second.model_id])
seen["run_artifacts"] = sorted(f.path for f in client.list_artifacts(run_id))

client.rename_registered_model("weather", "climate")
client.delete_registered_model_alias("prices", "champion")
client.delete_model_version_tag("prices", "1", "checked")
client.delete_registered_model_tag("prices", "team")
client.delete_model_version("prices", "2")
client.delete_registered_model("copies")
client.delete_logged_model(second.model_id)
seen["codes"] = [
    code(lambda: client.create_registered_model("prices")),
    code(lambda: client.get_registered_model("weather")),
    code(lambda: client.get_model_version("prices", "2")),
    code(lambda: client.get_model_version_by_alias("prices", "champion")),
    code(lambda: client.get_logged_model(second.model_id)),
    code(lambda: client.create_model_version("prices", "file:///etc", run_id)),
    code(lambda: client.transition_model_version_stage("prices", "1", "nowhere")),
]
print(json.dumps({**seen, "run_id": run_id, "model_id": first.model_id}, default=str))
