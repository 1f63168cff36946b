"""Supervised processes: the command of a run and all that it starts end with projrun.

The child leads a session of its own. ^C reaches projrun alone, which decides what the child is told, and the
whole group can be ended; the child can still read the terminal, and sees a pseudo-terminal where projrun has
a terminal.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from projrun.processes import GRACE_S, defer_signals, explain_command, merge_environ, start_process
from projrun.processes.cgroups import Cgroup, command_in_cgroup, new_cgroup
from projrun.processes.streams import (
    Pump,
    channel_source,
    close_descriptors,
    copy_terminal_size,
    open_channels,
    watch_terminal_size,
)
from projrun.processes.usage import Usage

TOKEN_VARIABLE = "PROJRUN_SUPERVISED"  # noqa: S105

# The token of a helper program, which ends with us or within its time limit, but has no watcher
HELPER_VARIABLE = "PROJRUN_HELPER"

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
# Without our own token: ending the run that contains this one must not end the watcher too early
WATCHER_ENVIRON = {"PATH": "/usr/bin:/bin"}


def new_token() -> str:
    return os.urandom(16).hex()


def watcher_command(token: str, cgroup: Path | None) -> list[str]:
    return ["/bin/sh", "-c", _SCRIPT, "projrun-watcher", token, str(cgroup or "")]


def kill_strays(token: str, *, after: int = 0) -> None:
    """Kill all processes with the token until there is none. after: spare those with a PID up to this one."""
    for _ in range(100):
        if not (strays := [pid for pid in _find_marked(TOKEN_VARIABLE, token) if pid > after]):
            return
        for pid in strays:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)


def find_family(pid: int, helper: str) -> set[int]:
    """Return the processes of a helper: it, its descendants and whatever has its token; no zombies.

    Empty where there is no /proc.
    """
    parents = {number: _read_parent(number) for number in _list_pids()}
    family = {pid} if parents.get(pid) else set[int]()
    grown = True
    while grown:
        children = {number for number, parent in parents.items() if parent in family}
        grown = not children <= family
        family |= children
    return family | set(_find_marked(HELPER_VARIABLE, helper))


def _find_marked(variable: str, value: str) -> list[int]:
    mark = f"{variable}={value}".encode()
    return [pid for pid in _list_pids() if mark in _read_environ(pid)]


def _list_pids() -> list[int]:
    try:
        return [int(name) for name in os.listdir("/proc") if name.isdigit()]
    except OSError:  # macOS
        return []


def _read_parent(pid: int) -> int:
    """Return the parent's PID; 0 for a process that is gone or a zombie."""
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
            state, parent = file.read().rpartition(b")")[2].split()[:2]
    except (OSError, ValueError):
        return 0
    return 0 if state == b"Z" else int(parent)


def _read_environ(pid: int) -> list[bytes]:
    """Return its variables as `NAME=value`; empty for processes of others, zombies and ended ones."""
    try:
        with open(f"/proc/{pid}/environ", "rb", buffering=0) as file:
            return file.read().split(b"\0")
    except OSError:
        return []


def stop_signals(number: int) -> tuple[int, ...]:
    """Return the signals to send one after the other until a process ends."""
    gentle = dict.fromkeys((number, int(signal.SIGTERM)))
    return (*gentle, signal.SIGKILL) if number != signal.SIGKILL else (signal.SIGKILL,)


def kill_group(pid: int, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


DRAIN_S = 1.0  # seconds that output of background processes is awaited after their parent has ended


class Child:
    """A supervised process, whose output goes to a log and, live, to our own streams.

    out, err: file descriptors that its stdout and stderr are copied to, None for nowhere. Where they are
    terminals the child sees a terminal too, which changes its size with ours.
    indexed: write beside the log which stream each part came from.
    contained: put it into a control group of its own where we may make one.
    masks: values that are replaced in the output.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        cwd: Path | None,
        environ: Mapping[str, str] | None,
        log: Path,
        stdin: int | None = None,
        out: int | None = None,
        err: int | None = None,
        indexed: bool = False,
        contained: bool = False,
        masks: Collection[str],
    ) -> None:
        self._token = new_token()
        own = merge_environ(os.environ if environ is None else environ, {TOKEN_VARIABLE: self._token})
        stdout, stderr = open_channels(out, err)
        self._terminals = {channel for channel in (stdout, stderr) if channel.is_terminal}
        watcher: _Watcher | None = None
        pump: Pump | None = None
        self._cgroup = new_cgroup() if contained else None
        try:
            pump = Pump(
                [channel_source(channel, masks) for channel in {stdout, stderr}], log, indexed=indexed
            )
            watcher = _Watcher(self._token, self._cgroup)
            explain_command(argv)
            if self._cgroup is not None:
                argv = command_in_cgroup(self._cgroup.path, argv, own)
            self._popen = start_process(
                argv, cwd, own, stdin, stdout.write_end, stderr.write_end, explained=False
            )
        except BaseException:
            if watcher is not None:
                watcher.close()
            if pump is not None:
                pump.close()
            else:
                close_descriptors(stdout.read_end, stderr.read_end)
            if self._cgroup is not None:
                self._cgroup.end()
            raise
        finally:
            close_descriptors(stdout.write_end, stderr.write_end)
        self._started = time.monotonic()
        self.pid = self._popen.pid
        self.id = str(self.pid)
        self.usage: Usage | None = None
        self._watcher, self._pump = watcher, pump
        watcher.set_group(self.pid)
        self._pump.start()

    def wait(self, timeout_s: float | None = None) -> int:
        """Return the exit code as a shell has it (128 + n for signal n) and set `usage`.

        Raises TimeoutError while it runs.
        """
        with watch_terminal_size(self._resize_terminals if self._terminals else None):
            if not self._wait_for_end(timeout_s):
                raise TimeoutError
        self._pump.join(DRAIN_S)
        kill_group(self.pid, signal.SIGKILL)  # background processes end with it
        kill_strays(self._token, after=self.pid)
        self._end_cgroup()
        self._watcher.close()
        self._pump.join(DRAIN_S)
        code = self._popen.returncode
        return 128 - code if code < 0 else code

    def end(self, number: int, grace_s: float = GRACE_S) -> int:
        """End the whole group with `number`, then SIGTERM, then SIGKILL, which a second ^C sends at once."""
        try:
            for step in stop_signals(number):
                kill_group(self.pid, step)
                if self._wait_for_end(grace_s):
                    break
        except KeyboardInterrupt:
            with defer_signals():
                kill_group(self.pid, signal.SIGKILL)
        return self.wait()

    def abandon(self) -> None:
        """End it by force."""
        self.end(signal.SIGKILL)

    def _end_cgroup(self) -> None:
        """End the control group. Its usage includes processes that nobody waited for."""
        usage = self._cgroup.end() if self._cgroup is not None else None
        if usage is not None and self.usage is not None:
            self.usage = msgspec.structs.replace(
                self.usage,
                cpu_s=round(max(self.usage.cpu_s, usage.cpu_s), 3),
                peak_memory_together_bytes=usage.peak_memory_bytes,
            )

    def _resize_terminals(self) -> None:
        for terminal in self._terminals:
            with suppress(OSError):  # the terminal is closed
                copy_terminal_size(terminal)
        kill_group(self.pid, signal.SIGWINCH)

    def _wait_for_end(self, timeout_s: float | None) -> bool:
        """Wait for the process, for `timeout_s` seconds at most; None waits without limit."""
        deadline = time.monotonic() + (timeout_s or 0.0)
        pause_s = 0.001
        while self._popen.returncode is None and not self._reap(block=timeout_s is None):
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                return False
            time.sleep(min(pause_s, left_s))
            pause_s = min(pause_s * 2, 0.05)
        return True

    def _reap(self, *, block: bool) -> bool:
        """Reap the process if it has ended; set its exit code and usage, which wait4 gives together."""
        try:
            pid, status, used = os.wait4(self.pid, 0 if block else os.WNOHANG)
        except ChildProcessError:  # somebody else reaped it
            self._popen.returncode = 0
            return True
        if not pid:
            return False
        self._popen.returncode = os.waitstatus_to_exitcode(status)
        self.usage = Usage(
            wall_s=round(time.monotonic() - self._started, 3),
            cpu_s=round(used.ru_utime + used.ru_stime, 3),
            peak_memory_bytes=used.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
        )
        return True


class _Watcher:
    """A shell that kills what has the token or is in the control group as soon as projrun is gone.

    It waits for the end of a pipe whose other end only we have. The token in the environment finds processes
    that left the process group.
    """

    # Not PR_SET_PDEATHSIG: that signal reaches one process alone and does not exist on macOS.

    def __init__(self, token: str, cgroup: Cgroup | None) -> None:
        read_end, self._write_end = os.pipe()
        null = os.open(os.devnull, os.O_WRONLY)
        try:
            argv = watcher_command(token, cgroup.path if cgroup is not None else None)
            self._popen = start_process(argv, None, WATCHER_ENVIRON, read_end, null, null, explained=False)
        except BaseException:
            os.close(self._write_end)
            raise
        finally:
            close_descriptors(read_end, null)

    def set_group(self, group: int) -> None:
        with suppress(OSError):  # the watcher was killed
            os.write(self._write_end, b"%d\n" % group)

    def close(self) -> None:
        if self._popen.returncode is None:
            self._popen.kill()
            self._popen.wait()
            os.close(self._write_end)
