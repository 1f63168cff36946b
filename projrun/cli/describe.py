"""projrun describe"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click
from msgspec import to_builtins

from projrun.cli.verbs import Verb, json_option, offline_option, project_argument, version_option
from projrun.console import one_line, print_data, warn
from projrun.console.tables import format_pairs
from projrun.disk import home_from

if TYPE_CHECKING:
    from projrun.plan import Checkout, Descriptor
    from projrun.project.mlproject import EntryPoint, Project
    from projrun.project.validate.findings import Finding


@click.command(cls=Verb)
@project_argument
@version_option
@offline_option
@json_option("Print a JSON object.")
def describe(uri: str, version: str, as_json: bool, offline: bool) -> None:
    """Show the project at URI (default: this directory) without running it.

    The output names its source, its entry points with their parameters, and its environment.
    """
    from projrun.project import read_project
    from projrun.project.validate import check_project
    from projrun.sources import fetched

    with fetched(uri, version, home_from(), offline=offline) as checkout:
        project = read_project(checkout.directory)
        facts = _facts(checkout, project, check_project(project.directory))
    print_data(json.dumps(facts, indent=2) if as_json else _text(facts))
    for warning in facts["warnings"] if not as_json else ():
        warn(warning)


def _facts(checkout: Checkout, project: Project, findings: Sequence[Finding]) -> dict[str, Any]:
    from projrun.environments.requirement_access import without_access

    return {
        "name": project.name,
        "source": to_builtins(checkout.source),
        "file": project.file,
        "entry_points": [_entry_point(entry_point) for entry_point in project.entry_points.values()],
        "environment": _environment(without_access(project.descriptor)),
        "warnings": [
            *checkout.notices,
            *(
                one_line(f"{finding.file}:{finding.line}:{finding.column}: {finding.message}; {finding.fix}")
                for finding in findings
                if finding.severity != "note"
            ),
        ],
    }


def _entry_point(entry_point: EntryPoint) -> dict[str, Any]:
    """Return the facts of an entry point. `required` means that a run without a value is refused."""
    from projrun.project.parameters import describe_parameter, is_needed

    return {
        "name": entry_point.name,
        "command": entry_point.command,
        "fault": entry_point.fault,
        "parameters": [
            {
                **to_builtins(parameter),
                "required": is_needed(parameter),
                "summary": describe_parameter(parameter),
            }
            for parameter in entry_point.parameters.values()
        ],
    }


_BECAUSE = {
    "python_env": "the project's environment is described in {}",
    "conda_env": "the project's environment is a conda environment, {}",
    "docker_env": "the project runs in a container (docker_env)",
    "script": "{} lists its own dependencies",
    "pyproject": "the dependencies are those of {}",
    "requirements": "the dependencies are those of {}",
    "pylock": "the project brings a lock, {}",
}


def _environment(descriptor: Descriptor) -> dict[str, Any]:
    from projrun.environments import manager_for

    manager = manager_for(descriptor)
    because = _BECAUSE.get(descriptor.kind, "").format(descriptor.file) or "the project names no environment"
    return {**to_builtins(descriptor), "manager": manager, "because": because, "problem": ""}


def _text(facts: dict[str, Any]) -> str:
    entry_points = map(_entry_point_text, facts["entry_points"])
    return "\n\n".join([_head(facts), *entry_points, _environment_text(facts["environment"])])


_STATES = {
    True: ", with changes that are not committed",
    False: "",
    None: ", and perhaps changes that are not committed",
}


def _head(facts: dict[str, Any]) -> str:
    source = facts["source"]
    rows = [
        ("project", facts["name"]),
        ("from", source["uri"]),
        ("repository", source["repository"]),
        ("commit", f"{source['commit'][:12]}{_STATES[source['dirty']]}" if source["commit"] else ""),
        ("branch", source["branch"]),
        ("directory", source["subdirectory"]),
        ("file", facts["file"] or "none: run by convention"),
    ]
    return _format_rows(rows)


def _entry_point_text(entry_point: dict[str, Any]) -> str:
    command = one_line(entry_point["command"]) or entry_point["fault"]
    lines = [f"entry point {one_line(entry_point['name'])}", f"  {command}"]
    rows = [(one_line(p["name"]), p["summary"]) for p in entry_point["parameters"]]
    if rows:
        lines.append(_format_rows(rows, "  "))
    return "\n".join(lines)


def _environment_text(environment: dict[str, Any]) -> str:
    requirements = [*environment["dependencies"], *environment["conda_dependencies"]]
    rows = [
        ("manager", f"{environment['manager']}, because {environment['because']}"),
        ("problem", environment["problem"]),
        ("file", environment["file"]),
        ("lock", environment["lock_file"] and f"{environment['lock_file']}, which wins over resolving"),
        ("passed over", ", ".join(environment["passed_over"])),
        ("image", environment["docker"].get("image", "")),
        ("python", environment["python"] or "not said"),
        ("packages", one_line(", ".join(requirements)) or "none"),
    ]
    if environment["kind"] == "docker_env":
        rows = [row for row in rows if row[0] not in ("python", "packages")]
    return "environment\n" + _format_rows(rows, "  ")


def _format_rows(rows: list[tuple[str, str]], indent: str = "") -> str:
    """Return the rows in two columns, without those that have no value."""
    return format_pairs([(label, one_line(str(value))) for label, value in rows if value], indent)
