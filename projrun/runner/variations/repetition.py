"""Do a run again under controlled changes, one at a time, to see which of them changes the result."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import ExitStack

import msgspec

from projrun.compare import Comparison
from projrun.compare.results import compare
from projrun.compare.trials import NOTHING, Trial, Trials
from projrun.console import say
from projrun.disk import Home
from projrun.disk.file_operations import temporary_directory
from projrun.plan import VerifyRules
from projrun.processes import merge_environ
from projrun.records.stored_runs import StoredRun, find_stored_run
from projrun.runner.reproduction import Again, reproduce
from projrun.runner.variations.change_kinds import Change, Scene, changes, hash_seed
from projrun.tracking.entities import VARIES_TAG

FIXED = "with a fixed hash seed"


def trials_of(
    first: StoredRun, rules: VerifyRules, kinds: Collection[str], times: int, home: Home, stack: ExitStack
) -> Trials:
    """Compare `times` plain repetitions with the first run; then do one run for each change.

    A change is compared with a repetition of this session that has a fixed hash seed, so that nothing but
    the change can be why they differ. Where even two of those differ, chance is at work, and changes tell
    nothing.
    """
    trials: list[Trial] = []
    for number in range(1, times + 1):
        last = _again(first, home, stack, f"repetition {number} of {times}")
        trials.append(Trial(varied=NOTHING, change="as recorded", comparison=_compared(first, last, rules)))
    if kinds:
        scratch = stack.enter_context(temporary_directory())
        environ = merge_environ(os.environ, first.record.platform.variables)
        scene = Scene(record=first.record, environ=environ, scratch=scratch)
        doubtful = any(trial.bad for trial in trials)
        fixed = "PYTHONHASHSEED" in first.record.platform.variables and not doubtful
        control = last if fixed else _again(first, home, stack, FIXED, _with_hash_seed(scene))
        trials += _varied(control, first, rules, kinds, doubtful, scene, home)
    return Trials(first=first.record.run_id, trials=tuple(trials))


def _varied(
    control: StoredRun,
    first: StoredRun,
    rules: VerifyRules,
    kinds: Collection[str],
    doubtful: bool,
    scene: Scene,
    home: Home,
) -> Iterator[Trial]:
    """doubtful: a plain repetition was not the same."""
    chance = ""
    if doubtful:
        with ExitStack() as stack:
            again = _again(first, home, stack, f"{FIXED}, once more", _with_hash_seed(scene))
            comparison = _compared(control, again, rules)
        yield Trial(varied=NOTHING, change=f"{FIXED}, twice", comparison=comparison)
        chance = "" if comparison.same else "the results differ each time, whatever is varied"
    pairs = [(kind, change) for kind in kinds for change in changes(kind, scene)]
    for varied, change in pairs:
        if reason := change.impossible or chance:
            yield Trial(varied=varied, change=change.text, left_out=reason)
            continue
        with ExitStack() as stack:
            second = _again(
                first, home, stack, f"{varied}: {change.text}", _with_hash_seed(scene, change), varied
            )
            yield Trial(varied=varied, change=change.text, comparison=_compared(control, second, rules))


def _with_hash_seed(scene: Scene, change: Change | None = None) -> Change:
    change = change or Change()
    fixed = {"PYTHONHASHSEED": hash_seed(scene)}
    return msgspec.structs.replace(change, variables={**fixed, **change.variables})


def _again(
    first: StoredRun, home: Home, stack: ExitStack, what: str, change: Change | None = None, kind: str = ""
) -> StoredRun:
    """The tree that it ran in goes with the stack."""
    change = change or Change()
    say(f"doing run {first.record.run_id[:8]} again, {what}")
    again = Again(
        variables=change.variables,
        prefix=change.prefix,
        elsewhere=change.elsewhere,
        tags={VARIES_TAG: kind} if kind else {},
    )
    return find_stored_run(reproduce(first, home, again, stack).run_id, home, stack)


def _compared(one: StoredRun, other: StoredRun, rules: VerifyRules) -> Comparison:
    return compare(one.record, other.record, rules, (one.content, other.content))
