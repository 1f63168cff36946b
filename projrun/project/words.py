"""Words of bash."""

from __future__ import annotations

SAFE = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789@%+=:,./_-"
"""Characters that mean nothing to bash wherever they stand in a word."""


def quoted(value: str) -> str:
    """One word, as `shlex.quote` has it, which is not imported for most values."""
    if value and not value.strip(SAFE):
        return value
    import shlex

    return shlex.quote(value)
