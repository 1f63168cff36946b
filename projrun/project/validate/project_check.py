"""Everything that can be found wrong with a project's files, where reading stops at the first error."""

from __future__ import annotations

from pathlib import Path

from projrun.documents import Document
from projrun.errors import ProjectError
from projrun.project import read_project
from projrun.project.mlproject import find_mlproject
from projrun.project.shapes import ProjectShape, VerifyShape, read_verify_rules
from projrun.project.validate.entry_point_check import check_entry_point
from projrun.project.validate.environment_check import check_environment
from projrun.project.validate.findings import Finding, Findings


def check_project(directory: Path) -> tuple[Finding, ...]:
    """Return the mistakes of the project in `directory`, by file and line. No content makes it raise."""
    found = Findings(directory)
    document = _document(directory, found)
    if document is not None:
        with found.catching(document):
            _check_document(document, found)
        with found.catching(document):
            check_environment(directory, document, found)
    return found.sorted()


def _document(directory: Path, found: Findings) -> Document | None:
    """The MLproject file; an empty document when there is none, None when it cannot be read."""
    file = _file(directory, found)
    if not file:
        return Document("MLproject", None, {})
    return found.document(directory / file, file)


def _file(directory: Path, found: Findings) -> str:
    try:
        file = find_mlproject(directory)
    except ProjectError as error:
        found.add_error(error, "MLproject")
        return error.file if error.rule == "two-files" else ""
    if not file:
        _check_convention(directory, found)
    return file


def _check_convention(directory: Path, found: Findings) -> None:
    """Check a project that has no MLproject file."""
    try:
        project = read_project(directory)
    except ProjectError as error:
        found.add_error(error, "pyproject.toml")
        return
    if not project.entry_points:
        hint = "let `projrun init` write one, or name a script with --entry-point"
        found.add("no-file", "there is no MLproject file", hint, "MLproject")


def _check_document(document: Document, found: Findings) -> None:
    data = document.data
    if data is None:
        return
    if not isinstance(data, dict):
        hint = "start with lines such as 'name: …' and 'entry_points:'"
        found.add("wrong-shape", "is not a mapping of keys to values", hint, document.file)
        return
    found.unknown_keys(document, data, ProjectShape.__struct_fields__)
    with found.catching(document, "verify"):
        verify = data.get("verify")
        if verify is not None:
            read_verify_rules(document, verify)
        found.unknown_keys(document, verify or {}, VerifyShape.__struct_fields__, "verify")
    entry_points = data.get("entry_points")
    if entry_points is not None and not isinstance(entry_points, dict):
        hint = "write 'main:' with 'command: …' below it"
        message = "'entry_points' is not a mapping of names to commands"
        found.add("wrong-shape", message, hint, document.file, document.position("entry_points"))
        return
    for name, body in (entry_points or {}).items():
        with found.catching(document, "entry_points", str(name)):
            check_entry_point(document, str(name), body, found)
