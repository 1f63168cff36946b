"""The shelf of locks: the same descriptor resolves once, and the same from then on."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import msgspec

from projrun.digests import key_of
from projrun.environments import EnvironmentManager
from projrun.files import write_atomically
from projrun.home import Home
from projrun.locking import locked
from projrun.output import say
from projrun.plan import Descriptor, Lock
from projrun.urls import without_credentials

_INDEX_SETTING = re.compile(
    r"UV_(.*INDEX.*|FIND_LINKS|EXCLUDE_NEWER|PRERELEASE|RESOLUTION|CONSTRAINT|OVERRIDE)"
)


def lock_once(
    manager: EnvironmentManager, name: str, descriptor: Descriptor, directory: Path, home: Home, log: Path
) -> Lock:
    """The lock of this descriptor: resolved the first time, the same from then on."""
    place = home.locks / key_of(_lock_facts(name, descriptor)) / "lock.json"
    if lock := _read_lock(place):
        return lock
    with locked(place.parent.with_name(f"{place.parent.name}.lock"), waiting=_waiting):
        if lock := _read_lock(place):
            return lock
        say(f"resolving the environment of {descriptor.file or 'the project'}")
        lock = manager.lock(descriptor, directory, log)
        if lock.kept:
            write_atomically(place, msgspec.json.encode(lock))
        return lock


def _lock_facts(manager: str, descriptor: Descriptor) -> dict[str, object]:
    """All that a resolution depends on. Index settings count without the credentials in them."""
    return {
        "manager": manager,
        "descriptor": msgspec.to_builtins(msgspec.structs.replace(descriptor, file="")),
        "default python": "" if descriptor.python else list(sys.version_info[:2]),
        "platform": [sys.platform, os.uname().machine],
        "index": {
            name: without_credentials(value)
            for name, value in os.environ.items()
            if _INDEX_SETTING.fullmatch(name)
        },
    }


def _read_lock(place: Path) -> Lock | None:
    """The kept lock, unless there is none, it cannot be read, or its interpreter or image is gone."""
    try:
        lock = msgspec.json.decode(place.read_bytes(), type=Lock)
    except (OSError, msgspec.MsgspecError):
        return None
    if lock.tag and not _still_means(lock.tag, lock.image):
        return None
    return lock if Path(lock.interpreter).exists() else None


def _still_means(tag: str, image: str) -> bool:
    from projrun import engine

    facts = engine.image(tag)
    return facts is not None and str(facts["Id"]).endswith(image.removeprefix("sha256:"))


def _waiting() -> None:
    say("another projrun is resolving this environment; waiting for it")
