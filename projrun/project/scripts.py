"""Files of a project that are run by their extension."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import msgspec

from projrun.errors import ProjectError
from projrun.project.words import quoted

NOTEBOOK_VARIABLE = "PROJRUN_NOTEBOOK"
"""Names the file that an executed notebook is written to."""
NOTEBOOK_REQUIREMENTS = ("papermill", "ipykernel")


class Script(msgspec.Struct, frozen=True, kw_only=True):
    """How a file is run."""

    file: str
    """Relative to the project's directory."""
    command: str
    """Text for bash."""
    option: str = "--"
    """What stands before the name of an undeclared parameter."""
    programs: dict[str, str] = {}
    """Programs that must be there and may not be, and how to get them."""
    requirements: tuple[str, ...] = ()
    """What running it takes beyond what its author named."""
    artifact_files: dict[str, str] = {}
    """Artifacts that it writes, by the variable that names the file."""


def is_script(name: str) -> bool:
    return os.path.splitext(name)[1] in _KINDS


def script(directory: Path, name: str, *, as_mlflow: bool) -> Script:
    """How the existing file `name` is run; as_mlflow: by the command that mlflow runs it with."""
    extension = os.path.splitext(name)[1]
    if extension == ".R":
        return _r_script(name, as_mlflow)
    if extension == ".ipynb":
        return _notebook(directory, name)
    return Script(file=name, command=f"{_program(extension)} {quoted(name)}")


_KINDS = (".py", ".sh", ".R", ".ipynb")


def _program(extension: str) -> str:
    return "python" if extension == ".py" else os.environ.get("SHELL", "bash")


def _r_script(name: str, as_mlflow: bool) -> Script:
    command = f"Rscript {quoted(name)}"
    if as_mlflow:
        in_r = name.replace("\\", "\\\\").replace("'", "\\'")
        in_bash = re.sub(r'([\\"$`])', r"\\\1", in_r)
        command = f"Rscript -e \"mlflow::mlflow_source('{in_bash}')\" --args"
    hint = "install R, and see to it that Rscript is on PATH"
    return Script(file=name, command=command, programs={"Rscript": hint})


def _notebook(directory: Path, name: str) -> Script:
    path = f"./{name}" if name.startswith("-") else name
    kernel = " -k python3 -l python" if _is_python(directory / name, name) else ""
    options = f"--log-output --no-progress-bar{kernel}"
    return Script(
        file=name,
        command=f'papermill {options} {quoted(path)} "${NOTEBOOK_VARIABLE}"',
        option="-p ",
        programs={"papermill": "install papermill and ipykernel there, or leave --env-manager local out"},
        requirements=NOTEBOOK_REQUIREMENTS,
        artifact_files={NOTEBOOK_VARIABLE: f"notebooks/{os.path.basename(name)}"},
    )


def _is_python(path: Path, name: str) -> bool:
    """Its kernel is then the environment's own, whatever it was called where the notebook was written."""
    import json

    try:
        document: Any = json.loads(path.read_bytes())
        metadata = document.get("metadata", {})
        kernel, info = metadata.get("kernelspec", {}), metadata.get("language_info", {})
        language = kernel.get("language") or info.get("name") or "python"
    except (OSError, ValueError, AttributeError, RecursionError):
        raise ProjectError("is not a notebook", "open it in Jupyter and save it again", file=name) from None
    return str(language).lower() == "python"
