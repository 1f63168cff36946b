"""The shelf of built environments: each is locked once and built once, however many processes ask.

    look -> lock the key -> look again -> build -> rename into place -> ready mark, last

A directory without a ready mark is the rest of a killed build and is built again. A run holds the key's
lock shared while it uses the environment, so nothing can take it away. One whose contents were changed by
hand is rebuilt, or built anew beside it while another run uses it.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import msgspec

from projrun.console import explain, say, warn
from projrun.disk import Home
from projrun.disk.file_locks import FileLock, hold_lock
from projrun.disk.file_operations import cache_key, remove_tree, temporary_beside, write_atomically
from projrun.environments import EnvironmentManager, manager_named
from projrun.errors import FREE_SPACE, BuildError
from projrun.plan import Descriptor, Launch, Lock, Resolving
from projrun.record import Environment

READY = ".ready.json"


class EnvironmentOrigin(msgspec.Struct, frozen=True, kw_only=True):
    """The project that an environment was first built for. Projects with the same lock share it."""

    project: str  # name of the project's directory
    descriptor: str = ""  # the descriptor file relative to the project's directory; empty if there was none
    kind: str = ""


class Ready(msgspec.Struct, frozen=True, kw_only=True):
    environment: Environment
    launch: Launch
    origin: EnvironmentOrigin
    fingerprint: str  # `contents.fingerprint` when it was built


def read(dest: Path) -> Ready | None:
    """Return the ready mark of `dest`; None without one: nothing is there, or the rest of a killed build."""
    try:
        return msgspec.json.decode((dest / READY).read_bytes(), type=Ready)
    except (OSError, msgspec.MsgspecError):
        return None


def lock_of(dest: Path) -> Path:
    """Return the file that every user of `dest` holds shared; its time is that of the last use."""
    return dest.with_name(f"{dest.name}.lock")


MIN_FREE_BYTES = 2**20  # a disk with less counts as full when a build has failed
USER_PATIENCE_S = 1.0  # seconds that others may hold a spoilt environment before it counts as in use


class Provided(msgspec.Struct, frozen=True, kw_only=True):
    """An environment in use, and the lock that it was built from."""

    environment: Environment
    launch: Launch
    lock: Lock


@contextmanager
def provide(
    name: str,
    descriptor: Descriptor,
    directory: Path,
    home: Home,
    log: Path,
    resolving: Resolving = Resolving(),  # noqa: B008 - frozen
    lock: Lock | None = None,
) -> Iterator[Provided]:
    """Provide the environment for `descriptor`, locked and built if need be; it stays while the block lasts.

    name: of the environment manager. directory: the project's. log: gets what resolving and building print.
    lock: of the descriptor; None has it resolved.
    """
    manager = manager_named(name)
    if not manager.BUILDS:
        yield _provide_unbuilt(manager, name, descriptor, directory, log, resolving)
        return
    # Imported late because an environment that is not built needs neither.
    from projrun.environments.lock_store import lock_once
    from projrun.environments.requirement_access import with_access

    with _explaining_full_disk(home.cache):
        home.mark_cache()
        lock = lock or lock_once(name, descriptor, directory, home, log, resolving)
    key = cache_key(manager.key(lock))
    origin = EnvironmentOrigin(project=directory.name, descriptor=descriptor.file, kind=descriptor.kind)
    for generation in count(1):
        dest = home.environments / name / (key if generation == 1 else f"{key}-{generation}")
        while True:  # once, unless it is pruned between our two locks
            with hold_lock(lock_of(dest), shared=True, waiting=_say_waiting) as held:
                if ready := _read_usable(manager, dest):
                    os.utime(held.path)  # its last use
                    explain(f"the environment is ready: {dest}")
                    # The project that it was built for may name its local requirements differently.
                    environment = msgspec.structs.replace(ready.environment, local=lock.local)
                    yield Provided(environment=environment, launch=ready.launch, lock=lock)
                    return
                spoilt = read(dest) is not None
            building = FileLock(lock_of(dest))
            if not _try_acquire(building, spoilt):
                break
            try:
                if _read_usable(manager, dest) is None:
                    with _explaining_full_disk(home.cache):
                        _build(manager, name, with_access(lock, descriptor, directory), origin, dest, log)
            finally:
                building.release()


def _provide_unbuilt(
    manager: EnvironmentManager,
    name: str,
    descriptor: Descriptor,
    directory: Path,
    log: Path,
    resolving: Resolving,
) -> Provided:
    """Provide an environment that is there already: it has no stored lock, no key and no directory."""
    lock = manager.lock(descriptor, directory, log)
    if resolving.strict_python:
        from projrun.environments.interpreters import refuse_another

        refuse_another(descriptor.python, lock.python)
    packages = () if descriptor.kind == "none" else manager.contents(directory)
    environment = Environment(manager=name, python=lock.python, packages=packages)
    return Provided(environment=environment, launch=manager.launch(directory), lock=lock)


def is_built(name: str, lock: Lock, home: Home) -> bool:
    manager = manager_named(name)
    return _read_usable(manager, home.environments / name / cache_key(manager.key(lock))) is not None


def _try_acquire(building: FileLock, spoilt: bool) -> bool:
    """Take the lock of a build; return False when another environment is to be built beside a spoilt one.

    A spoilt one may be in use for days, and waiting for it could be for ever: the run that changed its
    environment may be the one that asks for it again.
    """
    if not spoilt:
        building.acquire(waiting=_say_waiting)
        return True
    deadline = time.monotonic() + USER_PATIENCE_S
    while not building.try_acquire():
        if time.monotonic() > deadline:
            building.release()
            return False
        time.sleep(0.02)
    return True


def _read_usable(manager: EnvironmentManager, dest: Path) -> Ready | None:
    ready = read(dest)
    return ready if ready and not find_fault(manager, dest, ready) else None


def find_fault(manager: EnvironmentManager, dest: Path, ready: Ready) -> str | None:
    """Return why a built environment cannot be used as it is, or None."""
    from projrun.environments.contents import fingerprint  # late: what is not built has no contents

    if reason := manager.unhealthy(dest):
        return reason
    return None if fingerprint(dest) == ready.fingerprint else "its packages were changed by hand"


def _build(
    manager: EnvironmentManager, name: str, lock: Lock, origin: EnvironmentOrigin, dest: Path, log: Path
) -> None:
    from projrun.environments.contents import fingerprint, mismatch

    if ready := read(dest):
        warn(f"the {name} environment {dest.name} is built again: {find_fault(manager, dest, ready)}")
    with_python = f" with Python {lock.python}" if lock.python else ""
    say(f"building the {name} environment {dest.name}{with_python}")
    for leftover in (dest / READY, dest, *dest.parent.glob(f".{dest.name}.*.tmp")):
        remove_tree(leftover)
    with temporary_beside(dest) as temporary:
        manager.build(lock, temporary, log)
        packages = manager.contents(temporary)
        if fault := mismatch(lock, packages, manager.PYLOCK_IS_COMPLETE):
            raise BuildError(
                f"the environment is not what was locked: {fault}", "run it again; if it stays, report it"
            )
        temporary.rename(dest)
    from projrun.environments.requirement_access import redact

    environment = msgspec.structs.replace(
        manager.record(lock),
        key=dest.name,
        packages=tuple(
            msgspec.structs.replace(package, source=redact(package.source, lock.access))
            if package.source
            else package
            for package in packages
        ),
    )
    ready = Ready(
        environment=environment,
        launch=manager.launch(dest),
        origin=origin,
        fingerprint=fingerprint(dest),
    )
    write_atomically(dest / READY, msgspec.json.encode(ready))


@contextmanager
def _explaining_full_disk(directory: Path) -> Iterator[None]:
    try:
        yield
    except BuildError as error:
        # Some errors of uv and pip on a full disk do not name it
        disk = os.statvfs(directory)
        if disk.f_bavail * disk.f_frsize < MIN_FREE_BYTES:
            error.hint = FREE_SPACE
        raise
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise BuildError(f"the environment could not be made: {error.strerror}", FREE_SPACE) from None


def _say_waiting() -> None:
    say("another projrun is making this environment; waiting for it")
