"""A run done again several times, with one thing varied each time, and what came of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

from projrun.compare import ComparedResult, Comparison
from projrun.compare.reports import cell, failure, in_command, in_xml, reasons, suite_of, suite_text
from projrun.console import json_text, one_line
from projrun.console.tables import format_table

# The kind of a trial that varies nothing: a plain repetition.
NOTHING = "nothing"


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    # The kind of the variation, such as `time-zone`; `nothing` for a plain repetition.
    varied: str
    # The value that it was changed to.
    change: str = ""
    # None for a trial that was left out.
    comparison: Comparison | None = None
    # The reason why the trial was left out.
    left_out: str = ""

    @property
    def verdict(self) -> str:
        if self.comparison is None:
            return "left out"
        return "same" if self.comparison.same else "different"

    @property
    def bad(self) -> tuple[ComparedResult, ...]:
        return self.comparison.bad if self.comparison else ()


class Trials(msgspec.Struct, frozen=True, kw_only=True):
    # The id of the run that was repeated.
    first: str
    trials: tuple[Trial, ...]

    @property
    def same(self) -> bool:
        return not any(trial.bad for trial in self.trials)


def text(trials: Trials, *, on_screen: bool = False) -> str:
    """Format one line for each trial. on_screen: it goes to stdout."""
    rows = [tuple(one_line(part, 90) for part in _row(trial)) for trial in trials.trials]
    header = ("VARIED", "CHANGE", "VERDICT", "WHAT")
    parts = [format_table(header, rows, states="VERDICT", on_screen=on_screen)]
    parts += [reasons(plain) for plain in _plain(trials) if plain.bad and plain.differences][:1]
    return "\n".join([*parts, conclusion(trials)])


def conclusion(trials: Trials) -> str:
    """Return one line. A trial that was left out never counts as the same."""
    done = [trial for trial in trials.trials if trial.comparison]
    missing = _names(trial for trial in trials.trials if not trial.comparison)
    rest = f"; left out: {missing}" if missing else ""
    if trials.same:
        return f"the same: all {len(done)} repetitions of run {trials.first[:8]}{rest}"
    plain = any(trial.bad for trial in done if trial.varied == NOTHING)
    varied = _names(trial for trial in done if trial.bad and trial.varied != NOTHING)
    named = " and ".join([*(["when nothing is varied"] if plain else []), *([varied] if varied else [])])
    return f"not the same: run {trials.first[:8]} gives other results under: {named}{rest}"


def json(trials: Trials) -> str:
    entries = [{"verdict": trial.verdict, **msgspec.to_builtins(trial)} for trial in trials.trials]
    return json_text({"same": trials.same, "first": trials.first, "trials": entries})


def junit(trials: Trials) -> str:
    """Format one JUnit test case for each trial."""
    from xml.etree import ElementTree as Xml

    left_out = sum(trial.comparison is None for trial in trials.trials)
    suite = suite_of(len(trials.trials), sum(bool(trial.bad) for trial in trials.trials), left_out)
    for trial in trials.trials:
        name = f"{trial.varied}: {trial.change}" if trial.change else trial.varied
        case = Xml.SubElement(suite, "testcase", classname="vary", name=in_xml(name))
        if trial.comparison is None:
            Xml.SubElement(case, "skipped", message=in_xml(trial.left_out))
        elif trial.bad:
            element = Xml.SubElement(case, "failure", message=in_xml(failure(trial.bad[0])), type="different")
            element.text = in_xml("\n".join(map(failure, trial.bad)))
    return suite_text(suite)


def markdown(trials: Trials) -> str:
    verdict = "the same" if trials.same else "**not the same**"
    return "\n".join(
        [
            f"### Run {trials.first[:8]}, repeated: {verdict}",
            "",
            "| varied | change | verdict | what |",
            "| --- | --- | --- | --- |",
            *(f"| {' | '.join(map(cell, _row(trial)))} |" for trial in trials.trials),
            "",
            cell(conclusion(trials)),
        ]
    )


def github(trials: Trials) -> str:
    """Format workflow commands, which GitHub shows as annotations of the job."""
    lines = [
        f"::error title=projrun verify --vary {in_command(trial.varied)}::{in_command(_what(trial))}"
        for trial in trials.trials
        if trial.bad
    ]
    return "\n".join([*lines, f"::notice title=projrun verify::{in_command(conclusion(trials))}"])


FORMATS: dict[str, Callable[[Trials], str]] = {
    "text": text,
    "json": json,
    "junit": junit,
    "markdown": markdown,
    "github": github,
}


def _plain(trials: Trials) -> list[Comparison]:
    return [trial.comparison for trial in trials.trials if trial.varied == NOTHING and trial.comparison]


def _names(trials: Iterable[Trial]) -> str:
    return ", ".join(dict.fromkeys(trial.varied for trial in trials))


def _row(trial: Trial) -> tuple[str, str, str, str]:
    return trial.varied, trial.change, trial.verdict, _what(trial)


def _what(trial: Trial) -> str:
    if not trial.bad:
        return trial.left_out
    more = f", and {len(trial.bad) - 1} more" if len(trial.bad) > 1 else ""
    worst = trial.bad[0]
    name = worst.name if worst.kind == "status" else f"{worst.kind} {worst.name}"
    return f"{name}: {worst.detail}{more}" if worst.detail else f"{failure(worst)}{more}"
