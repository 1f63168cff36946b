"""Two runs side by side: their results, and what determined them."""

from __future__ import annotations

from typing import Literal

import msgspec

# `within`: unlike, but within the tolerance. `missing`: the second lacks it. `extra`: the first does.
Verdict = Literal["same", "within", "different", "missing", "extra", "ignored"]

BAD: tuple[Verdict, ...] = ("different", "missing", "extra")


class ComparedResult(msgspec.Struct, frozen=True, kw_only=True):
    """One result of two runs and the verdict on it."""

    kind: Literal["status", "metric", "output"]
    name: str
    verdict: Verdict
    # The rule that was applied, such as `exact` or `rtol=1e-06`.
    rule: str = ""
    first: str = ""
    second: str = ""
    # The first place where the two differ.
    detail: str = ""


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """A fact that determines results and differs between two runs."""

    # source, parameters, seed, inputs, lock, python, platform, cpu, gpu, threads, variables, …
    determinant: str
    # The name of the parameter, package, variable, …
    name: str = ""
    first: str
    second: str


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    # The ids of the two runs.
    first: str
    second: str
    findings: tuple[ComparedResult, ...]
    differences: tuple[Difference, ...]

    @property
    def is_baseline(self) -> bool:
        """Return True where the run stands on both sides because there was nothing to compare it with yet."""
        return self.first == self.second

    @property
    def same(self) -> bool:
        return not self.bad

    @property
    def bad(self) -> tuple[ComparedResult, ...]:
        return tuple(finding for finding in self.findings if finding.verdict in BAD)
