"""Projects: a directory read as MLproject or by convention.

read_project(directory) -> Project        name, entry points, environment descriptor
project.entry_point(name) -> EntryPoint   declared, or a script
environment_of(project, entry_point) -> Descriptor, warnings   a script may have its own
command.render_command(entry_point, values, caller=…) -> Rendered   text for bash, parameters, warnings
"""

from __future__ import annotations

from pathlib import Path

from projrun.plan import Descriptor
from projrun.project import mlproject

BY_CONVENTION = ("pyproject.toml", "requirements.txt", "pylock.toml")


def read_project(directory: Path) -> mlproject.Project:
    """Read the project in `directory`. Raises ProjectError with file, line and column."""
    project = mlproject.read_mlproject(directory)
    usual = project.descriptor.file in ("", "python_env.yaml", "conda.yaml")
    if usual and not any((directory / file).is_file() for file in BY_CONVENTION):
        return project  # most projects, which need neither TOML nor the names of locks
    from projrun.project.environment.lock_files import add_locks

    described = bool(project.file) and project.descriptor.kind != "none"
    if not described and (directory / "pyproject.toml").is_file():
        from projrun.project.conventions import add_pyproject

        project = add_pyproject(project)
    return add_locks(project)


def environment_of(
    project: mlproject.Project, entry_point: mlproject.EntryPoint
) -> tuple[Descriptor, tuple[str, ...]]:
    """Return the descriptor for `entry_point`, and warnings. Raises ProjectError."""
    if not entry_point.script and not project.environment_fault:
        return project.descriptor, ()
    from projrun.project import conventions

    return conventions.environment_of(project, entry_point)
