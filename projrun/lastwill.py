"""What is done when projrun ends, however it ends: a shell waits on a pipe that only this process holds."""

from __future__ import annotations

from collections.abc import Sequence

from projrun.process import Detached, start_waiting

# The pause lets projrun end first: the engine's work would take a processor from what the user waits for.
_EXECUTE = """
trap '' INT TERM HUP
read -r _
sleep 0.05
did=$("$@" 2>/dev/null)
[ -n "$did" ] || { sleep 1; "$@"; }
"""
_executors: list[Detached] = []
"""Those that may still run; nobody waits for them, but they must not stay as zombies."""


class LastWill:
    """A program to run when this process ends, by whatever signal, or when it is time.

    One that prints nothing found nothing to do and is run once more: what it is to end may just start.
    """

    def __init__(self, argv: Sequence[str]) -> None:
        self._executor = start_waiting(["/bin/sh", "-c", _EXECUTE, "sh", *argv])
        _executors[:] = [other for other in _executors if other.poll() is None]
        _executors.append(self._executor)

    def execute(self) -> None:
        """Have it done now, and do not wait. Once more is fine."""
        if self._executor.stdin is not None and not self._executor.stdin.closed:
            self._executor.stdin.close()
