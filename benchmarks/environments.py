"""Measure environments against uv alone.

`uv venv` and `uv pip sync --offline` of a lock (the floor) and `projrun env build` of the same lock, with a
warm and with a cold package cache; `projrun run` of a no-op in a ready environment and in none; and
`mlflow run` that makes its environment with uv.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from dataclasses import replace
from pathlib import Path

from benchmarks.measure import Bench, Measured, measured

TITLE = "Environments"
RUNS = 5
PACKAGES = "requests rich jinja2 pydantic flask scikit-learn".replace(" ", "\n")
MLPROJECT = "name: noop\npython_env: python_env.yaml\nentry_points:\n  main:\n    command: 'true'\n"


def measure(bench: Bench) -> Measured:
    uv = str(Path(bench.projrun).with_name("uv"))
    project, cache, mlflow_envs = (bench.place / name for name in ("noop", "cache", "mlflow-envs"))
    project.mkdir()
    ask = "import platform; print(platform.python_version())"
    version = subprocess.check_output([bench.python, "-c", ask], text=True).strip()
    (project / "MLproject").write_text(MLPROJECT)
    (project / "python_env.yaml").write_text(f"python: {version}\ndependencies: [-r requirements.txt]\n")
    (project / "requirements.txt").write_text(PACKAGES)
    path = os.pathsep.join((str(Path(uv).parent), bench.environ["PATH"]))  # mlflow looks for uv there
    bench = replace(bench, environ={**bench.environ, "PATH": path, "MLFLOW_ENV_ROOT": str(mlflow_envs)})
    subprocess.run([bench.projrun, "run", str(project)], check=True, env=bench.environ, capture_output=True)
    (lock,) = cache.glob("locks-v1/*/lock.json")
    pylock = bench.place / "pylock.toml"
    pylock.write_text(json.loads(lock.read_text())["pylock"])

    place, build = (
        shlex.quote(str(bench.place / "venv")),
        shlex.join([bench.projrun, "env", "build", str(project)]),
    )
    venv = f"rm -rf {place}; {uv} venv -q --python {bench.python} {place}"
    sync = f"{uv} pip sync -q --preview --python {place} {shlex.quote(str(pylock))}"
    build = f"rm -rf {shlex.quote(str(cache))}/envs-v1; {build}"
    cold = f"export UV_CACHE_DIR={shlex.quote(str(bench.place / 'cold'))}; rm -rf $UV_CACHE_DIR; "
    run = shlex.join([bench.projrun, "run", str(project), "--env-manager"])
    commands = {
        "uv venv + uv pip sync --offline": f"{venv}; {sync} --offline",
        "projrun env build (warm cache)": build,
        "uv venv + uv pip sync (cold cache)": f"{cold}{venv}; {sync}",
        "projrun env build (cold cache)": cold + build,
        "projrun run (no environment)": f"{run} local",
        "projrun run (ready environment)": f"{run} uv",
    }
    if bench.mlflow:
        again = shlex.join([bench.mlflow, "run", str(project), "--env-manager", "uv"])
        commands["mlflow run --env-manager uv (warm cache)"] = (
            f"rm -rf {shlex.quote(str(mlflow_envs))}; {again}"
        )
    return measured(bench.in_turn({name: ["bash", "-ec", each] for name, each in commands.items()}))
