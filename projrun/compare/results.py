"""Compare the results of two runs by rules, and list the differences of what determines results."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from projrun.compare import ComparedResult, Comparison, Difference, Verdict
from projrun.compare.values import compare_files, first_difference, is_within
from projrun.disk.file_operations import sha256_file
from projrun.disk.file_tree import rule_for
from projrun.plan import Rule, Source, VerifyRules
from projrun.record import Environment, Input, Outcome, Output, Platform, Record

_SEED = re.compile(r"(?:^|[._-])(seed|random[._-]?state)(?:$|[._-])|^PYTHONHASHSEED$", re.IGNORECASE)
_THREADS = re.compile(r".*_NUM_(\w+_)?THREADS|.*_THREADS|NUMBA_NUM_THREADS")


def list_differences(first: Record, second: Record) -> Iterator[Difference]:
    """Yield the differences of what determines results, the likeliest reason first."""
    yield from _of_sources(first.plan.source, second.plan.source)
    yield from _plain("command", first.plan.entry_point, second.plan.entry_point, "entry point")
    yield from _of_mappings("parameters", first.plan.parameters, second.plan.parameters)
    yield from _of_mappings("inputs", _digests(first.inputs), _digests(second.inputs))
    yield from _of_environments(first.environment, second.environment)
    yield from _of_mappings("variables", first.platform.variables, second.platform.variables)
    yield from _of_platforms(first.platform, second.platform)


def _plain(determinant: str, first: str, second: str, name: str = "") -> Iterator[Difference]:
    if first != second:
        yield Difference(determinant=determinant, name=name, first=first or "none", second=second or "none")


def _of_mappings(
    determinant: str, first: Mapping[str, str], second: Mapping[str, str]
) -> Iterator[Difference]:
    for name in sorted({*first, *second}):
        special = "seed" if _SEED.search(name) else "threads" if _THREADS.fullmatch(name) else determinant
        a, b = (mapping.get(name, "not set") for mapping in (first, second))
        yield from _plain(special, a, b, name)


def _digests(inputs: tuple[Input, ...]) -> dict[str, str]:
    return {read.parameter: f"sha256 {read.sha256[:16]}, {read.size} bytes" for read in inputs}


def _of_sources(first: Source, second: Source) -> Iterator[Difference]:
    yield from _plain("source", first.commit, second.commit, "commit")
    yield from _plain("source", first.subdirectory, second.subdirectory, "subdirectory")
    if first.dirty != second.dirty:
        state = {True: "uncommitted changes", False: "clean", None: "not known"}
        yield Difference(
            determinant="source", name="tree", first=state[first.dirty], second=state[second.dirty]
        )


def _of_environments(first: Environment | None, second: Environment | None) -> Iterator[Difference]:
    if first is None or second is None:
        managers = (environment.manager if environment else "none" for environment in (first, second))
        yield from _plain("environment", *managers)
        return
    yield from _plain("environment", first.manager, second.manager, "manager")
    yield from _plain("python", first.python, second.python)
    versions = [{package.name: package.version for package in side.packages} for side in (first, second)]
    yield from _of_mappings("lock", *versions)
    if versions[0] == versions[1]:  # else the digests cannot but differ too
        yield from _plain("lock", first.lock_sha256[:16], second.lock_sha256[:16], "sha256")


def _of_platforms(first: Platform, second: Platform) -> Iterator[Difference]:
    for name in ("system", "machine", "release", "distribution", "libc", "timezone", "umask"):
        yield from _plain("platform", getattr(first, name), getattr(second, name), name)
    yield from _plain("cpu", first.cpu, second.cpu, "model")
    yield from _plain("cpu", " ".join(first.simd), " ".join(second.simd), "instruction sets")
    yield from _plain("threads", str(first.cpus), str(second.cpus), "processors")
    yield from _plain("gpu", ", ".join(first.gpus), ", ".join(second.gpus), "models")
    yield from _plain("gpu", first.gpu_driver, second.gpu_driver, "driver")
    yield from _plain("projrun", first.projrun, second.projrun, "version")


# Returns the file with an output of a run; None if it no longer exists.
Contents = Callable[[Output], Path | None]

EXACT = Rule()


def compare(
    first: Record, second: Record, rules: VerifyRules, contents: tuple[Contents, Contents]
) -> Comparison:
    """Compare two runs. contents: find the outputs of either. rules: by name; all else is exact."""
    findings = (
        _of_outcomes(first.outcome, second.outcome),
        *_of_metrics(first.metrics, second.metrics, rules.metrics),
        *_of_outputs(first.outputs or (), second.outputs or (), rules.outputs, contents),
    )
    return Comparison(
        first=first.run_id,
        second=second.run_id,
        findings=findings,
        differences=tuple(list_differences(first, second)),
    )


def _of_outcomes(first: Outcome, second: Outcome) -> ComparedResult:
    same = (first.status, first.exit_code) == (second.status, second.exit_code)
    return ComparedResult(
        kind="status",
        name="status",
        verdict="same" if same else "different",
        first=_describe_outcome(first),
        second=_describe_outcome(second),
        detail="" if same else second.reason or first.reason,
    )


def _describe_outcome(outcome: Outcome) -> str:
    code = "" if outcome.exit_code is None else f", exit code {outcome.exit_code}"
    return f"{outcome.status}{code}"


def _of_metrics(
    first: Mapping[str, float | str], second: Mapping[str, float | str], rules: Mapping[str, Rule]
) -> Iterator[ComparedResult]:
    for name in sorted({*first, *second}):
        rule = rule_for(name, rules, EXACT)
        left, right = first.get(name), second.get(name)
        yield ComparedResult(
            kind="metric",
            name=name,
            verdict=_of_metric(left, right, rule),
            rule=format_rule(rule),
            first="" if left is None else str(left),
            second="" if right is None else str(right),
        )


def _of_metric(first: float | str | None, second: float | str | None, rule: Rule) -> Verdict:
    if rule.how == "ignore":
        return "ignored"
    if first is None or second is None:
        return "extra" if first is None else "missing"
    if first == second:
        return "same"
    return "within" if is_within(float(first), float(second), rule) else "different"


def format_rule(rule: Rule) -> str:
    """Format a rule as people write it: `exact`, `value`, `rtol=1e-06`."""
    tolerances = [f"{name}={value:g}" for name, value in (("rtol", rule.rtol), ("atol", rule.atol)) if value]
    return ", ".join(tolerances) or rule.how


def _of_outputs(
    first: tuple[Output, ...],
    second: tuple[Output, ...],
    rules: Mapping[str, Rule],
    contents: tuple[Contents, Contents],
) -> Iterator[ComparedResult]:
    old, new = _by_name(first), _by_name(second)
    for key in sorted({*old, *new}):
        rule = rule_for(key[1], rules, EXACT)
        left, right = old.get(key), new.get(key)
        verdict, detail = _of_output(left, right, rule, contents)
        yield ComparedResult(
            kind="output",
            name=key[1],
            verdict=verdict,
            rule=format_rule(rule),
            first=_describe_output(left),
            second=_describe_output(right),
            detail=detail,
        )


def _by_name(outputs: tuple[Output, ...]) -> dict[tuple[str, str], Output]:
    # An artifact and a file of the tree may have the same path.
    return {("artifact" if output.change == "logged" else "file", output.path): output for output in outputs}


def _describe_output(output: Output | None) -> str:
    if output is None:
        return ""
    if output.change == "deleted":
        return "deleted"
    return f"link to {output.link}" if output.link else f"{output.size} bytes, sha256 {output.sha256[:12]}"


def _of_output(
    first: Output | None, second: Output | None, rule: Rule, contents: tuple[Contents, Contents]
) -> tuple[Verdict, str]:
    if rule.how == "ignore":
        return "ignored", ""
    if first is None or second is None:
        return ("extra" if first is None else "missing"), ""
    if first.link or second.link or "deleted" in (first.change, second.change):
        same = (first.link, first.change == "deleted") == (second.link, second.change == "deleted")
        return ("same" if same else "different"), ""
    if first.sha256 and first.sha256 == second.sha256:
        return "same", ""
    return _of_contents(first, second, rule, contents)


def _of_contents(
    first: Output, second: Output, rule: Rule, contents: tuple[Contents, Contents]
) -> tuple[Verdict, str]:
    """Compare two outputs whose digests differ or are missing."""
    a, b = contents[0](first), contents[1](second)
    if a is None or b is None:
        which = "first" if a is None else "second"
        return "different", f"what the {which} run wrote was not kept, so nothing more can be said"
    if sha256_file(a) == sha256_file(b):
        return "same", ""
    if rule.how == "exact":
        # The rule asks for equal bytes, but a difference of values tells people more than one of bytes
        return "different", next(compare_files(first.path, a, b, rule), (first_difference(a, b), False))[0]
    tolerated = ""
    for detail, is_tolerated in compare_files(first.path, a, b, rule):
        if not is_tolerated:
            return "different", detail
        tolerated = tolerated or detail
    return ("within", tolerated) if tolerated else ("same", "")
