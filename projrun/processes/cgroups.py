"""Linux control groups (version 2) of runs: a process cannot leave one by changing its group or environment.

Only a control group finds a process that drops both, and knows the CPU time of processes that nobody waited
for. A run's group lies below the one that projrun is in, if its rights allow that; the group of a run inside
a run lies below the outer one and ends with it. A process that outlives the run (a detached supervisor, an
exit program) starts above it. The supervisor locks `cgroup.procs` while it lives, and its file names the
parent directory, so that the next command ends and removes a group whose supervisor and watcher were killed.
Where there are no such groups (macOS, version 1, no rights), process group and token are all there is, and
nothing else changes.
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

# Seconds that killed processes may take to disappear; one that waits for a broken disk never does
PATIENCE_S = 5.0
_NAME = "projrun-run-"
# A shell moves itself into the group and becomes the program, so nothing of it starts outside. Without the
# right to move, the program starts all the same
_ENTER = '{ echo 0 >"$1"; } 2>/dev/null; shift; exec "$@"'


class CgroupUsage(msgspec.Struct, frozen=True):
    """Resources used by all processes of a group together, whether or not anybody waited for them."""

    cpu_s: float
    # Peak of all processes together, page cache included; None where the kernel does not count it
    peak_memory_bytes: int | None


class Cgroup:
    """A new control group, locked by this process until `end`."""

    def __init__(self, path: Path) -> None:
        """Make the directory of the group. Raises OSError where that is not allowed."""
        self.path = path
        path.mkdir()
        self._lock = _group_lock(path)
        self._lock.try_acquire()

    def kill(self) -> None:
        _kill(self.path)

    def end(self) -> CgroupUsage | None:
        """Kill what is left in the group, remove it and return its usage; None if it was ended before."""
        if not self._lock.is_held:
            return None
        deadline, usage = time.monotonic() + PATIENCE_S, _read_usage(self.path)
        while not _try_remove(self.path) and time.monotonic() < deadline:
            self.kill()
            time.sleep(0.001)
            usage = _read_usage(self.path) or usage
        self._lock.release()
        return usage


def new_cgroup() -> Cgroup | None:
    """Return a new group, or None where this process has no right to make one, or the system has none."""
    if (parent := own_cgroup_directory()) is None:
        return None
    try:
        return Cgroup(parent / f"{_NAME}{os.urandom(16).hex()}")
    except OSError:
        return None


def prepare_kernel() -> None:
    """Make the next move of a process into a group cheap, without waiting.

    The first move in a while waits some 10 ms for an RCU grace period of every processor; one within 20 ms of
    another does not wait. So a thread moves this process to where it is while the run is prepared. `clone3`
    with CLONE_INTO_CGROUP would not wait, but Python cannot call it.
    """

    def move_in_place() -> None:
        if (own := own_cgroup_directory()) is not None:
            with contextlib.suppress(OSError):
                (own / "cgroup.procs").write_bytes(b"0")

    threading.Thread(target=move_in_place, daemon=True).start()


def command_in_cgroup(path: Path, argv: Sequence[str], environ: Mapping[str, str]) -> list[str]:
    """Return a command that enters the group and becomes `argv`; `argv` itself if its program is not found.

    A plain sh starts in half the time of bash, but drops variables whose names are not shell names.
    """
    if not _is_on_path(argv[0], environ):
        return list(argv)
    shell = ["/bin/sh"] if all(name.isidentifier() and name.isascii() for name in environ) else ["bash", "-p"]
    return [*shell, "-c", _ENTER, "sh", str(path / "cgroup.procs"), *argv]


def command_outside_runs(argv: Sequence[str], environ: Mapping[str, str]) -> list[str]:
    """Return a command that becomes `argv` outside of the run that this process is part of, if any."""
    own = own_cgroup_directory()
    outer = None if own is None else _parent_of_runs(own)
    return list(argv) if outer in (own, None) else command_in_cgroup(outer, argv, environ)


def remove_abandoned(parent: Path) -> None:
    """End and remove the groups below `parent` whose supervisors were killed."""
    try:
        names = os.listdir(parent)
    except OSError:
        return
    for path in (parent / name for name in names if name.startswith(_NAME)):
        lock = _group_lock(path)
        with contextlib.suppress(OSError):
            if path.exists() and lock.try_acquire():
                deadline = time.monotonic() + PATIENCE_S
                while not _try_remove(path) and time.monotonic() < deadline:
                    _kill(path)
                    time.sleep(0.001)
        lock.release()


def own_cgroup_directory() -> Path | None:
    """Return the directory of the group that this process is in; None without version 2."""
    try:
        with open("/proc/self/cgroup") as file:
            relative = next((line[3:].rstrip("\n") for line in file if line.startswith("0::")), None)
        with open("/proc/self/mountinfo") as file:
            mounts = [line.split() for line in file if " - cgroup2 " in line]
    except OSError:  # macOS
        return None
    if relative is None or ".." in relative:  # outside of our cgroup namespace
        return None
    for fields in mounts:
        root, mountpoint = (_unescaped(field) for field in fields[3:5])
        if relative == root or relative.startswith(root.rstrip("/") + "/"):
            return Path(mountpoint, relative[len(root) :].strip("/"))
    return None


def _unescaped(field: str) -> str:
    """Decode a field of mountinfo, which writes blanks and the like as octal numbers (proc(5))."""
    if "\\" not in field:
        return field
    import re

    return re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), field)


def _parent_of_runs(path: Path) -> Path:
    within = [parent for parent in (path, *path.parents) if parent.name.startswith(_NAME)]
    return within[-1].parent if within else path


def _group_lock(path: Path) -> FileLock:
    """Return the lock of a group. cgroupfs lets nobody create files, so an existing one is locked."""
    return FileLock(path / "cgroup.procs")


def _is_on_path(program: str, environ: Mapping[str, str]) -> bool:
    return any(os.access(os.path.join(entry, program), os.X_OK) for entry in os.get_exec_path(environ))


def _read_usage(path: Path) -> CgroupUsage | None:
    try:
        numbers = dict(line.split() for line in (path / "cpu.stat").read_text().splitlines())
        memory = path / "memory.peak"
        peak = int(memory.read_text()) if memory.exists() else None
        return CgroupUsage(int(numbers["usage_usec"]) / 1e6, peak)
    except (OSError, ValueError, KeyError):
        return None


def _try_remove(path: Path) -> bool:
    """Remove the group and its subgroups; False while a process is in one of them."""
    for inner in _walk_upwards(path):
        try:
            inner.rmdir()
        except FileNotFoundError:
            continue
        except OSError:
            return False
    return True


def _kill(path: Path) -> None:
    """Kill all processes of the group, at once where the kernel can (`cgroup.kill`, Linux 5.14)."""
    try:
        (path / "cgroup.kill").write_bytes(b"1")
    except OSError:
        _kill_each(path)


def _kill_each(path: Path) -> None:
    for inner in _walk_upwards(path):
        with contextlib.suppress(OSError):
            for pid in map(int, (inner / "cgroup.procs").read_text().split()):
                if pid:  # 0 stands for a process of another PID namespace, and would signal our own group
                    with contextlib.suppress(ProcessLookupError, PermissionError):
                        os.kill(pid, signal.SIGKILL)


def _walk_upwards(path: Path) -> Iterator[Path]:
    """Return the group's directory and all below it, innermost first."""
    return (Path(directory) for directory, _, _ in os.walk(path, topdown=False))
