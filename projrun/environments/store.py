"""The shelf of built environments: each is locked once and built once, however many processes ask.

    look -> lock the key -> look again -> build -> rename into place -> ready mark, last

A directory without a ready mark is the rest of a killed build and is built again. A run holds the key's
lock shared while it uses the environment, so nothing can take it away.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from projrun.digests import key_of, sha256_text
from projrun.environments import EnvironmentManager, manager_named
from projrun.environments.locks import lock_once
from projrun.files import beside, remove, write_atomically
from projrun.home import Home
from projrun.locking import locked
from projrun.output import say
from projrun.plan import Descriptor, Launch, Lock
from projrun.record import Environment

READY = ".ready.json"


class Ready(msgspec.Struct, frozen=True, kw_only=True):
    """The ready mark of a built environment, and all that a run needs to know of it."""

    environment: Environment
    launch: Launch


class Provided(msgspec.Struct, frozen=True, kw_only=True):
    """An environment in use, and the lock that it was built from."""

    environment: Environment
    launch: Launch
    lock: Lock


@contextmanager
def provide(name: str, descriptor: Descriptor, directory: Path, home: Home, log: Path) -> Iterator[Provided]:
    """The environment for `descriptor`, locked and built if need be, kept from removal while in use.

    name: of the environment manager. directory: the project's. log: gets what resolving and building say.
    """
    manager = manager_named(name)
    if not manager.BUILDS:
        lock = manager.lock(descriptor, directory, log)
        environment = Environment(manager=name, python=lock.python)
        yield Provided(environment=environment, launch=manager.launch(directory), lock=lock)
        return
    home.mark_cache()
    lock = lock_once(manager, name, descriptor, directory, home, log)
    dest = home.environments / name / key_of(manager.key(lock))
    while True:  # once, unless it is pruned between our two locks
        with locked(_beside(dest), shared=True, waiting=_waiting):
            if ready := _ready(manager, dest):
                yield Provided(environment=ready.environment, launch=ready.launch, lock=lock)
                return
        with locked(_beside(dest), waiting=_waiting):
            if _ready(manager, dest) is None:
                _build(manager, name, lock, dest, log)


def _ready(manager: EnvironmentManager, dest: Path) -> Ready | None:
    try:
        ready = msgspec.json.decode((dest / READY).read_bytes(), type=Ready)
    except (OSError, msgspec.MsgspecError):
        return None
    return None if manager.unhealthy(dest) else ready


def _build(manager: EnvironmentManager, name: str, lock: Lock, dest: Path, log: Path) -> None:
    say(f"building the {name} environment {dest.name} {_made_of(lock)}")
    for leftover in (dest, *dest.parent.glob(f".{dest.name}.*.tmp")):
        remove(leftover)
    with beside(dest) as temporary:
        manager.build(lock, temporary, log)
        temporary.rename(dest)
    environment = Environment(
        manager=name,
        key=dest.name,
        python=lock.python,
        packages=manager.contents(dest),
        lock_sha256=sha256_text(lock.pylock) if lock.pylock else "",
        image=lock.image,
    )
    ready = Ready(environment=environment, launch=manager.launch(dest))
    write_atomically(dest / READY, msgspec.json.encode(ready))


def _made_of(lock: Lock) -> str:
    return f"with Python {lock.python}" if lock.python else f"from the image {lock.image}"


def _beside(directory: Path) -> Path:
    return directory.with_name(f"{directory.name}.lock")


def _waiting() -> None:
    say("another projrun is making this environment; waiting for it")
