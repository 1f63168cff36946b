"""projrun verify"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

import click

from projrun.cli.verify_vary import tried, vary_options

if TYPE_CHECKING:
    from projrun.plan import Rule, VerifyRules

_WORDS: dict[str, Literal["exact", "value", "ignore"]] = {
    "exact": "exact",
    "value": "value",
    "ignore": "ignore",
}
FORMATS = ("text", "json", "junit", "markdown", "github")


@click.command()
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
@vary_options
def verify(
    run: str,
    rtol: float,
    atol: float,
    metrics: tuple[str, ...],
    outputs: tuple[str, ...],
    form: str,
    vary: str,
    times: int,
) -> int:
    """Do a run again and compare: exit code 0 if the results are the same, 1 if not.

    RUN is what `projrun reproduce` takes. Compared are status, metrics, and outputs: artifacts, and files
    that the run made in its tree. What may differ is said by the MLproject's `verify:` section, by --rtol
    and --atol, and by rules: `exact`, `value`, `ignore`, or tolerances such as `rtol=1e-6,atol=1e-9`.

    When the results are not the same, the report says where they differ first and what of all that
    determines results is not the same. The command's own output goes to stderr and to the new run's log.

    With --vary, the report has one line for each thing that was changed, and names those under which the
    results are not the same. What this machine cannot change is said and left out.
    """
    from contextlib import ExitStack

    from projrun.compare.records import compare
    from projrun.compare.reports import FORMATS as REPORTS
    from projrun.compare.trials import FORMATS as TRIAL_REPORTS
    from projrun.home import home_from
    from projrun.output import data
    from projrun.runner.finding import find
    from projrun.runner.reproducing import reproduce

    home = home_from()
    with ExitStack() as stack:
        first = find(run, home, stack)
        rules = _rules(first.record.plan.verify, metrics, outputs, rtol, atol)
        with _talking():
            trials = tried(first, rules, vary, times, home, stack)
            if trials is None:
                record = reproduce(first, home, staying=stack)
        if trials is not None:
            data(TRIAL_REPORTS[form](trials))
            return 0 if trials.same else 1
        second = find(record.run_id, home, stack)
        comparison = compare(first.record, second.record, rules, (first.content, second.content))
    data(REPORTS[form](comparison))
    return 0 if comparison.same else 1


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
