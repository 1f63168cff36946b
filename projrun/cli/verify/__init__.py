"""projrun verify"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

import click

from projrun.cli.verb import Verb
from projrun.cli.verify.baseline import baseline_options

if TYPE_CHECKING:
    from projrun.compare import Comparison
    from projrun.compare.trials import Trials
    from projrun.plan import Rule, VerifyRules


def vary_options(command: Callable[..., Any]) -> Callable[..., Any]:
    times = click.option(
        "--times", type=click.IntRange(1), default=1, show_default=True, help="Do the run again so often."
    )
    vary = click.option(
        "--vary",
        metavar="KIND[,KIND…]|all",
        default="",
        help="Do it again once more for each thing that may not matter, with that thing changed: hash-seed, "
        "time-zone, locale, clock, threads, directory, home, user, file-order, umask, network.",
    )
    return times(vary(command))


def kinds_to_vary(vary: str, times: int, baseline: str) -> tuple[str, ...]:
    """Raises UsageError."""
    from projrun.runner.variations.change_kinds import kinds_of

    if baseline and (vary or times > 1):
        raise click.UsageError("--vary and --times do a recorded run again: they do not go with --baseline.")
    return kinds_of(vary) if vary else ()


_WORDS: dict[str, Literal["exact", "value", "ignore"]] = {
    "exact": "exact",
    "value": "value",
    "ignore": "ignore",
}
FORMATS = ("text", "json", "junit", "markdown", "github")


@click.command(cls=Verb)
@click.argument("run")
@click.option("--rtol", default=0.0, help="Let numbers differ by this much, relative to the first run's.")
@click.option("--atol", default=0.0, help="Let numbers differ by this much.")
@click.option(
    "--metric", "metrics", multiple=True, metavar="PATTERN=RULE", help="A rule for metrics; repeatable."
)
@click.option(
    "--output", "outputs", multiple=True, metavar="PATTERN=RULE", help="A rule for outputs; repeatable."
)
@click.option("--format", "form", type=click.Choice(FORMATS), default="text", show_default=True)
@click.option(
    "--report", "reports", multiple=True, metavar="FORMAT=FILE", help="Write a report there too; repeatable."
)
@baseline_options
@vary_options
def verify(
    run: str,
    rtol: float,
    atol: float,
    metrics: tuple[str, ...],
    outputs: tuple[str, ...],
    form: str,
    reports: tuple[str, ...],
    baseline: str,
    vary: str,
    times: int,
    **project: Any,
) -> int:
    """Do a run again and compare: exit code 0 if the results are the same, 1 if not.

    RUN is what `projrun reproduce` takes. Compared are status, metrics, and outputs: artifacts, and files
    that the run made in its tree. What may differ is said by the MLproject's `verify:` section, by --rtol
    and --atol, and by rules: `exact`, `value`, `ignore`, or tolerances such as `rtol=1e-6,atol=1e-9`.

    When the results are not the same, the report says where they differ first and what of all that
    determines results is not the same. The command's own output goes to stderr and to the new run's log.

    With --baseline FILE, RUN is the URI of a project. It is run as it is now and compared with the run in
    FILE; where there is no FILE, the run becomes the baseline and is written there.

    With --vary, the report has one line for each thing that was changed, and names those under which the
    results are not the same. What this machine cannot change is said and left out.
    """
    from contextlib import ExitStack

    from projrun.cli.verify.baseline import against_baseline, refuse_project_options, write_reports
    from projrun.compare.results import compare
    from projrun.console import print_data
    from projrun.disk import home_from
    from projrun.plan import VerifyRules
    from projrun.records.stored_runs import find
    from projrun.runner.reproduction import reproduce
    from projrun.runner.variations.repetition import trials_of

    home = home_from()
    written = [_report(pair) for pair in reports]
    _rules(VerifyRules(), metrics, outputs, rtol, atol)  # said before anything runs
    kinds = kinds_to_vary(vary, times, baseline)
    with ExitStack() as stack:
        if baseline:
            with _talking():
                first, second = against_baseline(baseline, run, project, home, stack)
            own = second.record.plan.verify
        else:
            refuse_project_options(project)
            first = find(run, home, stack)
            own = first.record.plan.verify
        rules = _rules(own, metrics, outputs, rtol, atol)
        result: Comparison | Trials
        if kinds or times > 1:
            with _talking():
                result = trials_of(first, rules, kinds, times, home, stack)
        else:
            if not baseline:
                with _talking():
                    record = reproduce(first, home, staying=stack)
                second = find(record.run_id, home, stack)
            result = compare(first.record, second.record, rules, (first.content, second.content))
    write_reports({file: _shown(result, name) for name, file in written})
    print_data(_shown(result, form, on_screen=True))
    return 0 if result.same else 1


def _shown(result: Comparison | Trials, form: str, *, on_screen: bool = False) -> str:
    from projrun.compare import Comparison, reports, trials

    if isinstance(result, Comparison):
        return reports.text(result, on_screen=on_screen) if form == "text" else reports.FORMATS[form](result)
    return trials.text(result, on_screen=on_screen) if form == "text" else trials.FORMATS[form](result)


@contextmanager
def _talking() -> Iterator[None]:
    """What the command writes to stdout goes to stderr: our stdout is for the report."""
    import os
    import sys

    sys.stdout.flush()
    kept = os.dup(1)
    try:
        os.dup2(2, 1)
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def _report(pair: str) -> tuple[str, str]:
    form, equals, file = pair.partition("=")
    if form not in FORMATS or not equals or not file:
        known = ", ".join(FORMATS)
        raise click.UsageError(f"--report {pair!r}: expected FORMAT=FILE; the formats are {known}.")
    return form, file


def _rules(
    own: VerifyRules, metrics: tuple[str, ...], outputs: tuple[str, ...], rtol: float, atol: float
) -> VerifyRules:
    """Those of the command line come first, then the author's, then the tolerances for all the rest."""
    from projrun.plan import Rule, VerifyRules

    rest = {"**": Rule(how="value", rtol=rtol, atol=atol)} if rtol or atol else {}
    return VerifyRules(
        metrics={**_given("--metric", metrics), **own.metrics, **rest},
        outputs={**_given("--output", outputs), **own.outputs, **rest},
    )


def _given(option: str, pairs: tuple[str, ...]) -> dict[str, Rule]:
    rules = {}
    for pair in pairs:
        pattern, equals, text = pair.partition("=")
        if not equals or not pattern:
            raise click.UsageError(f"{option} {pair!r}: expected PATTERN=RULE, for example 'rmse=rtol=1e-6'.")
        rules[pattern] = _rule(option, pair, text)
    return rules


def _rule(option: str, pair: str, text: str) -> Rule:
    from projrun.plan import Rule

    if text in _WORDS:
        return Rule(how=_WORDS[text])
    tolerances = {}
    for part in text.split(","):
        name, _, number = part.partition("=")
        try:
            tolerances[{"rtol": "rtol", "atol": "atol"}[name]] = float(number)
        except (KeyError, ValueError):
            raise click.UsageError(
                f"{option} {pair!r}: expected exact, value, ignore, or tolerances such as rtol=1e-6."
            ) from None
    return Rule(how="value", **tolerances)
