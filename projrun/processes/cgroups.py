"""A control group for a process: nothing that it starts leaves it by changing its group or its environment.

Only version 2 of Linux's control groups is used, below the one that this process is in, where its rights
allow. A lock of ours holds each while we live; whoever finds one that is not locked may end what is in it.
A run inside a run has its own below that of the outer run, and ends with it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from projrun.disk.file_locks import FileLock

PATIENCE_S = 5.0
"""How long killed processes may take to go; one that waits for a broken disk does not."""
_NAME = "projrun-run-"
_ENTER = '{ echo 0 >"$1"; } 2>/dev/null; shift; exec "$@"'
"""A shell puts itself there and becomes the program. Where it may not, the program starts all the same."""


class CgroupUsage(msgspec.Struct, frozen=True):
    """What all processes of a group took together, whether anybody waited for them or not."""

    cpu_s: float
    peak_memory_bytes: int | None
    """Of all at one time, with the files that the kernel kept in memory for them. None: nobody counts."""


class Cgroup:
    """An empty control group, which is ours until `end`."""

    def __init__(self, place: Path) -> None:
        """Raises OSError where none may be made."""
        self.place = place
        place.mkdir()
        self._lock = _lock_of(place)
        self._lock.try_acquire()

    def kill(self) -> None:
        _kill(self.place)

    def end(self) -> CgroupUsage | None:
        """Kill what is left in it and remove it; what was taken in it. None when this was done before."""
        if not self._lock.is_held:
            return None
        deadline, taken = time.monotonic() + PATIENCE_S, _taken(self.place)
        while not _removed(self.place) and time.monotonic() < deadline:
            self.kill()
            time.sleep(0.001)
            taken = _taken(self.place) or taken
        self._lock.release()
        return taken


def new_cgroup() -> Cgroup | None:
    """None where there is no right to one, or nothing of the kind."""
    if (parent := own_cgroup_directory()) is None:
        return None
    try:
        return Cgroup(parent / f"{_NAME}{os.urandom(16).hex()}")
    except OSError:
        return None


def prepare_kernel() -> None:
    """Have the kernel ready to put a process into a group soon; it costs nobody any time.

    For the first in a while it waits until every processor has passed a certain point, some 10 ms. Putting
    this process where it is starts that wait while there is other work.
    """

    def stay() -> None:
        if (own := own_cgroup_directory()) is not None:
            with contextlib.suppress(OSError):
                (own / "cgroup.procs").write_bytes(b"0")

    threading.Thread(target=stay, daemon=True).start()


def command_in_cgroup(place: Path, argv: Sequence[str], environ: Mapping[str, str]) -> list[str]:
    """The command that becomes `argv` when it is in that group; `argv` itself where its program is not found.

    A plain sh takes half the time of bash, but drops variables whose names are none of its own.
    """
    if not _is_there(argv[0], environ):
        return list(argv)
    shell = ["/bin/sh"] if all(name.isidentifier() and name.isascii() for name in environ) else ["bash", "-p"]
    return [*shell, "-c", _ENTER, "sh", str(place / "cgroup.procs"), *argv]


def command_outside_runs(argv: Sequence[str], environ: Mapping[str, str]) -> list[str]:
    """The command that becomes `argv` outside the run that we are part of, if we are."""
    own = own_cgroup_directory()
    outer = None if own is None else _outside_of_runs(own)
    return list(argv) if outer in (own, None) else command_in_cgroup(outer, argv, environ)


def remove_abandoned(parent: Path) -> None:
    """End and remove what killed supervisors left in that directory."""
    try:
        names = os.listdir(parent)
    except OSError:
        return
    for place in (parent / name for name in names if name.startswith(_NAME)):
        lock = _lock_of(place)
        with contextlib.suppress(OSError):
            if place.exists() and lock.try_acquire():
                deadline = time.monotonic() + PATIENCE_S
                while not _removed(place) and time.monotonic() < deadline:
                    _kill(place)
                    time.sleep(0.001)
        lock.release()


def own_cgroup_directory() -> Path | None:
    """That of the control group that this process is in; None where there is no such thing."""
    try:
        with open("/proc/self/cgroup") as file:
            path = next((line[3:].rstrip("\n") for line in file if line.startswith("0::")), None)
        with open("/proc/self/mountinfo") as file:
            mounts = [line.split() for line in file if " - cgroup2 " in line]
    except OSError:  # macOS
        return None
    if path is None or ".." in path:  # it is not below what we see
        return None
    for fields in mounts:
        root, mountpoint = (_unescaped(field) for field in fields[3:5])
        if path == root or path.startswith(root.rstrip("/") + "/"):
            return Path(mountpoint, path[len(root) :].strip("/"))
    return None


def _unescaped(field: str) -> str:
    """Spaces and the like are octal numbers in mountinfo."""
    if "\\" not in field:
        return field
    import re

    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), field)


def _outside_of_runs(place: Path) -> Path:
    within = [parent for parent in (place, *place.parents) if parent.name.startswith(_NAME)]
    return within[-1].parent if within else place


def _lock_of(place: Path) -> FileLock:
    """No file can be made in there: it is on one that is there."""
    return FileLock(place / "cgroup.procs")


def _is_there(program: str, environ: Mapping[str, str]) -> bool:
    return any(os.access(os.path.join(entry, program), os.X_OK) for entry in os.get_exec_path(environ))


def _taken(place: Path) -> CgroupUsage | None:
    try:
        numbers = dict(line.split() for line in (place / "cpu.stat").read_text().splitlines())
        memory = place / "memory.peak"
        peak = int(memory.read_text()) if memory.exists() else None
        return CgroupUsage(int(numbers["usage_usec"]) / 1e6, peak)
    except (OSError, ValueError, KeyError):
        return None


def _removed(place: Path) -> bool:
    """Whether it is gone, which it goes when no process is in it. Processes in it may have divided it."""
    for inner in _and_below(place):
        try:
            inner.rmdir()
        except FileNotFoundError:
            continue
        except OSError:
            return False
    return True


def _kill(place: Path) -> None:
    """All processes in it, at once where the kernel can (5.14)."""
    try:
        (place / "cgroup.kill").write_bytes(b"1")
    except OSError:
        _kill_each(place)


def _kill_each(place: Path) -> None:
    for inner in _and_below(place):
        with contextlib.suppress(OSError):
            for pid in map(int, (inner / "cgroup.procs").read_text().split()):
                if pid:  # 0 is one in a namespace that we do not see, and would be our own group
                    _kill_one(pid)


def _kill_one(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGKILL)


def _and_below(place: Path) -> Iterator[Path]:
    """The innermost first."""
    return (Path(directory) for directory, _, _ in os.walk(place, topdown=False))
