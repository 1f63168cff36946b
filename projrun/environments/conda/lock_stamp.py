"""The stamp in a pixi.lock of `projrun lock`: digests of its descriptor and of its pip section's lock.

It is a comment at the head of the file, so other programs read the lock as theirs, and neither of the two
locks is used without the other. A lock without a stamp is another program's, which knows if it is stale.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import msgspec

from projrun.console import warn
from projrun.disk.file_operations import cache_key, sha256_text
from projrun.documents import toml_file
from projrun.environments import LockRequest, ProjectLock
from projrun.environments.uv.resolution import with_local
from projrun.errors import BuildError, UsageError
from projrun.plan import Descriptor, Lock

PIXI_LOCK = "pixi.lock"
# The pip section's lock. Managers other than conda would take a pylock.toml for the whole environment.
PIP_LOCK = "pylock.conda.toml"
_STAMP = re.compile(r"# projrun: descriptor ([0-9a-f]+), pip ([0-9a-f]+|none)\n")
NO_PIP = "none"


class Stamp(msgspec.Struct, frozen=True):
    descriptor: str  # digest of the descriptor's conda and pip packages
    pip: str  # SHA-256 of the file PIP_LOCK beside it, or NO_PIP


def digest_descriptor(descriptor: Descriptor) -> str:
    """Return the digest of those parts of the descriptor that a conda lock depends on."""
    pip = [descriptor.build_dependencies, descriptor.dependencies, descriptor.constraints]
    return cache_key({"conda": [descriptor.conda_specs, descriptor.channels], "pip": pip})


def add_stamp(lock: str, descriptor: Descriptor, pip_lock: str) -> str:
    pip = sha256_text(pip_lock) if pip_lock else NO_PIP
    return f"# projrun: descriptor {digest_descriptor(descriptor)}, pip {pip}\n{lock}"


def explain_staleness(descriptor: Descriptor, directory: Path) -> str:
    """Return the reason why the project's conda lock is stale; empty if it is not, or has no stamp."""
    stamp = _read_stamp(descriptor, directory)
    if stamp is None:
        return ""
    if stamp.descriptor != digest_descriptor(descriptor):
        return f"{descriptor.conda_lock_file} is older than {descriptor.file}"
    pip = _read_pip_text(descriptor, directory)
    if stamp.pip not in (NO_PIP, sha256_text(pip)):
        state = "not the one that it was written with" if pip else "gone"
        return f"{PIP_LOCK}, which belongs to {descriptor.conda_lock_file}, is {state}"
    return ""


def read_pip_lock(descriptor: Descriptor, directory: Path) -> dict[str, Any] | None:
    """Return the pip section's lock that the stamp names. Raises BuildError when it is lost or changed."""
    stamp = _read_stamp(descriptor, directory)
    if stamp is None or stamp.pip == NO_PIP:
        return None
    if sha256_text(_read_pip_text(descriptor, directory)) != stamp.pip:
        raise BuildError(
            explain_staleness(descriptor, directory), "put it back, or write both anew: projrun lock"
        )
    return toml_file.load(_pip_lock_path(descriptor, directory), PIP_LOCK)


def _read_stamp(descriptor: Descriptor, directory: Path) -> Stamp | None:
    if os.path.basename(descriptor.conda_lock_file) != PIXI_LOCK:
        return None
    with (directory / descriptor.conda_lock_file).open(errors="replace") as file:
        match = _STAMP.match(file.readline(500))
    return Stamp(match[1], match[2]) if match else None


def _read_pip_text(descriptor: Descriptor, directory: Path) -> str:
    try:
        return _pip_lock_path(descriptor, directory).read_text()
    except OSError:
        return ""


def _pip_lock_path(descriptor: Descriptor, directory: Path) -> Path:
    return (directory / descriptor.conda_lock_file).with_name(PIP_LOCK)


def former_texts(request: LockRequest) -> tuple[str, str]:
    """Return the two files that `projrun lock` is to write anew, as they are; empty where there is none."""
    name = request.descriptor.conda_lock_file
    if name and (os.path.basename(name) != PIXI_LOCK or request.descriptor.file.endswith(".toml")):
        raise UsageError(f"{name} is the lock of another program", "update it with that program")
    base = request.directory / os.path.dirname(request.descriptor.file)
    pixi, pip = (path.read_text() if path.is_file() else "" for path in (base / PIXI_LOCK, base / PIP_LOCK))
    return pixi, pip


def project_lock(request: LockRequest, lock: Lock) -> ProjectLock:
    """Return the two files that `projrun lock` writes for `lock`."""
    for notice in lock.notices:
        warn(notice)
    base = os.path.dirname(request.descriptor.file)
    pylock = _with_local(lock)
    count = lock.conda.count("\n- conda: ")
    pip = f", and {PIP_LOCK} what pip installs" if pylock else ""
    return ProjectLock(
        # The pip section's comes first: a pixi.lock that names one which is not there is refused.
        files={
            os.path.join(base, PIP_LOCK): pylock,
            os.path.join(base, PIXI_LOCK): add_stamp(lock.conda, request.descriptor, pylock),
        },
        summary=f"{PIXI_LOCK} locks {count} packages of {request.descriptor.file}{pip}, for this platform",
    )


def _with_local(lock: Lock) -> str:
    """Return the lock of the pip section with the requirements that lie in the project."""
    if not lock.local:
        return lock.pylock
    empty = {"lock-version": "1.0", "created-by": "projrun"}
    document: dict[str, Any] = toml_file.parse(lock.pylock, PIP_LOCK) if lock.pylock else empty
    return toml_file.dump(with_local(document, lock.local))


def unfit_conda_lock(request: LockRequest) -> str:
    """Return why the conda lock is not that of its descriptor; empty when it is."""
    if not request.descriptor.conda_lock_file:
        return f"there is no {PIXI_LOCK}"
    return explain_staleness(request.descriptor, request.directory)
