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
    rows = [_row(result) for result in comparison.findings]
    header = ("RESULT", "VERDICT", "RULE", "FIRST", "SECOND")
    parts = [format_table(header, rows, states="VERDICT", on_screen=on_screen)]
    for result in comparison.bad:
        if result.detail:
            parts.append(f"{_name(result)} differs: {result.detail}")
    parts.append(reasons(comparison))
    parts.append(conclusion(comparison))
    return "\n".join(parts)


def conclusion(comparison: Comparison) -> str:
    """Return the verdict in one line."""
    count = len([result for result in comparison.findings if result.verdict != "ignored"])
    if comparison.is_baseline:
        held = f"later runs are held to {count} results of run {comparison.first[:8]}"
        return f"the baseline was written: {held}"
    if comparison.same:
        return f"the same: {count} results of run {comparison.second[:8]} are those of {comparison.first[:8]}"
    return f"not the same: {len(comparison.bad)} of {count} results of run {comparison.second[:8]} differ"


def json(comparison: Comparison) -> str:
    return json_text({"same": comparison.same, **msgspec.to_builtins(comparison)})


def junit(comparison: Comparison) -> str:
    """Format one JUnit test case for each result."""
    from xml.etree import ElementTree as Xml

    ignored = sum(result.verdict == "ignored" for result in comparison.findings)
    suite = suite_of(len(comparison.findings), len(comparison.bad), ignored)
    for result in comparison.findings:
        case = Xml.SubElement(suite, "testcase", classname=result.kind, name=in_xml(result.name))
        if result.verdict == "ignored":
            Xml.SubElement(case, "skipped")
        elif result.verdict in BAD:
            message = in_xml(failure(result))
            element = Xml.SubElement(case, "failure", message=message, type=result.verdict)
            element.text = in_xml("\n".join(_difference(difference) for difference in comparison.differences))
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
    rows = [tuple(map(cell, _row(result))) for result in comparison.findings]
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
    lines += ["", *(f"* {cell(failure(result))}" for result in comparison.bad)]
    return "\n".join([*lines, "", reasons(comparison, "*", cell)]).rstrip()


def github(comparison: Comparison) -> str:
    """Format workflow commands, which GitHub shows as annotations of the job."""
    lines = [f"::error title=projrun verify::{in_command(failure(result))}" for result in comparison.bad]
    if comparison.bad:
        why = "; ".join(_difference(difference) for difference in comparison.differences)
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


def _row(result: ComparedResult) -> Sequence[str]:
    cells = (_name(result), result.verdict, result.rule, result.first, result.second)
    return tuple(one_line(cell, 60) for cell in cells)


def _name(result: ComparedResult) -> str:
    return result.name if result.kind == "status" else f"{result.kind} {result.name}"


def failure(result: ComparedResult) -> str:
    detail = f" ({result.detail})" if result.detail else ""
    values = f"{result.first or 'none'}, {result.second or 'none'}"
    return f"{_name(result)} is {result.verdict}: {values}{detail}"


def _difference(difference: Difference) -> str:
    name = f" {difference.name}" if difference.name else ""
    return one_line(f"{difference.determinant}{name}: {difference.first}, then {difference.second}")


def reasons(comparison: Comparison, bullet: str = " ", escape: Callable[[str], str] = str) -> str:
    """Return the differences that may be the reason, one a line. escape: for the format of the report."""
    lines = [f"{bullet} {escape(_difference(difference))}" for difference in comparison.differences]
    if lines:
        return "\n".join(["what determines results and is not the same:", *lines])
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
