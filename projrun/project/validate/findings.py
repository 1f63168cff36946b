"""Findings: what is wrong, or likely to go wrong, with a project's files. Each belongs to a rule."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import msgspec

from projrun.documents import Document
from projrun.documents.yaml_cache import load_yaml
from projrun.errors import ProjectError
from projrun.project.mlproject import suggest_name
from projrun.project.parameters import show_value

Severity = Literal["error", "warning", "note"]

MAX_FINDINGS = 500
"""Of one project: nobody reads more, and each costs a little time."""


class LintRule(msgspec.Struct, frozen=True):
    severity: Severity
    explanation: str
    """Why it matters, one line."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    rule: str
    """A key of RULES; stable, for others to refer to."""
    severity: Severity
    message: str
    """What is wrong here, one line."""
    fix: str = ""
    """The next step, one line, imperative; may be empty."""
    file: str = ""
    """Relative to the project's directory."""
    line: int = 1
    column: int = 1


RULES: dict[str, LintRule] = {
    # the file
    "no-file": LintRule("note", "without it only scripts can be run, and what pyproject.toml declares"),
    "two-files": LintRule("error", "which one is read would depend on the machine"),
    "unreadable": LintRule("error", "what cannot be read cannot be run"),
    "not-yaml": LintRule("error", "the file is read as YAML"),
    "too-large": LintRule("error", "a file of this size or depth is a mistake or an attack"),
    "duplicate-key": LintRule("error", "one of the two is a mistake, and mlflow takes the last in silence"),
    "unknown-key": LintRule("warning", "the key is ignored, so what it says has no effect"),
    "wrong-shape": LintRule("error", "the value has not the form that is read at this place"),
    # entry points
    "no-command": LintRule("error", "an entry point without a command cannot be run"),
    "undeclared-placeholder": LintRule(
        "error", "there is no value to put in its place, so the run is refused"
    ),
    "formatted-placeholder": LintRule("error", "a placeholder is a name in braces and nothing else"),
    "unsafe-command": LintRule("error", "it is not known how a value is to be quoted there"),
    "second-command": LintRule(
        "warning", "bash ends the command at the line end and takes the next line as a command of its own"
    ),
    "shell-variable": LintRule("warning", "after a dollar sign, braces hold a variable of the shell"),
    "quoted-placeholder": LintRule(
        "note", "projrun escapes values for the quotes; mlflow adds quotes of its own, which arrive too"
    ),
    # parameters
    "glued-key": LintRule("warning", "without a blank behind the colon, YAML takes all of it as a key"),
    "constant-name": LintRule("warning", "YAML reads yes, no, on, off, true, false and null as constants"),
    "unused-parameter": LintRule("warning", "whatever value the user gives never reaches the program"),
    "unknown-type": LintRule("warning", "values of an unknown type are not checked"),
    "default-misfit": LintRule("warning", "the same value from a user would be refused"),
    "default-path": LintRule("warning", "a run is refused when the file that a path names does not exist"),
    "choice-misfit": LintRule("warning", "nobody can choose a value that does not fit the type"),
    "impossible-limits": LintRule("error", "no value lies between them"),
    "idle-constraint": LintRule("warning", "the key means nothing for a parameter of this type"),
    "flag-without-bool": LintRule("error", "a flag is there or not, which only a bool can say"),
    # the environment
    "no-environment": LintRule("note", "a run takes whatever Python and packages it finds"),
    "two-environments": LintRule("error", "a run happens in one environment"),
    "missing-file": LintRule("error", "the environment cannot be built without its file"),
    "conda-as-python-env": LintRule("error", "a conda environment has other keys than a python_env file"),
    "unquoted-python": LintRule("error", "to YAML, 3.10 is the number 3.1"),
    "bad-python": LintRule("error", "no interpreter can be found for it"),
    "python-unpinned": LintRule("warning", "another machine takes another Python, with other packages"),
    "unpinned-dependency": LintRule("note", "without a lock, each new environment gets the newest release"),
}


class Findings:
    """Collects findings about the project in `directory`, up to MAX_FINDINGS."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._found: list[Finding] = []

    def add(self, rule: str, message: str, fix: str, file: str, place: tuple[int, int] = (0, 0)) -> None:
        """place: line and column from 1; 0 where there is none, which means the beginning."""
        if not self.is_full():
            self._found.append(
                Finding(
                    rule=rule,
                    severity=RULES[rule].severity,
                    message=message,
                    fix=fix,
                    file=file,
                    line=place[0] or 1,
                    column=place[1] or 1,
                )
            )

    def is_full(self) -> bool:
        return len(self._found) >= MAX_FINDINGS

    def add_error(self, error: ProjectError, file: str, place: tuple[int, int] = (0, 0)) -> None:
        """file and place: where the error names none."""
        where = (error.line, error.column) if error.line else place
        self.add(error.rule or "wrong-shape", error.message, error.hint, error.file or file, where)

    @contextmanager
    def catching(self, document: Document, *path: object) -> Iterator[None]:
        """Errors in the block are findings about the part of `document` at `path`."""
        try:
            yield
        except ProjectError as error:
            self.add_error(error, document.file, document.position(*path))
        except (ValueError, OverflowError) as error:
            # Numbers of thousands of digits, lone surrogates: valid YAML, but neither text nor a file name
            problem = str(error).split(";")[0]
            message = f"holds a value that cannot be used: {problem}"
            self.add("wrong-shape", message, "mend it", document.file, document.position(*path))

    def document(self, path: Path, file: str) -> Document | None:
        """The file at `path`, or None when it cannot be read; with its duplicate keys found."""
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
                fix = (
                    f"did you mean '{near}'?" if near else f"remove it; the keys here are {', '.join(known)}"
                )
                message = f"the key {show_value(str(key))} is unknown"
                self.add("unknown-key", message, fix, document.file, document.position(*path, str(key)))

    def sorted(self) -> tuple[Finding, ...]:
        """In the order in which they stand in the files."""
        return tuple(sorted(self._found, key=lambda found: (found.file, found.line, found.column)))
