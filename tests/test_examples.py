"""The examples as a newcomer runs them: real packages, the unmodified mlflow client, nothing stubbed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy
import pytest
import yaml
from virtualenv.seed.wheels.embed import get_embed_wheel

from projrun.disk import Home
from projrun.disk.file_locks import hold_lock
from projrun.environments import interpreters
from tests.cli.test_baseline import action, runner, step
from tests.conftest import Projrun
from tests.containers.conftest import base_image, docker, engine
from tests.support import conda_packages
from tests.support.conda_packages import Channel, served
from tests.support.markdown import Reader, told
from tests.support.mlflow_clients import MLFLOW, Client
from tests.support.mlflow_server import answers, free_port
from tests.support.repository import ROOT

__all__ = ["base_image", "engine", "runner"]

EXAMPLES = ROOT / "examples"
NAMES = {"conda", "docker", "elasticnet", "monorepo", "multistep", "pyproject", "search", "verified"}
INSTALLED = "pip install"
"""What a newcomer has to install is here."""
MINOR = ".".join(map(str, sys.version_info[:2]))
WITH_CLIENT = "projrun-test/python:with-client"
REUSED_AFTER_A_CHANGE_OF_TABLES = """
from workflow import HERE, fingerprint
steps = ("prepare", "train", "evaluate")
before = {step: fingerprint(step, {}) for step in steps}
with open(HERE / "tables.py", "a") as file:
    file.write("# changed")
print(*(step for step in steps if fingerprint(step, {}) == before[step]))
"""
"""A step is reused whose fingerprint is as before."""
Mlflow = Mapping[str, str]
"""The variables with which a command is that of the real mlflow."""


@pytest.fixture
def clone(tmp_path: Path, shared_directory: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Clone for a newcomer. The tests of this file share their environments, which keep their byte-code."""
    shutil.copytree(EXAMPLES, tmp_path / "clone" / "examples")
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    monkeypatch.setenv("PROJRUN_CACHE_DIR", str(shared_directory / "examples-cache"))
    return tmp_path / "clone"


@pytest.fixture
def tracked(tmp_path: Path) -> Path:
    """The home of a tracking server for the real mlflow."""
    return tmp_path / "tracked"


@pytest.fixture
def mlflow(client_python: Client, tracked: Path) -> Iterator[Mlflow]:
    """The real mlflow, with what the examples import."""
    python, port = client_python("", *MLFLOW), free_port()
    command = [sys.executable, "-m", "projrun", "server", "--port", str(port)]
    with open(tracked.with_suffix(".log"), "wb") as log:
        environ = {**os.environ, "PROJRUN_HOME": str(tracked)}
        server = subprocess.Popen(command, env=environ, stdout=log, stderr=log)
    try:
        while not answers(port):
            assert server.poll() is None, tracked.with_suffix(".log").read_text()
            time.sleep(0.05)
        path = os.pathsep.join((str(python.parent), os.environ["PATH"]))
        yield {"PATH": path, "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{port}"}
    finally:
        server.terminate()
        server.wait()


def follow(example: str, clone: Path, mlflow: Mlflow, places: Mapping[str, str] | None = None) -> None:
    """Run every command of the README. Skips the test where no package can be had."""
    reader = Reader(clone, dict(os.environ), dict(places or {}))
    every = list(told(clone / "examples" / example / "README.md"))
    assert len(every) > 1
    for command in every:
        if command.line.startswith(INSTALLED):
            continue
        try:
            reader.run(command, mlflow if "mlflow run" in command.line else {})
        except AssertionError as error:
            if "check the network" in str(error) and os.environ.get("PROJRUN_TEST_ENGINES") != "1":
                pytest.skip(str(error))
            raise


def runs(projrun: Projrun, home: Path | None = None) -> list[dict[str, Any]]:
    """Oldest first."""
    done = projrun("runs", "list", "--json", environ={"PROJRUN_HOME": str(home)} if home else {})
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found[::-1]


def steps_of(found: list[dict[str, Any]], parent: dict[str, Any]) -> list[str]:
    children = [run["tags"] for run in found if run["tags"].get("mlflow.parentRunId") == parent["run_id"]]
    return [tags["mlflow.project.entryPoint"] for tags in children]


def test_elasticnet_trains_validates_and_is_recorded(
    projrun: Projrun, clone: Path, home: Home, mlflow: Mlflow, tracked: Path
) -> None:
    follow("elasticnet", clone, mlflow)
    first, _, last = runs(projrun)
    [theirs] = runs(projrun, tracked)
    assert theirs["metrics"] == first["metrics"]
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


def test_the_steps_of_a_workflow_are_runs_and_are_not_done_twice(
    projrun: Projrun, clone: Path, mlflow: Mlflow, tracked: Path
) -> None:
    follow("multistep", clone, mlflow)
    found = runs(projrun)
    mains = [run for run in found if run["tags"]["mlflow.project.entryPoint"] == "main"]
    done = [steps_of(found, main) for main in mains]
    assert done == [["prepare", "train", "evaluate"], [], ["train", "evaluate"]]
    assert mains[0]["metrics"] == mains[1]["metrics"] != mains[2]["metrics"]
    assert {run["status"] for run in found} == {"FINISHED"}
    theirs = runs(projrun, tracked)
    assert steps_of(theirs, theirs[0]) == ["prepare", "train", "evaluate"]
    assert theirs[0]["metrics"] == mains[0]["metrics"]
    reused = subprocess.run(
        ["python", "-c", REUSED_AFTER_A_CHANGE_OF_TABLES],
        cwd=clone / "examples" / "multistep",
        env={**os.environ, **mlflow},
        capture_output=True,
        text=True,
    )
    assert reused.stdout.split() == ["prepare"], reused.stderr


def test_a_search_has_a_run_for_each_choice(
    projrun: Projrun, clone: Path, mlflow: Mlflow, tracked: Path
) -> None:
    follow("search", clone, mlflow)
    found = runs(projrun)
    search = found[0]
    tried = [run for run in found if run["tags"].get("mlflow.parentRunId") == search["run_id"]]
    assert len(tried) == 12
    best = max(tried, key=lambda run: run["metrics"]["accuracy"])
    assert (
        search["metrics"]["best_accuracy"] == best["metrics"]["accuracy"] == found[-1]["metrics"]["accuracy"]
    )
    assert {name: search["tags"][f"best_{name}"] for name in ("k", "p", "weighted")} == best["params"]
    assert len(runs(projrun, tracked)) == 4


def test_a_package_and_a_script_need_no_mlproject(projrun: Projrun, clone: Path, mlflow: Mlflow) -> None:
    follow("pyproject", clone, mlflow)
    line, parabola, robust = runs(projrun)
    assert line["metrics"].keys() == parabola["metrics"].keys() == {"r2_I", "r2_II", "r2_III", "r2_IV"}
    assert robust["metrics"].keys() == {"slope_least_squares", "slope_robust"}


def test_a_subdirectory_of_a_repository_shares_a_package(
    projrun: Projrun, clone: Path, mlflow: Mlflow, tmp_path: Path
) -> None:
    follow("monorepo", clone, mlflow, {"/tmp/customers": str(tmp_path / "customers")})
    local, fetched, mistyped = runs(projrun)
    assert mistyped["status"] == "FAILED"
    assert local["metrics"] == fetched["metrics"]
    assert fetched["tags"]["mlflow.source.git.commit"]


def test_a_result_is_held_to_its_baseline(clone: Path, mlflow: Mlflow, runner: Path) -> None:
    follow("verified", clone, mlflow)
    project = clone / "examples" / "verified"
    shutil.copy(EXAMPLES / "verified" / "baseline.zip", project)
    workflow = yaml.safe_load((project / ".github" / "workflows" / "verify.yml").read_text())
    [inputs] = [one["with"] for one in workflow["jobs"]["verify"]["steps"] if "projrun@" in one["uses"]]
    assert inputs.keys() <= action()["inputs"].keys()
    done = step("Verify", runner, project, **inputs)
    assert done.returncode == 0, done.stdout + done.stderr
    code = project / "orings.py"
    code.write_text(code.read_text().replace("SEED = 1986", "SEED = 1987"))
    done = step("Verify", runner, project, **inputs)
    assert done.returncode == 1
    assert "::error title=projrun verify::output risk.csv is different" in done.stdout


@pytest.fixture
def conda_forge(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """A mirror of conda-forge with what the example asks for: this machine's Python, numpy and shuf."""
    channel = Channel(tmp_path / "channel")
    conda_packages.add_python(channel, interpreters.choose("")[0])
    packages = Path(numpy.__file__).parent.parent
    files: dict[str, bytes | Path | conda_packages.Link] = {}
    for file in (one for top in packages.glob("numpy*") for one in top.rglob("*") if one.is_file()):
        if not {"tests", "__pycache__"} & set(file.parts):
            files[f"lib/python{MINOR}/site-packages/{file.relative_to(packages)}"] = file
    channel.add("numpy", numpy.__version__, files, depends=(f"python {MINOR}.*",))
    wheel = get_embed_wheel("pip", MINOR)
    assert wheel
    with zipfile.ZipFile(wheel.path) as archive:
        pip: conda_packages.Files = {
            f"site-packages/{name}": archive.read(name) for name in archive.namelist()
        }
    channel.add("pip", wheel.version, pip, noarch="python", depends=("python",))
    shuf = shutil.which("shuf")
    assert shuf
    channel.add("coreutils", "9.1", {"bin/shuf": Path(shuf)})
    monkeypatch.setenv("RATTLER_CACHE_DIR", str(tmp_path / "rattler"))
    with served(channel.index()) as host:
        config = Path(os.environ["XDG_CONFIG_HOME"]) / "rattler" / "config.toml"
        config.parent.mkdir(parents=True)
        config.write_text(f'[mirrors]\n"https://conda.anaconda.org/conda-forge" = ["http://{host}"]\n')
        yield


def test_packages_of_conda_forge_are_there_without_conda(
    projrun: Projrun, clone: Path, conda_forge: None, home: Home
) -> None:
    """mlflow needs a conda installation, and a channel of the real world: not to be had in a test."""
    follow("conda", clone, {})
    first, _ = runs(projrun)
    lock = home.artifacts / first["experiment_id"] / first["run_id"] / "projrun" / "pixi.lock"
    assert "https://conda.anaconda.org/conda-forge/" in lock.read_text()
    record = json.loads(projrun("runs", "show", first["run_id"], "--json").stdout)["record"]
    assert {"coreutils", "numpy", "mlflow-skinny"} <= {
        one["name"] for one in record["environment"]["packages"]
    }


@pytest.fixture
def base_with_client(base_image: str, client_python: Client) -> str:
    """Build an image with packages that are here already, as pip would have filled it."""
    packages = client_python("", *MLFLOW).parent.parent / "lib" / f"python{MINOR}"
    place = f"/usr/local/lib/python{MINOR}/site-packages"
    dockerfile = f"FROM {base_image}\nCOPY site-packages {place}\n"
    with hold_lock(packages / "image.lock"):
        subprocess.run(
            ["docker", "build", "--quiet", "--tag", WITH_CLIENT, "--file", "-", str(packages)],
            input=dockerfile.encode(),
            check=True,
            capture_output=True,
        )
    return WITH_CLIENT


def test_a_project_brings_its_image(
    projrun: Projrun, clone: Path, base_with_client: str, mlflow: Mlflow, tracked: Path
) -> None:
    """The image that it starts from is ours: there is no registry to pull python:3.12-slim from."""
    dockerfile = clone / "examples" / "docker" / "Dockerfile"
    said = dockerfile.read_text()
    assert said.startswith("FROM python:3.12-slim\n")
    dockerfile.write_text(said.replace("python:3.12-slim", base_with_client))
    try:
        follow("docker", clone, mlflow)
    finally:
        docker("image", "rm", "--force", "projrun-example-docker", "kmeans:latest")
    first, _ = runs(projrun)
    assert first["metrics"]["inertia"] > 0
    [theirs] = runs(projrun, tracked)
    assert theirs["metrics"] == first["metrics"]


def test_every_example_is_told_of_and_tested() -> None:
    listed = {line.split("](")[1].split(")")[0] for line in table() if "](" in line}
    assert {path.name for path in EXAMPLES.iterdir() if path.is_dir()} == listed == NAMES
    first_steps = {command.line for command in told(EXAMPLES / "README.md")}
    assert first_steps <= {command.line for command in told(EXAMPLES / "search" / "README.md")}
    for name in NAMES:
        assert "## Under mlflow" in (EXAMPLES / name / "README.md").read_text(), name


def table() -> list[str]:
    return [line for line in (EXAMPLES / "README.md").read_text().splitlines() if line.startswith("| [")]
