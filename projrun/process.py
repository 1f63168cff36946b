"""Starting processes: the one place of projrun that does."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from projrun.errors import LaunchError

Variables = Mapping[str, str | None]
"""Environment variables to set on top of others; None removes one."""


@dataclass(frozen=True)
class Answer:
    """What a finished helper process said."""

    code: int
    stdout: str
    stderr: str

    @property
    def ok(self) -> bool:
        return self.code == 0


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


def ask(
    argv: Sequence[str],
    *,
    cwd: Path | None = None,
    environ: Mapping[str, str] | None = None,
    stdin: bytes = b"",
) -> Answer:
    """Run a helper program to its end, with no terminal to prompt on. Raises LaunchError.

    The helper is a process group of its own: ^C reaches it once, from us, and it leaves nothing behind.
    """
    with _popen(argv, cwd, environ) as child:
        try:
            stdout, stderr = child.communicate(stdin)
        except BaseException:
            _end_group(child)
            raise
    return Answer(child.returncode, _text(stdout), _text(stderr))


def _popen(
    argv: Sequence[str], cwd: Path | None, environ: Mapping[str, str] | None
) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            list(argv),
            cwd=cwd,
            env=environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except FileNotFoundError as error:
        raise LaunchError(f"cannot start '{argv[0]}': {error.filename} not found", "install it") from None
    except OSError as error:
        raise LaunchError(f"cannot start '{argv[0]}': {error.strerror}") from None


def _end_group(child: subprocess.Popen[bytes], grace_s: float = 2.0) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(child.pid, number)
            child.wait(grace_s)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            continue


def _text(output: bytes) -> str:
    return output.decode(errors="replace")
