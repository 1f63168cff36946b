"""Start processes, with the environment and under the signals that all of them share."""

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

Variables = Mapping[str, str | None]  # environment variables to set on top of others; None removes one


def merge_environ(environ: Mapping[str, str], *layers: Variables) -> dict[str, str]:
    """Return a copy of `environ` with each layer applied on top of it."""
    result = dict(environ)
    for layer in layers:
        for name, value in layer.items():
            if value is None:
                result.pop(name, None)
            else:
                result[name] = value
    return result


def git_config_variables(environ: Mapping[str, str], settings: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Return variables that give git these settings (key, value), besides those that `environ` gives it."""
    given = environ.get("GIT_CONFIG_COUNT", "")
    first = int(given) if given.isdecimal() else 0
    variables = {"GIT_CONFIG_COUNT": str(first + len(settings))}
    for number, (key, value) in enumerate(settings, first):
        variables |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    return variables


def shell_text(argv: Sequence[str]) -> str:
    """Return the command as a shell would take it, for people: without credentials, long arguments cut."""
    import shlex

    from projrun.console import one_line
    from projrun.net import without_secrets

    return without_secrets(" ".join(shlex.quote(one_line(word, 2000)) for word in argv))


def explain_command(argv: Sequence[str]) -> None:
    """Show the command of a process that is started, under `--verbose`."""
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
    new_session: bool = True,
    pass_fds: Sequence[int] = (),
    explained: bool = True,
) -> subprocess.Popen[bytes]:
    """Start a process. Raises LaunchError.

    new_session: it leads a session of its own and has no terminal. explained: `--verbose` shows it.
    """
    if explained:
        explain_command(argv)
    try:
        return subprocess.Popen(
            list(argv),
            cwd=cwd,
            env=environ,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            start_new_session=new_session,
            pass_fds=pass_fds,
        )
    except FileNotFoundError as error:
        raise LaunchError(f"cannot start '{argv[0]}': {error.filename} not found", "install it") from None
    except (OSError, ValueError) as error:
        raise LaunchError(f"cannot start '{argv[0]}': {error}", "see that it may be executed") from None


GRACE_S = 10.0  # seconds that a process may take to end after it was asked to


class Terminated(KeyboardInterrupt):
    """SIGTERM or SIGHUP arrived: a KeyboardInterrupt, so that what cleans up after ^C cleans up too."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


def signal_number(interrupt: KeyboardInterrupt) -> int:
    return interrupt.number if isinstance(interrupt, Terminated) else signal.SIGINT


def raise_on_termination() -> None:
    """Make SIGTERM and SIGHUP unwind the stack as ^C does. For programs, not for libraries."""

    def handler(number: int, _frame: object) -> NoReturn:
        raise Terminated(number)

    signal.signal(signal.SIGTERM, handler)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup(1) had it ignored: keep that
        signal.signal(signal.SIGHUP, handler)


def handles_termination() -> bool:
    """Return True if SIGTERM unwinds the stack of this process, which is so in a program of ours."""
    return callable(signal.getsignal(signal.SIGTERM))


@contextmanager
def defer_signals() -> Iterator[None]:
    """Delay signals that arrive in the block until its end.

    An exception between the start of a process and the line that stores it would leave the process behind.
    Signals are not masked, because a process started in the block would inherit the mask.
    """
    if threading.current_thread() is not threading.main_thread():  # Python handles signals there alone
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
