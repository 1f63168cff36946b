"""Starting a process, of whatever kind."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from projrun.console import explain, is_verbose
from projrun.errors import LaunchError

Variables = Mapping[str, str | None]
"""Environment variables to set on top of others; None removes one."""


def merge_environ(environ: Mapping[str, str], *layers: Variables) -> dict[str, str]:
    """`environ` with each layer on top of it."""
    result = dict(environ)
    for layer in layers:
        for name, value in layer.items():
            if value is None:
                result.pop(name, None)
            else:
                result[name] = value
    return result


def git_config_variables(environ: Mapping[str, str], settings: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Variables that give git these settings, key and value, on top of those that `environ` gives it."""
    given = environ.get("GIT_CONFIG_COUNT", "")
    first = int(given) if given.isdecimal() else 0
    variables = {"GIT_CONFIG_COUNT": str(first + len(settings))}
    for number, (key, value) in enumerate(settings, first):
        variables |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    return variables


def shell_text(argv: Sequence[str]) -> str:
    """A command for people, as a shell would take it; no credentials, and no program text of ours."""
    import shlex

    from projrun.console import one_line
    from projrun.net import without_secrets

    return without_secrets(" ".join(shlex.quote(one_line(word, 2000)) for word in argv))


def explain_command(argv: Sequence[str]) -> None:
    """What `--verbose` shows of a process that is started."""
    if is_verbose():
        explain(f"$ {shell_text(argv)}")


def start_process(
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
        explain_command(argv)
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


GRACE_S = 10.0
"""How long a process may take to end after it was asked to."""


class Terminated(KeyboardInterrupt):
    """SIGTERM or SIGHUP reached us; everything that cleans up after ^C cleans up after these."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


def signal_number(interrupt: KeyboardInterrupt) -> int:
    return interrupt.number if isinstance(interrupt, Terminated) else signal.SIGINT


def raise_on_termination() -> None:
    """From now on SIGTERM and SIGHUP unwind the stack as ^C does. For programs, not for libraries."""

    def handler(number: int, _frame: object) -> NoReturn:
        raise Terminated(number)

    signal.signal(signal.SIGTERM, handler)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup stays nohup
        signal.signal(signal.SIGHUP, handler)


def handles_termination() -> bool:
    """Whether SIGTERM ends this process in good order."""
    return callable(signal.getsignal(signal.SIGTERM))


@contextmanager
def defer_signals() -> Iterator[None]:
    """What the block does is done whole: a signal that arrives meanwhile takes effect at its end.

    An exception between the start of a process and the line that remembers it would leave the process behind.
    Signals are not masked, because a process started here would inherit that.
    """
    if threading.current_thread() is not threading.main_thread():  # others get no signals
        yield
        return
    arrived: list[int] = []
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    deferred = {number: handler for number, handler in before.items() if callable(handler)}
    for number in deferred:
        signal.signal(number, lambda number, _frame: arrived.append(number))
    try:
        yield
    finally:
        for number, handler in deferred.items():
            signal.signal(number, handler)
        if arrived:
            os.kill(os.getpid(), arrived[0])
