"""Define the rules for a project's files, and collect findings, each of which belongs to a rule."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import msgspec

from projrun.documents import Document, unusable_value
from projrun.documents.yaml_cache import load_yaml
from projrun.errors import ProjectError
from projrun.project.mlproject import suggest_name
from projrun.project.parameters import show_value

Severity = Literal["error", "warning", "note"]

MAX_FINDINGS = 500  # of one project: nobody reads more, and each costs a little time


class LintRule(msgspec.Struct, frozen=True):
    severity: Severity
    explanation: str  # the reason why it matters, in one line


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    rule: str  # a key of RULES, which never changes
    severity: Severity
    message: str  # the fault, in one line
    fix: str = ""  # the next step, in one line in the imperative; may be empty
    file: str = ""  # relative to the project's directory
    line: int = 1
    column: int = 1


RULES: dict[str, LintRule] = {
    # the file
    "no-file": LintRule(
        "note", "without an MLproject file, only scripts and what pyproject.toml declares can be run"
    ),
    "two-files": LintRule("error", "which of the two files is read would depend on the machine"),
    "unreadable": LintRule("error", "a project whose file cannot be read cannot be run"),
    "not-yaml": LintRule("error", "an MLproject file must be valid YAML"),
    "too-large": LintRule("error", "a file of this size or depth is a mistake or an attack"),
    "duplicate-key": LintRule(
        "error", "one of the two values is a mistake, and mlflow uses the last one silently"
    ),
    "unknown-key": LintRule("warning", "unknown keys are ignored, so the value has no effect"),
    "wrong-shape": LintRule("error", "a value of another form is expected here"),
    # entry points
    "no-command": LintRule("error", "an entry point without a command cannot be run"),
    "undeclared-placeholder": LintRule(
        "error", "no parameter gives the placeholder a value, so the run is refused"
    ),
    "formatted-placeholder": LintRule("error", "a placeholder is a name in braces and nothing else"),
    "unsafe-command": LintRule(
        "error", "no quoting makes an arbitrary value safe in this part of the command"
    ),
    "second-command": LintRule(
        "warning", "bash ends the command at the end of the line and runs the next line as another command"
    ),
    "shell-variable": LintRule(
        "warning", "braces after a dollar sign name a shell variable, not a parameter"
    ),
    "quoted-placeholder": LintRule(
        "note",
        "projrun escapes values for these quotes; mlflow adds its own quotes, and the program gets them too",
    ),
    # parameters
    "glued-key": LintRule("warning", "without a space after the colon, YAML reads the whole text as a key"),
    "constant-name": LintRule("warning", "YAML reads yes, no, on, off, true, false and null as constants"),
    "unused-parameter": LintRule("warning", "a value that a user gives never reaches the program"),
    "unknown-type": LintRule("warning", "values of an unknown type are not checked"),
    "default-misfit": LintRule("warning", "projrun would refuse this value if a user gave it"),
    "default-path": LintRule(
        "warning", "a run is refused if the file that its path parameter names does not exist"
    ),
    "choice-misfit": LintRule("warning", "a choice that does not fit the type can never be used"),
    "impossible-limits": LintRule("error", "no value lies between the two limits"),
    "idle-constraint": LintRule("warning", "the key has no effect on a parameter of this type"),
    "flag-without-bool": LintRule(
        "error", "a flag is either present or absent, so its parameter must be a bool"
    ),
    # the environment
    "no-environment": LintRule("note", "a run uses whatever Python and packages the machine has"),
    "two-environments": LintRule("error", "a run uses exactly one environment"),
    "missing-file": LintRule("error", "the environment cannot be built without its file"),
    "conda-as-python-env": LintRule(
        "error", "the keys of a conda environment are not those of a python_env file"
    ),
    "unquoted-python": LintRule("error", "YAML reads 3.10 without quotes as the number 3.1"),
    "bad-python": LintRule("error", "no Python interpreter can be found for this version"),
    "python-unpinned": LintRule("warning", "another machine may use another Python, and so other packages"),
    "unpinned-dependency": LintRule("note", "without a lock, every new environment gets the newest release"),
}


class Findings:
    """Collect findings about the project in `directory`, up to MAX_FINDINGS."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._findings: list[Finding] = []

    def add(self, rule: str, message: str, fix: str, file: str, position: tuple[int, int] = (0, 0)) -> None:
        """Add a finding. position: line and column from 1; 0 means the beginning of the file."""
        line, column = position[0] or 1, position[1] or 1
        severity = RULES[rule].severity
        if not self.is_full():
            self._findings.append(
                Finding(
                    rule=rule,
                    severity=severity,
                    message=message,
                    fix=fix,
                    file=file,
                    line=line,
                    column=column,
                )
            )

    def add_at(self, rule: str, message: str, fix: str, document: Document, *path: object) -> None:
        """Add a finding about the part of `document` at `path`."""
        self.add(rule, message, fix, document.file, document.position(*path))

    def is_full(self) -> bool:
        return len(self._findings) >= MAX_FINDINGS

    def add_error(self, error: ProjectError, file: str, position: tuple[int, int] = (0, 0)) -> None:
        """Add an error as a finding. file and position: for an error that names none."""
        where = (error.line, error.column) if error.line else position
        self.add(error.rule or "wrong-shape", error.message, error.hint, error.file or file, where)

    @contextmanager
    def catching(self, document: Document, *path: object) -> Iterator[None]:
        """Take errors in the block as findings about the part of `document` at `path`."""
        try:
            yield
        except ProjectError as error:
            self.add_error(error, document.file, document.position(*path))
        except (ValueError, OverflowError) as error:
            self.add_error(unusable_value(error, document.file), document.file, document.position(*path))

    def document(self, path: Path, file: str) -> Document | None:
        """Read the file at `path`, and add its duplicate keys. Return None if it cannot be read."""
        duplicates: list[ProjectError] = []
        try:
            document = load_yaml(path, file, duplicates)
        except ProjectError as error:
            self.add_error(error, file)
            return None
        for duplicate in duplicates:
            self.add_error(duplicate, file)
        return document

    def unknown_keys(
        self, document: Document, data: dict[Any, Any], known: Sequence[str], *path: object
    ) -> None:
        for key in data:
            if key not in known and not self.is_full():
                near = suggest_name(str(key), known)
                keys = f"remove it; the keys here are {', '.join(known)}"
                message = f"the key {show_value(str(key))} is unknown"
                fix = f"did you mean '{near}'?" if near else keys
                self.add_at("unknown-key", message, fix, document, *path, str(key))

    def sorted(self) -> tuple[Finding, ...]:
        """Return the findings by file, line and column."""
        return tuple(sorted(self._findings, key=lambda finding: (finding.file, finding.line, finding.column)))
