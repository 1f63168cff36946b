"""The real, unmodified mlflow client against a run's endpoint."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from projrun.server.endpoint import Endpoint
from projrun.tracking import Store
from tests.support.mlflow_clients import FIRST_MLFLOW_FULL, OLD_MODELS, Client


def printed(python: Path, script: str, endpoint: Endpoint, directory: Path) -> Any:
    """The last line of what `script` prints, decoded."""
    environ = {
        **os.environ,
        "MLFLOW_TRACKING_URI": endpoint.url,
        "MLFLOW_TRACKING_TOKEN": endpoint.token,
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
        "NO_PROXY": "127.0.0.1",
    }
    done = subprocess.run(
        [python, Path(__file__).with_name(script), directory],
        env=environ,
        capture_output=True,
        text=True,
        cwd=directory,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_a_training_script_logs_and_reads_all_that_it_usually_does(
    endpoint: Endpoint, store: Store, mlflow_python: Path, tmp_path: Path
) -> None:
    seen = printed(mlflow_python, "client_script.py", endpoint, tmp_path)
    run = store.get_run(seen.pop("run_id"))
    assert seen == {
        "status": "FINISHED",
        "name": "outer",
        "params": {"depth": "3", "rate": "0.1", "name": "näme", "p99": "99"},
        "count": [103, 804],
        "metrics": {"loss": repr(1 / 3), "nan": "nan", "inf": "inf", "ninf": "-inf", "m799": "799.0"},
        "history": [[0, 1.0], [1, 0.5], [2, 0.333]],
        "artifacts": ["d.json", "files", "t.txt", "tree"],
        "deep": [["tree/deep/b ü.txt", False, 3]],
        "downloaded": "bee",
        "loaded": {"x": [1, 2]},
        "text": "text",
        "found": ["outer"],
        "nested": ["inner"],
        "experiments": ["Default", "real"],
        "changed": "INVALID_PARAMETER_VALUE",
        "missing": "RESOURCE_DOES_NOT_EXIST",
    }
    assert run.status == "FINISHED" and run.tags["team"] == "blue" and "note" not in run.tags
    assert [info.path for info in store.list_artifacts(run.run_id, "files")] == ["files/a.txt"]


def test_a_script_logs_registers_finds_and_loads_models(
    endpoint: Endpoint, mlflow_python: Path, tmp_path: Path
) -> None:
    seen = printed(mlflow_python, "model_script.py", endpoint, tmp_path)
    run_id, model_id = seen.pop("run_id"), seen.pop("model_id")
    assert len(run_id) == 32 and model_id.startswith("m-")
    assert seen == {
        "loaded": [8.0] * 6,
        "pyfunc": 2.0,
        "stages": ["Archived", "Production"],
        "by_stage": 8.0,
        "latest": ["1", "2"],
        "alias": "2",
        "aliases": {"champion": "2"},
        "version": ["the first", {"checked": "yes"}, True, True],
        "registered": [["copies", "prices", "weather"], ["prices"], ["weather"], ["weather", "prices"]],
        "versions": [[["copies", "1"], ["prices", "1"], ["prices", "2"]], ["1", "2"], ["1", "2"]],
        "logged": [
            "ridge",
            "READY",
            {"alpha": "1", "depth": "3"},
            [["rmse", 0.25, 1, True], ["rmse", 0.5, 0, True]],
            {"a": "1"},
            True,
            ["MLmodel"],
        ],
        "search": [["lasso", "ridge"], ["ridge"], ["lasso"], ["ridge", "lasso"], ["lasso"]],
        "outputs": True,
        "run_artifacts": [],
        "codes": [
            "RESOURCE_ALREADY_EXISTS",
            "RESOURCE_DOES_NOT_EXIST",
            "RESOURCE_DOES_NOT_EXIST",
            "INVALID_PARAMETER_VALUE",
            "RESOURCE_DOES_NOT_EXIST",
            "INVALID_PARAMETER_VALUE",
            "INVALID_PARAMETER_VALUE",
        ],
    }


@pytest.mark.parametrize(
    "packages",
    [OLD_MODELS, FIRST_MLFLOW_FULL],
    ids=["2.22", "1.30"],
)
def test_clients_of_older_versions_keep_their_models_too(
    client_python: Client, endpoint: Endpoint, tmp_path: Path, packages: tuple[str, ...]
) -> None:
    assert printed(client_python("3.11", *packages), "old_model_script.py", endpoint, tmp_path) == {
        "loaded": True,
        "stages": ["Archived", "Production"],
        "latest": ["2"],
        "listed": ["prices", "weather"],
        "found": ["weather"],
        "versions": ["1", "2"],
        "tags": {"checked": "yes"},
        "artifacts": True,
        "history": True,
        "codes": ["RESOURCE_ALREADY_EXISTS", "RESOURCE_DOES_NOT_EXIST"],
    }
