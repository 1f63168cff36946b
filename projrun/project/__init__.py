"""Projects: a directory read as MLproject or by convention.

read_project(directory) -> Project        name, entry points, environment descriptor
project.entry_point(name) -> EntryPoint   declared, or a script
command.render(entry_point, values, caller=…) -> Rendered   text for bash, parameters, warnings
"""

from __future__ import annotations

from pathlib import Path

from projrun.project import mlproject


def read_project(directory: Path) -> mlproject.Project:
    """The project in `directory`. Raises ProjectError with file, line and column."""
    return mlproject.read(directory)
