"""Plain command lines of `projrun run`, read without click.

What this file is not certain of, it leaves to click: other verbs, help, mistakes, options that convert their
value or have another meaning. For the rest its answer is click's, which a test compares.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from projrun.cli.runoptions import GROUPS

_LEFT_TO_CLICK = {"callback", "hidden"}
"""Settings of an option that click follows."""


def options_of(arguments: Sequence[str], environ: Mapping[str, str]) -> dict[str, Any] | None:
    """The arguments of `running.run` that the command line gives; None where click is to be asked."""
    if arguments[:1] != ["run"] or "_PROJRUN_COMPLETE" in environ:
        return None
    known = {name: option for group in GROUPS for option in group.options for name in option.names}
    if any(option.settings.get("envvar", "") in environ for option in known.values()):
        return None
    given: dict[str, Any] = {}
    rest = list(reversed(arguments[1:]))
    while rest:
        word = rest.pop()
        if not word.startswith("-"):
            if "uri" in given:
                return None
            given["uri"] = word
            continue
        name, value = _apart(word)
        option = known.get(name)
        if option is None or _LEFT_TO_CLICK & option.settings.keys():
            return None
        if option.settings.get("is_flag"):
            if value is not None:
                return None
            given[option.name] = True
            continue
        if value is None:
            if not rest or rest[-1].startswith("-"):
                return None
            value = rest.pop()
        before = given.get(option.name, ())
        given[option.name] = (*before, value) if option.settings.get("multiple") else value
    return given if "uri" in given else None


def _apart(word: str) -> tuple[str, str | None]:
    """The name of an option, and the value that is in one word with it: `--name=value`, `-nvalue`."""
    if word.startswith("--"):
        name, equals, value = word.partition("=")
        return name, value if equals else None
    return word[:2], word[2:] or None
