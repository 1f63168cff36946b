"""The examples as a newcomer runs them: real packages, the unmodified mlflow client, nothing stubbed."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from projrun.home import Home
from tests.conftest import Projrun

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.fixture
def elasticnet(tmp_path: Path) -> Path:
    shutil.copytree(EXAMPLES / "elasticnet", tmp_path / "elasticnet")
    return tmp_path / "elasticnet"


def test_elasticnet_trains_validates_and_is_recorded(projrun: Projrun, elasticnet: Path, home: Home) -> None:
    trained = projrun("run", elasticnet, "-P", "alpha=0.05")
    if "check the network" in trained.stderr and not os.environ.get("PROJRUN_TEST_ENGINES"):
        pytest.skip(f"the package index cannot be reached: {trained.stderr}")
    assert trained.returncode == 0, trained.stderr
    validated = projrun("run", elasticnet, "-e", "validate")
    assert validated.returncode == 0, validated.stderr
    refused = projrun("run", elasticnet, "-e", "validate", "-P", "alpha=10")
    assert refused.returncode == 1
    assert trained.stderr.count("building the uv environment") == 1
    assert "building" not in validated.stderr

    last, _, first = json.loads(projrun("runs", "list", "--json").stdout)
    assert (last["status"], last["exit_code"]) == ("FAILED", 1)
    run = json.loads(projrun("runs", "show", first["run_id"], "--json").stdout)
    assert run["params"] == {"alpha": "0.05", "l1_ratio": "0.5", "epochs": "40", "seed": "42"}
    assert 0.4 < run["metrics"]["r2"] < 0.6
    assert {"rmse", "mae", "r2"} == set(run["metrics"])
    packages = {package["name"] for package in run["record"]["environment"]["packages"]}
    assert {"scikit-learn", "mlflow-skinny", "matplotlib"} <= packages
    artifacts = home.artifacts / first["experiment_id"] / first["run_id"]
    assert (artifacts / "learning_curve.png").read_bytes().startswith(b"\x89PNG")
    assert (artifacts / "model" / "model.joblib").stat().st_size > 0
    assert "sha256" in (artifacts / "projrun" / "pylock.toml").read_text()


def test_every_example_is_tested() -> None:
    assert {path.name for path in EXAMPLES.iterdir() if path.is_dir()} == {"elasticnet"}
