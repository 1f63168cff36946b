"""Read the environment variables that the user gives, one by one or in a file."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from projrun.errors import ProjrunError, UsageError

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_HINT = "see that it is a text file of lines NAME=VALUE that may be read"


def given_variables(given: Iterable[str], environ: Mapping[str, str]) -> dict[str, str]:
    """Read `NAME=VALUE`, or `NAME` for its value in `environ`. Raises UsageError without the value."""
    return dict(_variable(text, environ, "--env") for text in given)


def read_env_file(path: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """Read the lines `NAME=VALUE` or `NAME` of a file, as docker does. Raises UsageError.

    A value is the rest of its line without one pair of quotes around it. Empty lines and those that
    begin with # are skipped, and so is `export ` before a name.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise UsageError(f"--env-file {path} cannot be read: {error.strerror}", _HINT) from None
    except UnicodeDecodeError:
        raise UsageError(f"--env-file {path} is not UTF-8 text", _HINT) from None
    variables = {}
    for number, line in enumerate(lines, 1):
        text = line.strip().removeprefix("export ").lstrip()
        if text and not text.startswith("#"):
            name, value = _variable(text, environ, f"{path}:{number}")
            quoted = len(value) >= 2 and value[0] == value[-1] and value[0] in "'\""
            variables[name] = value[1:-1] if quoted else value
    return variables


def _variable(text: str, environ: Mapping[str, str], origin: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not _NAME.fullmatch(name):
        raise UsageError(f"{origin}: expected NAME=VALUE or NAME", "write for example --env API_KEY=…")
    if "\0" in value:
        raise UsageError(f"{origin}: the value of {name} holds a null character", _HINT)
    if equals:
        return name, value
    if name not in environ:
        raise UsageError(
            f"{origin}: {name} has no value, and there is none in the environment",
            f"set {name}, or write {name}=VALUE",
        )
    return name, environ[name]


OFF = frozenset({"", "0", "false", "no", "off", "never"})


def read_number(variable: str, default: float, *, of: str = "seconds") -> float:
    """Return the number in an environment variable, 0 or more; `default` if it is unset or empty.

    of: the unit, for the message. Raises ProjrunError.
    """
    text = os.environ.get(variable, "").strip()
    try:
        value = float(text or default)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise _refused(variable, f"a number of {of}, 0 or more", default)
    return value


def read_whole_number(variable: str, default: int) -> int:
    """Return the whole number in an environment variable. Raises ProjrunError."""
    text = os.environ.get(variable, "").strip()
    if text and not (text.isascii() and text.isdecimal()):
        raise _refused(variable, "a whole number, 0 or more", default)
    return int(text or default)


def is_on(text: str) -> bool:
    """Return True unless the value of a switch is empty or a usual word for no."""
    return text.strip().lower() not in OFF


def _refused(variable: str, expected: str, default: float) -> ProjrunError:
    return ProjrunError(
        f"{variable}={os.environ[variable]} is not {expected}", f"give one such as {default:.0f}, or unset it"
    )
