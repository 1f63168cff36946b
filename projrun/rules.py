"""When two results count as the same: what an author, or the user, allows to differ."""

from __future__ import annotations

from typing import Literal

import msgspec


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """When two metrics or two outputs count as the same."""

    how: Literal["exact", "value", "ignore"] = "exact"
    """`exact`: the same number, the same bytes. `value`: numbers within the tolerances, all else equal."""
    rtol: float = 0.0
    """Relative to the older value."""
    atol: float = 0.0


class VerifyRules(msgspec.Struct, frozen=True, kw_only=True):
    """The MLproject's `verify:` section. The first pattern that matches a name counts; without one: exact."""

    metrics: dict[str, Rule] = {}
    outputs: dict[str, Rule] = {}
