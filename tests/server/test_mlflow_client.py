"""The real, unmodified mlflow client against a run's endpoint."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from projrun.server.endpoint import Endpoint
from projrun.tracking import Store

SCRIPT = Path(__file__).with_name("client_script.py")


def test_a_training_script_logs_and_reads_all_that_it_usually_does(
    endpoint: Endpoint, store: Store, mlflow_python: Path, tmp_path: Path
) -> None:
    environ = {
        **os.environ,
        "MLFLOW_TRACKING_URI": endpoint.url,
        "MLFLOW_TRACKING_TOKEN": endpoint.token,
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
        "NO_PROXY": "127.0.0.1",
    }
    done = subprocess.run(
        [mlflow_python, SCRIPT, tmp_path], env=environ, capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout.splitlines()[-1])
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
