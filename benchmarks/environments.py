"""What an environment costs: `python -m benchmarks.environments [--runs N] [--mlflow PATH]`.

Compares, in one run and in turn, `uv venv` and `uv pip sync --offline` of a lock (the floor) with
`projrun env build` of the same lock, with a warm and with a cold package cache; `projrun run` of a no-op in a
ready environment with one in none; and, if it is named, `mlflow run` that makes its environment with uv.
Install projrun compiled (`pip install .`) and leave PYTHONDONTWRITEBYTECODE unset.
"""

from __future__ import annotations

import argparse
import os
import platform
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.measure import in_turn, report

PACKAGES = "requests rich jinja2 pydantic flask scikit-learn".replace(" ", "\n")
MLPROJECT = "name: noop\npython_env: python_env.yaml\nentry_points:\n  main:\n    command: 'true'\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--mlflow", default="", help="path of an mlflow command")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        print(measured(Path(temporary), arguments.runs, arguments.mlflow))


def measured(temporary: Path, runs: int, mlflow: str) -> str:
    from uv import find_uv_bin

    uv, projrun = os.fspath(find_uv_bin()), str(Path(sys.executable).with_name("projrun"))
    project = temporary / "noop"
    project.mkdir()
    version = platform.python_version()
    (project / "MLproject").write_text(MLPROJECT)
    (project / "python_env.yaml").write_text(f"python: {version}\ndependencies: [-r requirements.txt]\n")
    (project / "requirements.txt").write_text(PACKAGES)
    data, cache = temporary / "data", temporary / "cache"
    environ = {
        **os.environ,
        "PROJRUN_HOME": str(data),
        "PROJRUN_CACHE_DIR": str(cache),
        "PATH": os.pathsep.join((str(Path(uv).parent), os.environ["PATH"])),
        "MLFLOW_ENV_ROOT": str(temporary / "mlflow-envs"),
    }
    environ.pop("PYTHONDONTWRITEBYTECODE", None)
    subprocess.run([projrun, "run", str(project)], check=True, env=environ, capture_output=True)
    (lock,) = cache.glob("locks-v1/*/lock.json")
    pylock = temporary / "pylock.toml"
    read = "import json, sys; print(json.load(open(sys.argv[1]))['pylock'])"
    pylock.write_text(subprocess.check_output([sys.executable, "-c", read, str(lock)], text=True))
    place = temporary / "venv"
    quoted = {name: shlex.quote(str(path)) for name, path in {"place": place, "cache": cache}.items()}
    venv = f"rm -rf {quoted['place']}; {uv} venv -q --python {sys.executable} {quoted['place']}"
    sync = f"{uv} pip sync -q --preview --python {quoted['place']} {shlex.quote(str(pylock))}"
    build = f"rm -rf {quoted['cache']}/envs-v1; {projrun} env build {shlex.quote(str(project))}"
    cold = f"export UV_CACHE_DIR={shlex.quote(str(temporary / 'cold'))}; rm -rf $UV_CACHE_DIR; "
    commands = {
        "uv venv + uv pip sync --offline": f"{venv}; {sync} --offline",
        "projrun env build (warm cache)": build,
        "uv venv + uv pip sync (cold cache)": f"{cold}{venv}; {sync}",
        "projrun env build (cold cache)": cold + build,
        "projrun run (local)": f"{projrun} run {shlex.quote(str(project))} --env-manager local",
        "projrun run (ready environment)": f"{projrun} run {shlex.quote(str(project))} --env-manager uv",
    }
    if mlflow:
        forget = f"rm -rf {shlex.quote(environ['MLFLOW_ENV_ROOT'])}; "
        commands["mlflow run --env-manager uv (warm cache)"] = (
            f"{forget}{mlflow} run {shlex.quote(str(project))} --env-manager uv"
        )
    argv = {name: ["bash", "-ec", command] for name, command in commands.items()}
    timings = in_turn(argv, runs, environ, str(temporary))
    packages = pylock.read_text().count("[[packages]]")
    machine = f"{platform.system()} {platform.machine()}, Python {version}, {packages} packages, {runs} runs"
    return f"{machine}\n\n{report(timings)}"


if __name__ == "__main__":
    main()
