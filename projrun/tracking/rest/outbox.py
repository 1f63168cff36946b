"""Updates of runs for a server that is away, kept on this machine until they are delivered.

Only a run that this process supervises has an outbox: `runs tag` on a server that is away is an error. Every
line of the journal may be delivered twice, so delivering needs no bookkeeping: the directory goes when all of
it has arrived.

`<data>/outbox/<run id>/` holds `server` (its address), `files/…` (artifacts, logs that grow) and `journal`:
what was not accepted, a JSON line each, in order. `<run id>.lock` is held by the process
that writes there; a directory whose lock is free waits for `projrun runs sync`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from projrun.disk.file_locks import FileLock
from projrun.disk.file_operations import remove_tree
from projrun.errors import TrackingError
from projrun.tracking.artifacts import ArtifactDirectory
from projrun.tracking.entities import RunStatus

# Error codes that no later try would change. After all others (an expired token, say) one may.
FINAL = ("INVALID_PARAMETER_VALUE", "NOT_IMPLEMENTED", "RESOURCE_DOES_NOT_EXIST")
PATIENCE_S = 30.0


class RunUpdate(msgspec.Struct, frozen=True, omit_defaults=True):
    """One change of a run that the server is told."""

    tags: dict[str, str] = {}
    status: RunStatus | None = None
    end_time: int | None = None
    run_name: str | None = None
    artifact: str = ""  # the path of a file below `files`


class RunOutbox:
    """One run's directory of undelivered updates, locked by this process until `release`."""

    def __init__(self, room: Path, run_id: str) -> None:
        self.run_id, self.directory = run_id, room / run_id
        self._lock = FileLock(room / f"{run_id}.lock")
        self._waits_since = 0.0

    def acquire(self, server: str = "") -> bool:
        """Lock the outbox; return False if another process has it. server: create it for this address."""
        if not self._lock.try_acquire():
            self._lock.release()
            return False
        try:
            if server:
                self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
                (self.directory / "server").write_text(server)
        except OSError as error:
            self._lock.release()
            raise TrackingError(
                f"{self.directory}: {error.strerror}", "look at the space and the rights in PROJRUN_HOME"
            ) from None
        return True

    @property
    def server(self) -> str:
        try:
            return (self.directory / "server").read_text()
        except OSError:
            return ""

    @property
    def has_pending(self) -> bool:
        """Return True if a message was not accepted: all that follow must wait behind it."""
        return bool(self._waits_since)

    @property
    def may_retry(self) -> bool:
        return time.monotonic() - self._waits_since > PATIENCE_S

    def artifacts(self) -> ArtifactDirectory:
        return ArtifactDirectory(self.directory, "files")

    def append(self, message: RunUpdate) -> None:
        self._waits_since = self._waits_since or time.monotonic()
        with open(self.directory / "journal", "ab") as journal:
            journal.write(msgspec.json.encode(message) + b"\n")
            journal.flush()
            os.fsync(journal.fileno())

    def read_updates(self) -> list[RunUpdate]:
        """Return the updates in their order, and last the files that none names, of a run that was killed."""
        try:
            lines = (self.directory / "journal").read_bytes().split(b"\n")[:-1]  # the last may be half a line
        except FileNotFoundError:
            lines = []
        messages = [msgspec.json.decode(line, type=RunUpdate) for line in lines]
        named = {message.artifact for message in messages}
        return messages + [RunUpdate(artifact=path) for path in self._paths() if path not in named]

    def release(self, *, keep: bool) -> None:
        try:
            if not keep:
                remove_tree(self.directory)
                self._lock.path.unlink(missing_ok=True)
        except OSError:
            pass  # it is delivered once more, which does no harm
        finally:
            self._lock.release()

    def _paths(self) -> Iterator[str]:
        top = self.directory / "files"
        for directory, _, names in os.walk(top):
            for name in sorted(names):
                yield (Path(directory) / name).relative_to(top).as_posix()


def list_outboxes(room: Path) -> list[RunOutbox]:
    """Return the outboxes of all runs, also those that another process is writing. None is locked yet."""
    try:
        return [RunOutbox(room, entry.name) for entry in os.scandir(room) if entry.is_dir()]
    except FileNotFoundError:
        return []
