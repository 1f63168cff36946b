"""projrun verify"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from projrun.cli.verbs import Verb
from projrun.console import print_data
from projrun.disk import Home, home_from
from projrun.errors import RecordError
from projrun.plan import Rule, VerifyRules
from projrun.request import Request

if TYPE_CHECKING:
    from projrun.compare import Comparison
    from projrun.compare.trials import Trials
    from projrun.records.stored_runs import StoredRun

SUFFIXES = (".zip", ".json")
RULES = {"exact": Rule(how="exact"), "value": Rule(how="value"), "ignore": Rule(how="ignore")}
FORMATS = ("text", "json", "junit", "markdown", "github")


@click.command(cls=Verb)
@click.argument("run")
@click.option("--rtol", default=0.0, help="Allow this relative difference of numbers from the first run's.")
@click.option("--atol", default=0.0, help="Allow this absolute difference of numbers.")
@click.option(
    "--metric", "metrics", multiple=True, metavar="PATTERN=RULE", help="A rule for metrics; repeatable."
)
@click.option(
    "--output", "outputs", multiple=True, metavar="PATTERN=RULE", help="A rule for outputs; repeatable."
)
@click.option("--format", "form", type=click.Choice(FORMATS), default="text", show_default=True)
@click.option(
    "--report", "reports", multiple=True, metavar="FORMAT=FILE", help="Also write a report to FILE."
)
@click.option(
    "--baseline",
    default="",
    metavar="FILE",
    help="Run the project at RUN as it is now and compare it with the run in FILE, a .zip (with the "
    "content of outputs, to compare them by value) or a .json (digests alone).",
)
@click.option(
    "--existing",
    is_flag=True,
    help="With --baseline: it is an error, and no baseline is made, if FILE is missing.",
)
@click.option("-e", "--entry-point", default="", metavar="NAME", help="With --baseline: as for `run`.")
@click.option(
    "-P",
    "--param-list",
    multiple=True,
    metavar="NAME=VALUE",
    help="With --baseline: as for `run`; the same as when the baseline was made.",
)
@click.option("-v", "--version", default="", metavar="VERSION", help="With --baseline: as for `run`.")
@click.option("--env-manager", default="", metavar="MANAGER", help="With --baseline: as for `run`.")
@click.option(
    "--times", type=click.IntRange(1), default=1, show_default=True, help="Repeat the run so many times."
)
@click.option(
    "--vary",
    metavar="KIND[,KIND…]|all",
    default="",
    help="Repeat the run once for each of these things, changed, which should not matter: hash-seed, "
    "time-zone, locale, clock, threads, directory, home, user, file-order, umask, network.",
)
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
    """Repeat a run and compare: exit code 0 if the results are the same, 1 if not.

    RUN is named as for `projrun reproduce`. projrun compares the status, the metrics, and the outputs:
    artifacts, and files that the run made in its directory. To allow differences, use the `verify:` section
    of MLproject, --rtol and --atol, or rules: `exact`, `value`, `ignore`, or tolerances such as
    `rtol=1e-6,atol=1e-9`.

    If the results differ, the report shows the first difference, and which of the things that determine
    results differ. The command's own output goes to stderr and to the new run's log.

    With --baseline FILE, RUN is the URI of a project. projrun runs it as it is now and compares it with the
    run in FILE. If there is no FILE, projrun writes the new run there, as the baseline.

    With --vary, the report has one line for each change, and names those that changed the results. projrun
    names and leaves out what it cannot change on this machine.
    """
    files = [_parse_report(pair) for pair in reports]
    options = _RuleOptions(metrics, outputs, rtol, atol)
    options.merge_with(VerifyRules())  # to refuse a wrong rule before anything runs
    kinds = _kinds_to_vary(vary, times, baseline)
    with _stdout_on_stderr():
        if baseline:
            result = _compare_with_baseline(baseline, run, project, options)
        else:
            result = _repeat_and_compare(run, project, options, kinds, times)
    _write_reports({file: _format(result, name) for name, file in files})
    print_data(_format(result, form, on_screen=True))
    return 0 if result.same else 1


def _kinds_to_vary(vary: str, times: int, baseline: str) -> tuple[str, ...]:
    from projrun.runner.variations import parse_kinds

    if baseline and (vary or times > 1):
        raise click.UsageError("--vary and --times repeat a recorded run: they do not go with --baseline.")
    return parse_kinds(vary) if vary else ()


def _compare_with_baseline(
    file: str, uri: str, project: dict[str, Any], options: _RuleOptions
) -> Comparison | Trials:
    from projrun.compare.results import compare

    with ExitStack() as stack:
        first, second = _run_against_baseline(file, uri, project, home_from(), stack)
        rules = options.merge_with(second.record.plan.verify)
        return compare(first.record, second.record, rules, (first.content, second.content))


def _run_against_baseline(
    file: str, uri: str, project: Mapping[str, Any], home: Home, stack: ExitStack
) -> tuple[StoredRun, StoredRun]:
    """Return the baseline and the project's new run; both are the new run where it becomes the baseline."""
    from projrun.cli.run_request import parse_parameters
    from projrun.net import is_offline
    from projrun.runner.reproduction import make_baseline, run_against_baseline

    path = Path(file)
    if path.suffix.lower() not in SUFFIXES:
        raise click.UsageError(f"--baseline {file}: let its name end in .zip or .json.")
    request = Request(
        uri=uri,
        entry_point=project["entry_point"],
        version=project["version"],
        parameters=parse_parameters(project["param_list"]),
        env_manager=project["env_manager"],
        offline=is_offline(),
    )
    if path.exists():
        return run_against_baseline(path, request, home, stack)
    if project["existing"]:
        raise click.UsageError(f"--baseline {file}: there is no such file, and --existing wants one.")
    if not path.absolute().parent.is_dir():
        raise click.UsageError(f"--baseline {file}: there is no directory {path.parent}.")
    run = make_baseline(path, request, home, stack)
    return run, run


def _repeat_and_compare(
    run: str, project: dict[str, Any], options: _RuleOptions, kinds: tuple[str, ...], times: int
) -> Comparison | Trials:
    from projrun.compare.results import compare
    from projrun.records.stored_runs import find_stored_run
    from projrun.runner.reproduction import reproduce
    from projrun.runner.variations import run_trials

    _refuse_project_options(project)
    home = home_from()
    with ExitStack() as stack:
        first = find_stored_run(run, home, stack)
        rules = options.merge_with(first.record.plan.verify)
        if kinds or times > 1:
            return run_trials(first, rules, kinds, times, home, stack)
        second = find_stored_run(reproduce(first, home, tree_stack=stack).run_id, home, stack)
        return compare(first.record, second.record, rules, (first.content, second.content))


def _refuse_project_options(project: Mapping[str, Any]) -> None:
    """Refuse options that belong to --baseline: a recorded run has its own values."""
    names = {"entry_point": "-e", "param_list": "-P"}  # these are known by their short names
    for name, value in project.items():
        if value:
            option = names.get(name, f"--{name.replace('_', '-')}")
            raise click.UsageError(f"{option} goes with --baseline FILE alone: a run has its own.")


def _write_reports(reports: Mapping[str, str]) -> None:
    for file, text in reports.items():
        try:
            with open(file, "w", encoding="utf-8") as target:
                target.write(f"{text}\n")
        except OSError as error:
            raise RecordError(
                f"--report: {file} cannot be written: {error.strerror}",
                "name a file in a directory that can be written to",
            ) from None


def _format(result: Comparison | Trials, form: str, *, on_screen: bool = False) -> str:
    from projrun.compare import Comparison, reports, trials

    if isinstance(result, Comparison):
        return reports.text(result, on_screen=on_screen) if form == "text" else reports.FORMATS[form](result)
    return trials.text(result, on_screen=on_screen) if form == "text" else trials.FORMATS[form](result)


@contextmanager
def _stdout_on_stderr() -> Iterator[None]:
    """Send to stderr what the run's command writes to stdout, which is for the report alone."""
    sys.stdout.flush()
    stdout_fd = os.dup(1)
    try:
        os.dup2(2, 1)  # the file descriptor, not sys.stdout: the command inherits it
        yield
    finally:
        os.dup2(stdout_fd, 1)
        os.close(stdout_fd)


def _parse_report(pair: str) -> tuple[str, str]:
    form, equals, file = pair.partition("=")
    if form not in FORMATS or not equals or not file:
        formats = ", ".join(FORMATS)
        raise click.UsageError(f"--report {pair!r}: expected FORMAT=FILE; the formats are {formats}.")
    return form, file


class _RuleOptions(NamedTuple):
    metrics: tuple[str, ...]
    outputs: tuple[str, ...]
    rtol: float
    atol: float

    def merge_with(self, own: VerifyRules) -> VerifyRules:
        """Return the rules of the command line, those of the project, and the tolerances for the rest."""
        # The first pattern that matches counts, so the user's come before the author's
        rest = {"**": Rule(how="value", rtol=self.rtol, atol=self.atol)} if self.rtol or self.atol else {}
        return VerifyRules(
            metrics={**_parse_rules("--metric", self.metrics), **own.metrics, **rest},
            outputs={**_parse_rules("--output", self.outputs), **own.outputs, **rest},
        )


def _parse_rules(option: str, pairs: tuple[str, ...]) -> dict[str, Rule]:
    rules = {}
    for pair in pairs:
        pattern, equals, text = pair.partition("=")
        if not equals or not pattern:
            raise click.UsageError(f"{option} {pair!r}: expected PATTERN=RULE, for example 'rmse=rtol=1e-6'.")
        rules[pattern] = _parse_rule(option, pair, text)
    return rules


def _parse_rule(option: str, pair: str, text: str) -> Rule:
    if text in RULES:
        return RULES[text]
    parts = [part.partition("=") for part in text.split(",")]
    with suppress(ValueError):
        tolerances = {name: float(number) for name, _, number in parts}
        if tolerances.keys() <= {"rtol", "atol"}:
            return Rule(how="value", **tolerances)
    raise click.UsageError(
        f"{option} {pair!r}: expected exact, value, ignore, or tolerances such as rtol=1e-6."
    )
