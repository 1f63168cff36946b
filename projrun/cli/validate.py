"""projrun validate"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from projrun.cli.options import offline_option, project_argument, version_option
from projrun.cli.verbs import Verb

if TYPE_CHECKING:
    from projrun.plan import Checkout
    from projrun.project.validate.findings import Finding

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
    from projrun.console import print_data
    from projrun.disk import home_from
    from projrun.project.validate import check_project
    from projrun.sources import fetched

    with fetched(uri, version, home_from(), offline=offline) as checkout:
        findings = _named_for_the_user(check_project(checkout.directory), checkout)
    text = _FORMATS[form](findings)
    if text:
        print_data(text)
    _sum_up(findings)
    return int(any(finding.severity == "error" for finding in findings))


def _named_for_the_user(findings: Sequence[Finding], checkout: Checkout) -> list[Finding]:
    """Return the findings with paths relative to the current directory, or to the top of a fetched tree."""
    import os

    import msgspec

    from projrun.console import one_line

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
    from collections import Counter

    from projrun.console import say
    from projrun.project.validate.findings import MAX_FINDINGS

    counts = Counter(finding.severity for finding in findings)
    parts = [f"{count} {severity}{'s' * (count != 1)}" for severity, count in sorted(counts.items())]
    say(", ".join(parts) or "nothing found")
    if len(findings) == MAX_FINDINGS:
        say(f"only the first {MAX_FINDINGS} findings are shown")


def _text(findings: Sequence[Finding]) -> str:
    import sys

    from projrun.console import style_text
    from projrun.project.validate.findings import RULES

    colours = {"error": "red", "warning": "yellow", "note": "dim"}
    lines = []
    for finding in findings:
        severity = style_text(finding.severity, colours[finding.severity], sys.stdout)
        lines.append(
            f"{finding.file}:{finding.line}:{finding.column}: {severity}: {finding.message}"
            f" [{finding.rule}]\n"
            f"    why: {RULES[finding.rule].explanation}\n"
            f"    fix: {finding.fix}"
        )
    return "\n".join(lines)


def _json(findings: Sequence[Finding]) -> str:
    import json

    import msgspec

    from projrun.project.validate.findings import RULES

    return json.dumps(
        [
            {**msgspec.to_builtins(finding), "explanation": RULES[finding.rule].explanation}
            for finding in findings
        ],
        indent=2,
    )


def _github(findings: Sequence[Finding]) -> str:
    commands = {"error": "error", "warning": "warning", "note": "notice"}
    return "\n".join(
        f"::{commands[finding.severity]} file={_property(finding.file)},line={finding.line},"
        f"col={finding.column},title={_property(finding.rule)}::{_escaped(_sentence(finding))}"
        for finding in findings
    )


def _escaped(text: str) -> str:
    """Escape as https://github.com/actions/toolkit/blob/main/packages/core/src/command.ts does."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _escaped(text).replace(":", "%3A").replace(",", "%2C")


def _sentence(finding: Finding) -> str:
    return f"{finding.message}; {finding.fix}" if finding.fix else finding.message


def _sarif(findings: Sequence[Finding]) -> str:
    import json

    from projrun.project.validate.findings import RULES
    from projrun.version import __version__

    rules = list(RULES)
    driver = {
        "name": "projrun",
        "version": __version__,
        "rules": [
            {
                "id": rule,
                "shortDescription": {"text": RULES[rule].explanation},
                "defaultConfiguration": {"level": RULES[rule].severity},
            }
            for rule in rules
        ],
    }
    results = [_sarif_result(finding, rules.index(finding.rule)) for finding in findings]
    run = {"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}
    return json.dumps({"$schema": SARIF_SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2)


def _sarif_result(finding: Finding, rule_index: int) -> dict[str, Any]:
    from pathlib import PurePath
    from urllib.parse import quote

    uri = quote(PurePath(finding.file).as_posix(), errors="surrogateescape")
    return {
        "ruleId": finding.rule,
        "ruleIndex": rule_index,
        "level": finding.severity,
        "message": {"text": _sentence(finding)},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": uri},
                    "region": {"startLine": finding.line, "startColumn": finding.column},
                }
            }
        ],
    }


_FORMATS: dict[str, Callable[[Sequence[Finding]], str]] = {
    "text": _text,
    "json": _json,
    "sarif": _sarif,
    "github": _github,
}
