"""Ending all that a supervised process started, however projrun ends.

Every process that projrun supervises has a token in its environment, which what it starts inherits. A process
that left the group (setsid, a daemon) is found by it where there is /proc; one that also drops its
environment only by the control group that it is in (`cgroups`), where one could be made.

A shell beside us, the watcher, waits for the end of a pipe whose other end only we have: when it comes,
projrun is dead, even by SIGKILL, and the watcher kills. It is started first and knows the token, so it finds
a process whose number we had no time to tell it.
"""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

TOKEN_VARIABLE = "PROJRUN_SUPERVISED"  # noqa: S105

HELPER_VARIABLE = "PROJRUN_HELPER"
"""The same for a helper program, which ends with us or within its time, but is not watched."""

_SCRIPT = f"""
while read -r told; do group=$told; done
[ -n "$group" ] && kill -9 -- "-$group"
for round in 1 2 3; do
    [ -n "$2" ] && echo 1 >"$2/cgroup.kill"
    for place in $(grep -lsz "^{TOKEN_VARIABLE}=$1\\$" /proc/[0-9]*/environ); do
        place=${{place#/proc/}}
        kill -9 "${{place%/environ}}"
    done
done
[ -n "$2" ] && rmdir "$2"
"""
WATCHER_ENVIRON = {"PATH": "/usr/bin:/bin"}
"""Without our own token: the end of a run around this one must not end the watcher before its time."""


def new_token() -> str:
    return os.urandom(16).hex()


def watcher_argv(token: str, cgroup: Path | None) -> list[str]:
    return ["/bin/sh", "-c", _SCRIPT, "projrun-watcher", token, str(cgroup or "")]


def kill_strays(token: str, *, after: int = 0) -> None:
    """Kill all processes with the token until there is none; after: only those with a higher number."""
    for _ in range(100):
        if not (found := [pid for pid in _marked(TOKEN_VARIABLE, token) if pid > after]):
            return
        for pid in found:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)


def family_of(pid: int, helper: str) -> set[int]:
    """What is left of a helper program: the process, what descends from it, and what bears its mark.

    Zombies are not among it. Empty where there is no /proc.
    """
    parents = {number: _parent(number) for number in _processes()}
    family = {pid} if parents.get(pid) else set[int]()
    grown = True
    while grown:
        children = {number for number, parent in parents.items() if parent in family}
        grown = not children <= family
        family |= children
    return family | set(_marked(HELPER_VARIABLE, helper))


def _marked(variable: str, value: str) -> list[int]:
    mark = f"{variable}={value}".encode()
    return [pid for pid in _processes() if mark in _environ(pid)]


def _processes() -> list[int]:
    try:
        return [int(name) for name in os.listdir("/proc") if name.isdigit()]
    except OSError:  # macOS
        return []


def _parent(pid: int) -> int:
    """0 for a process that is gone, or a zombie."""
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
            state, parent = file.read().rpartition(b")")[2].split()[:2]
    except (OSError, ValueError):
        return 0
    return 0 if state == b"Z" else int(parent)


def _environ(pid: int) -> list[bytes]:
    """Empty for a process that is not ours, or gone, or a zombie."""
    try:
        with open(f"/proc/{pid}/environ", "rb", buffering=0) as file:
            return file.read().split(b"\0")
    except OSError:
        return []


def steps(number: int) -> tuple[int, ...]:
    """The signals to send, one after the other, until it ends."""
    gentle = dict.fromkeys((number, int(signal.SIGTERM)))
    return (*gentle, signal.SIGKILL) if number != signal.SIGKILL else (signal.SIGKILL,)


def kill_group(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)
