"""A comparison as text, JSON, JUnit XML, Markdown, or annotations of GitHub."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import msgspec

from projrun.compare import BAD, ComparedResult, Comparison, Difference
from projrun.console import json_text, one_line
from projrun.console.tables import format_table

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element


def text(comparison: Comparison, *, on_screen: bool = False) -> str:
    """Format every result, then the reasons, for people. on_screen: it goes to stdout."""
    rows = [_row(finding) for finding in comparison.findings]
    header = ("RESULT", "VERDICT", "RULE", "FIRST", "SECOND")
    parts = [format_table(header, rows, states="VERDICT", on_screen=on_screen)]
    for finding in comparison.bad:
        if finding.detail:
            parts.append(f"{_name(finding)} differs: {finding.detail}")
    parts.append(reasons(comparison))
    parts.append(conclusion(comparison))
    return "\n".join(parts)


def conclusion(comparison: Comparison) -> str:
    """One line."""
    count = len([one for one in comparison.findings if one.verdict != "ignored"])
    if comparison.is_baseline:
        held = f"later runs are held to {count} results of run {comparison.first[:8]}"
        return f"the baseline was written: {held}"
    if comparison.same:
        return f"the same: {count} results of run {comparison.second[:8]} are those of {comparison.first[:8]}"
    return f"not the same: {len(comparison.bad)} of {count} results of run {comparison.second[:8]} differ"


def json(comparison: Comparison) -> str:
    content = {"same": comparison.same, **msgspec.to_builtins(comparison)}
    return json_text(content)


def junit(comparison: Comparison) -> str:
    """Format one JUnit test case for each result."""
    from xml.etree import ElementTree as Xml

    ignored = sum(one.verdict == "ignored" for one in comparison.findings)
    suite = suite_of(len(comparison.findings), len(comparison.bad), ignored)
    for finding in comparison.findings:
        case = Xml.SubElement(suite, "testcase", classname=finding.kind, name=in_xml(finding.name))
        if finding.verdict == "ignored":
            Xml.SubElement(case, "skipped")
        elif finding.verdict in BAD:
            message = in_xml(failure(finding))
            element = Xml.SubElement(case, "failure", message=message, type=finding.verdict)
            element.text = in_xml("\n".join(_difference(one) for one in comparison.differences))
    return suite_text(suite)


def suite_of(tests: int, failures: int, skipped: int) -> Element:
    """Return a JUnit test suite without its cases."""
    from xml.etree import ElementTree as Xml

    return Xml.Element(
        "testsuite",
        name="projrun verify",
        tests=str(tests),
        failures=str(failures),
        errors="0",
        skipped=str(skipped),
    )


def suite_text(suite: Element) -> str:
    from xml.etree import ElementTree as Xml

    Xml.indent(suite)
    return Xml.tostring(suite, encoding="unicode", xml_declaration=True)


def markdown(comparison: Comparison) -> str:
    rows = [tuple(map(cell, _row(finding))) for finding in comparison.findings]
    verdict = "the same" if comparison.same else "**not the same**"
    against = f" against {comparison.first[:8]}"
    title = ": the baseline" if comparison.is_baseline else f"{against}: {verdict}"
    lines = [
        f"### Run {comparison.second[:8]}{title}",
        "",
        "| result | verdict | rule | first | second |",
        "| --- | --- | --- | --- | --- |",
        *(f"| {' | '.join(row)} |" for row in rows),
    ]
    lines += ["", *(f"* {cell(failure(finding))}" for finding in comparison.bad)]
    why = _reasons(comparison, "\n".join(f"* {cell(_difference(one))}" for one in comparison.differences))
    return "\n".join([*lines, "", why]).rstrip()


def github(comparison: Comparison) -> str:
    """Format workflow commands, which GitHub shows as annotations of the job."""
    lines = [f"::error title=projrun verify::{in_command(failure(one))}" for one in comparison.bad]
    if comparison.bad:
        why = "; ".join(_difference(one) for one in comparison.differences)
        lines += [f"::notice title=what determines results and differs::{in_command(why)}"] if why else []
        return "\n".join(lines)
    return f"::notice title=projrun verify::{in_command(conclusion(comparison))}"


FORMATS: dict[str, Callable[[Comparison], str]] = {
    "text": text,
    "json": json,
    "junit": junit,
    "markdown": markdown,
    "github": github,
}


def _row(finding: ComparedResult) -> Sequence[str]:
    cells = (_name(finding), finding.verdict, finding.rule, finding.first, finding.second)
    return tuple(one_line(cell, 60) for cell in cells)


def _name(finding: ComparedResult) -> str:
    return finding.name if finding.kind == "status" else f"{finding.kind} {finding.name}"


def failure(finding: ComparedResult) -> str:
    detail = f" ({finding.detail})" if finding.detail else ""
    values = f"{finding.first or 'none'}, {finding.second or 'none'}"
    return f"{_name(finding)} is {finding.verdict}: {values}{detail}"


def _difference(difference: Difference) -> str:
    name = f" {difference.name}" if difference.name else ""
    return one_line(f"{difference.determinant}{name}: {difference.first}, then {difference.second}")


def reasons(comparison: Comparison) -> str:
    """Return the reasons as lines for a terminal."""
    return _reasons(comparison, "\n".join(f"  {_difference(one)}" for one in comparison.differences))


def _reasons(comparison: Comparison, listed: str) -> str:
    if listed:
        return f"what determines results and is not the same:\n{listed}"
    if comparison.same:
        return "all that is known to determine results is the same"
    return (
        "all that is recorded of what determines results is the same: the command itself gives other results "
        "each time (a seed, the time, the order of threads); try --vary to find out by what"
    )


def cell(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("`", "\\`")


def in_command(text: str) -> str:
    return one_line(text).replace("%", "%25")


def in_xml(text: str) -> str:
    """Replace the characters that XML 1.0 forbids."""
    return "".join(
        char if char in "\n\t" or (char.isprintable() and ord(char) < 0xFFFE) else "�" for char in text
    )
