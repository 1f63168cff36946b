"""What the engine has of a build on its way: it goes with the build, however that ends.

Settings of the package index, credentials included, are in it. Builds are known by a label on all that they
leave, and by a lock beside the environments, which the kernel frees when a builder is killed.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from projrun import engine
from projrun.engine import EngineError
from projrun.environments import images
from projrun.environments.images import STAGE_LABEL, Image
from projrun.environments.imageshelf import SHELF_LABEL, shelf_name
from projrun.errors import LaunchError, UnavailableError
from projrun.interrupts import uninterrupted
from projrun.locking import FileLock
from projrun.output import say

ABANDONED_S = 3600.0
"""After how long the rest of a build for another shelf, whose locks we cannot see, is taken away."""
PATIENCE_S = 10.0
"""How long the engine may take to let go of what a build has left."""
SETTLED_S = 0.5
"""How long nothing may appear before a build that was given up counts as over."""
PAUSE_S = 0.05


@contextmanager
def staged(shelf: Path) -> Iterator[dict[str, str]]:
    """Labels for what a build leaves on its way. It is gone when the block ends."""
    sweep(shelf)
    name = os.urandom(8).hex()
    lock = FileLock(_lock_of(shelf, name))
    lock.acquire()
    settled_s = SETTLED_S
    try:
        yield {STAGE_LABEL: name, SHELF_LABEL: shelf_name(shelf)}
        settled_s = 0.0
    finally:
        with uninterrupted():
            _discard(name, settled_s)
            lock.path.unlink(missing_ok=True)
            lock.release()


def sweep(shelf: Path) -> None:
    """Take away what killed builds left. No engine, nothing to take."""
    try:
        found = images.labelled(STAGE_LABEL)
    except (EngineError, UnavailableError, LaunchError):
        return
    builds = {image.labels[STAGE_LABEL]: image for image in found if image.labels[STAGE_LABEL]}
    if sum(_sweep(name, image, shelf) for name, image in builds.items()):
        say("took away what a killed build of an image had left")


def _sweep(name: str, image: Image, shelf: Path) -> bool:
    if image.labels.get(SHELF_LABEL) != shelf_name(shelf):
        if abandoned := time.time() - image.created > ABANDONED_S:
            _discard(name)
        return abandoned
    lock = FileLock(_lock_of(shelf, name))
    try:
        if free := lock.try_acquire():
            _discard(name)
            lock.path.unlink(missing_ok=True)
        return free
    finally:
        lock.release()


def _discard(name: str, settled_s: float = 0.0) -> None:
    """Take away all that a build left. What cannot go yet is for the next sweep.

    settled_s: how long nothing may be there. An engine takes a moment to notice that nobody waits for a build
    any more, and ends its step first.
    """
    begun = quiet_since = time.monotonic()
    with suppress(EngineError, UnavailableError, LaunchError):
        while time.monotonic() - begun < PATIENCE_S:
            if _took_away(f"{STAGE_LABEL}={name}"):
                quiet_since = time.monotonic()
            elif time.monotonic() - quiet_since >= settled_s:
                return
            time.sleep(PAUSE_S)


def _took_away(label: str) -> bool:
    """Whether there was anything. Containers go first: they hold images."""
    if containers := engine.containers_labelled(label):
        engine.call("rm", "--force", "--volumes", *containers)
    left = images.labelled(label)
    for image in left:
        with suppress(EngineError):  # a container that is just ending holds it
            images.remove(image)
    return bool(containers or left)


def _lock_of(shelf: Path, name: str) -> Path:
    return shelf / f".{name}.building"
