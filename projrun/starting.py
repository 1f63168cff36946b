"""Starting a process, of whatever kind."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from projrun.errors import LaunchError
from projrun.output import explain, is_verbose

Variables = Mapping[str, str | None]
"""Environment variables to set on top of others; None removes one."""


def merged(environ: Mapping[str, str], *layers: Variables) -> dict[str, str]:
    """`environ` with each layer on top of it."""
    result = dict(environ)
    for layer in layers:
        for name, value in layer.items():
            if value is None:
                result.pop(name, None)
            else:
                result[name] = value
    return result


def git_settings(environ: Mapping[str, str], settings: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Variables that give git these settings, key and value, on top of those that `environ` gives it."""
    given = environ.get("GIT_CONFIG_COUNT", "")
    first = int(given) if given.isdecimal() else 0
    variables = {"GIT_CONFIG_COUNT": str(first + len(settings))}
    for number, (key, value) in enumerate(settings, first):
        variables |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    return variables


def shown(argv: Sequence[str]) -> str:
    """A command for people, as a shell would take it; no credentials, and no program text of ours."""
    import shlex

    from projrun.output import one_line
    from projrun.urls import without_secrets

    return without_secrets(" ".join(shlex.quote(one_line(word, 2000)) for word in argv))


def tell(argv: Sequence[str]) -> None:
    """What `--verbose` shows of a process that is started."""
    if is_verbose():
        explain(f"$ {shown(argv)}")


def popen(
    argv: Sequence[str],
    cwd: Path | None,
    environ: Mapping[str, str] | None,
    stdin: int | None,
    stdout: int | None,
    stderr: int | None,
    *,
    apart: bool = True,
    pass_fds: Sequence[int] = (),
    told: bool = True,
) -> subprocess.Popen[bytes]:
    """apart: in a session of its own, with no terminal. told: `--verbose` shows it. Raises LaunchError."""
    if told:
        tell(argv)
    try:
        return subprocess.Popen(
            list(argv),
            cwd=cwd,
            env=environ,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            start_new_session=apart,
            pass_fds=pass_fds,
        )
    except FileNotFoundError as error:
        raise LaunchError(f"cannot start '{argv[0]}': {error.filename} not found", "install it") from None
    except (OSError, ValueError) as error:
        raise LaunchError(f"cannot start '{argv[0]}': {error}", "see that it may be executed") from None
