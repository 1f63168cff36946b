"""Environments that are images: the author's own, or one with the packages that uv or conda would install.

A warm run asks for the key and whether the image is there; what resolves and builds is imported when needed.
"""

from __future__ import annotations

from pathlib import Path

from projrun import engine
from projrun.digests import key_of
from projrun.environments import imagefacts
from projrun.environments.localrequirements import local_facts
from projrun.plan import Descriptor, Launch, Lock
from projrun.record import Package

BUILDS = True


def lock(descriptor: Descriptor, directory: Path, log: Path, as_of: str = "") -> Lock:
    from projrun.environments.imagelock import image_lock

    return image_lock(descriptor, directory, log, as_of)


def key(lock: Lock) -> dict[str, object]:
    facts: dict[str, object] = {"image": lock.image, "pylock": lock.pylock, "engine": engine.address()}
    if lock.local:
        facts["local"] = local_facts(lock)
    if lock.conda:
        facts |= {"conda": lock.conda, "variables": lock.variables}
    return facts


def build(lock: Lock, dest: Path, log: Path) -> None:
    from projrun.environments.imagebuild import built

    made = built(lock, key_of(key(lock)), dest.parent, log)
    dest.mkdir()
    imagefacts.write(dest, made)


def unhealthy(dest: Path) -> str | None:
    built = imagefacts.read(dest)
    return None if engine.has(built.container.image) else f"the image {built.container.image} is gone"


def contents(dest: Path) -> tuple[Package, ...]:
    return imagefacts.read(dest).packages


def launch(dest: Path) -> Launch:
    built = imagefacts.read(dest)
    return Launch(container=built.container, variables=dict(built.variables))
