"""projrun validate, and the formats of its findings"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import PurePath
from typing import Any
from urllib.parse import quote

import click
import msgspec

from projrun.cli.verbs import Verb, offline_option, project_argument, version_option
from projrun.console import one_line, print_data, say, style_text
from projrun.disk import home_from
from projrun.plan import Checkout
from projrun.project.validate.findings import MAX_FINDINGS, RULES, Finding
from projrun.version import __version__

SARIF_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


@click.command(cls=Verb)
@project_argument
@version_option
@offline_option
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "sarif", "github"]),
    default="text",
    show_default=True,
    help="How to print the findings. github: annotations of GitHub Actions.",
)
def validate(uri: str, version: str, form: str, offline: bool) -> int:
    """Check the files of the project at URI (default: this directory).

    Every finding names the place, the fault, the reason and the fix. The exit code is 1 if there are errors;
    warnings and notes leave it 0. The rules are in docs/validate.md.
    """
    from projrun.project.validate import check_project
    from projrun.sources import fetched

    with fetched(uri, version, home_from(), offline=offline) as checkout:
        findings = _with_display_names(check_project(checkout.directory), checkout)
    text = _FORMATS[form](findings)
    if text:  # the formats for people have no text without findings
        print_data(text)
    _sum_up(findings)
    return int(any(finding.severity == "error" for finding in findings))


def _with_display_names(findings: Sequence[Finding], checkout: Checkout) -> list[Finding]:
    """Return the findings with paths relative to the current directory, or to the top of a fetched tree."""
    top = checkout.root if checkout.temporary else os.path.realpath(".")
    prefix = os.path.relpath(checkout.directory, top)
    if prefix.startswith(".."):
        prefix = str(checkout.directory)
    return [
        msgspec.structs.replace(
            finding,
            file=os.path.normpath(os.path.join(prefix, finding.file)),
            message=one_line(finding.message),
            fix=one_line(finding.fix),
        )
        for finding in findings
    ]


def _sum_up(findings: Sequence[Finding]) -> None:
    counts = Counter(finding.severity for finding in findings)
    parts = [f"{count} {severity}{'s' * (count != 1)}" for severity, count in sorted(counts.items())]
    say(", ".join(parts) or "nothing found")
    if len(findings) == MAX_FINDINGS:
        say(f"only the first {MAX_FINDINGS} findings are shown")


def _text(findings: Sequence[Finding]) -> str:
    colours = {"error": "red", "warning": "yellow", "note": "dim"}
    lines = []
    for finding in findings:
        severity = style_text(finding.severity, colours[finding.severity], sys.stdout)
        # FILE:LINE:COLUMN is what editors and terminals make a link of
        lines.append(
            f"{finding.file}:{finding.line}:{finding.column}: {severity}: {finding.message}"
            f" [{finding.rule}]\n"
            f"    why: {RULES[finding.rule].explanation}\n"
            f"    fix: {finding.fix}"
        )
    return "\n".join(lines)


def _json(findings: Sequence[Finding]) -> str:
    explained = [
        {**msgspec.to_builtins(finding), "explanation": RULES[finding.rule].explanation}
        for finding in findings
    ]
    return json.dumps(explained, indent=2)


def _github(findings: Sequence[Finding]) -> str:
    commands = {"error": "error", "warning": "warning", "note": "notice"}
    return "\n".join(
        f"::{commands[finding.severity]} file={_escape_property(finding.file)},line={finding.line},"
        f"col={finding.column},title={_escape_property(finding.rule)}::{_escape(_sentence(finding))}"
        for finding in findings
    )


def _escape(text: str) -> str:
    # As https://github.com/actions/toolkit/blob/main/packages/core/src/command.ts does
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _escape_property(text: str) -> str:
    return _escape(text).replace(":", "%3A").replace(",", "%2C")


def _sentence(finding: Finding) -> str:
    return f"{finding.message}; {finding.fix}" if finding.fix else finding.message


def _sarif(findings: Sequence[Finding]) -> str:
    names = list(RULES)
    rules = [
        {
            "id": name,
            "shortDescription": {"text": rule.explanation},
            "defaultConfiguration": {"level": rule.severity},
        }
        for name, rule in RULES.items()
    ]
    driver = {"name": "projrun", "version": __version__, "rules": rules}
    results = [_sarif_result(finding, names.index(finding.rule)) for finding in findings]
    # Python counts columns in code points, SARIF by default in units of UTF-16
    run = {"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}
    return json.dumps({"$schema": SARIF_SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2)


def _sarif_result(finding: Finding, rule_index: int) -> dict[str, Any]:
    # The name is bytes, which need not be UTF-8; a URI has them percent-encoded
    uri = quote(PurePath(finding.file).as_posix(), errors="surrogateescape")
    location = {
        "artifactLocation": {"uri": uri},
        "region": {"startLine": finding.line, "startColumn": finding.column},
    }
    return {
        "ruleId": finding.rule,
        "ruleIndex": rule_index,
        "level": finding.severity,
        "message": {"text": _sentence(finding)},
        "locations": [{"physicalLocation": location}],
    }


_FORMATS: dict[str, Callable[[Sequence[Finding]], str]] = {
    "text": _text,
    "json": _json,
    "sarif": _sarif,
    "github": _github,
}
