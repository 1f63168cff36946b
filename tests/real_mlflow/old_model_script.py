"""Run by the interpreter of a mlflow client of 1.x or 2.x: it logs models below runs, and registers them."""

# mypy: ignore-errors

import json
import warnings

warnings.simplefilter("ignore")

import mlflow  # noqa: E402
import mlflow.sklearn  # noqa: E402
import numpy as np  # noqa: E402
from mlflow.tracking import MlflowClient  # noqa: E402
from sklearn.linear_model import LinearRegression  # noqa: E402

x, y = np.array([[1.0], [2.0], [3.0]]), np.array([2.0, 4.0, 6.0])
model = LinearRegression().fit(x, y)
client = MlflowClient()
pins = ["scikit-learn"]
has_aliases = hasattr(client, "set_registered_model_alias")


def code(call):
    try:
        call()
    except mlflow.exceptions.MlflowException as error:
        return error.error_code
    return "OK"


def predicted(uri):
    return round(float(mlflow.sklearn.load_model(uri).predict([[4.0]])[0]), 6)


mlflow.set_experiment("models")
with mlflow.start_run() as run:
    mlflow.sklearn.log_model(
        model, artifact_path="model", registered_model_name="prices", pip_requirements=pins
    )
run_id = run.info.run_id
mlflow.register_model("runs:/{}/model".format(run_id), "prices")  # noqa: UP032
client.create_registered_model("weather", tags={"team": "red"})
client.set_model_version_tag("prices", "1", "checked", "yes")
client.transition_model_version_stage("prices", "1", "Production")
client.transition_model_version_stage("prices", "2", "Production", archive_existing_versions=True)

uris = ["runs:/%s/model" % run_id, "models:/prices/1", "models:/prices/Production"]  # noqa: UP031
if has_aliases:
    client.set_registered_model_alias("prices", "champion", "1")
    uris.append("models:/prices@champion")
if hasattr(client, "list_registered_models"):
    listed = [m.name for m in client.list_registered_models()]
else:
    listed = [m.name for m in client.search_registered_models()]
seen = {
    "loaded": {predicted(uri) for uri in uris} == {8.0},
    "stages": [client.get_model_version("prices", n).current_stage for n in ("1", "2")],
    "latest": [v.version for v in client.get_latest_versions("prices", ["Production"])],
    "listed": listed,
    "found": [m.name for m in client.search_registered_models("name LIKE 'w%'")],
    "versions": sorted(v.version for v in client.search_model_versions("name='prices'")),
    "tags": client.get_model_version("prices", "1").tags,
    "artifacts": "model/MLmodel" in [f.path for f in client.list_artifacts(run_id, "model")],
    "history": "mlflow.log-model.history" in client.get_run(run_id).data.tags,
    "codes": [
        code(lambda: client.create_registered_model("prices")),
        code(lambda: client.get_registered_model("nothing")),
    ],
}
print(json.dumps(seen))
