"""Runs inside an environment with mlflow: what it makes of many projects. JSON in, JSON out."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from typing import Any

from mlflow.projects import _project_spec  # type: ignore[import-not-found,unused-ignore]


def read(directory: str) -> Any:
    try:
        return _project_spec.load_project(directory)
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def described(project: Any, directory: str) -> dict[str, Any]:
    file = project.env_config_path
    return {
        "name": None if project.name is None else str(project.name),
        "env": project.env_type,
        "file": os.path.relpath(file, directory) if file else "",
        "entry_points": {
            str(name): [
                str(key) for key, parameter in entry_point.parameters.items() if parameter.default is None
            ]
            for name, entry_point in project._entry_points.items()
        },
    }


def command(project: Any, entry: str, values: dict[str, str]) -> dict[str, str]:
    try:
        return {
            "command": project.get_entry_point(entry).compute_command(
                values, tempfile.mkdtemp(dir=os.path.dirname(os.getcwd()))
            )
        }
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}


def answer(case: dict[str, Any]) -> dict[str, Any]:
    project = read(case["directory"])
    if isinstance(project, str):
        return {"error": project}
    return {
        "project": described(project, case["directory"]),
        "runs": [command(project, run["entry"], run["values"]) for run in case["runs"]],
    }


if __name__ == "__main__":
    json.dump([answer(case) for case in json.load(sys.stdin)], sys.stdout)
