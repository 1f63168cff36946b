"""Patterns of paths: `*` stays in a directory, `**` spans several, and one without a slash fits in any."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import TypeVar

T = TypeVar("T")

_PARTS = re.compile(r"\*\*/?|\*|\?|\[[!^]?\]?[^\]]*\]|.", re.DOTALL)
_MEANS = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}


def rule_for(name: str, rules: Mapping[str, T], default: T) -> T:
    """Return the rule of the first pattern that matches `name`, else `default`."""
    return next((rule for pattern, rule in rules.items() if matches(name, pattern)), default)


def matches(name: str, pattern: str) -> bool:
    return _compiled(pattern).fullmatch(name) is not None


@lru_cache(256)
def _compiled(pattern: str) -> re.Pattern[str]:
    anywhere = "" if "/" in pattern else "(?:.*/)?"
    return re.compile(anywhere + "".join(map(_expression, _PARTS.findall(pattern.lstrip("/")))), re.DOTALL)


def _expression(part: str) -> str:
    if part.startswith("[") and len(part) > 2:
        inside = part[1:-1].replace("\\", "\\\\")
        return f"[^{inside[1:]}]" if inside[0] in "!^" else f"[{inside}]"
    return _MEANS.get(part) or re.escape(part)
