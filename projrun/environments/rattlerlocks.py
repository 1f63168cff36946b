"""Part of `rattlerprogram`: locks of others (pixi.lock, conda-lock.yml, @EXPLICIT) read as one of ours."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path
from typing import Any

from rattler import Channel, LockFile, RepoDataRecord
from rattler.explicit_environment import ExplicitEnvironmentSpec
from rattler.lock import CondaLockedBinaryPackage, PypiLockedPackage
from rattler.package_streaming import download_to_path

from projrun.environments.rattlersession import (
    Answer,
    RefusedError,
    Session,
    local_file,
    locked,
    parsed,
    sha256,
)


async def read_lock(session: Session) -> Answer:
    """`file` in the project as a lock of ours, for this platform, and its packages of PyPI."""
    path = Path(session.request["file"])
    if "@EXPLICIT" in path.read_text(errors="replace"):
        records = await _explicit(session, path)
        pypi: list[Answer] = []
    else:
        records, pypi = await records_of(session, path)
    for text in session.request["specs"]:
        spec = parsed(text)
        name = spec.name.normalized if spec.name else ""
        fitting = [record for record in records if record.name.normalized == name]
        if not name.startswith("__") and not any(spec.matches(record) for record in fitting):
            has = f"it has {name} {fitting[0].version}" if fitting else f"it has no {name}"
            raise RefusedError(f"the lock does not fit '{text}': {has}", "stale")
    return {**locked(session, channels_of(records), records), "pypi": pypi}


async def records_of(session: Session, path: Path) -> tuple[list[RepoDataRecord], list[Answer]]:
    lock = LockFile.from_path(path)
    environment = lock.default_environment()
    if environment is None:
        raise RefusedError("the lock has no environment 'default'")
    for platform in environment.platforms():  # a query takes the lock's own platform object, no other
        if str(platform.subdir) != session.platform:
            continue
        packages = environment.packages(platform) or []
        records = [
            await _whole(session, package.repo_data_record())
            for package in packages
            if isinstance(package, CondaLockedBinaryPackage)
        ]
        pypi = [_pypi(package) for package in packages if isinstance(package, PypiLockedPackage)]
        if len(records) + len(pypi) != len(packages):
            raise RefusedError("the lock names packages that are to be built from source")
        return records, pypi
    known = ", ".join(str(platform.subdir) for platform in environment.platforms())
    raise RefusedError(f"the lock is for {known}, and this machine is {session.platform}", "stale")


def channels_of(records: list[RepoDataRecord]) -> list[Channel]:
    return [Channel(url) for url in dict.fromkeys(record.url.rsplit("/", 2)[0] for record in records)]


def _pypi(package: PypiLockedPackage) -> Answer:
    hashes = package.hashes
    sha256 = hashes.sha256.hex() if hashes and hashes.sha256 else ""
    return {
        "name": package.name,
        "version": package.version,
        "location": package.location.partition("#sha256=")[0],
        "sha256": sha256 or package.location.partition("#sha256=")[2],
    }


async def _explicit(session: Session, path: Path) -> list[RepoDataRecord]:
    spec = ExplicitEnvironmentSpec.from_path(path)
    if spec.platform is not None and str(spec.platform) != session.platform:
        raise RefusedError(
            f"the lock is for {spec.platform}, and this machine is {session.platform}", "stale"
        )
    return [await _entry(session, entry.url) for entry in spec.packages]


async def _entry(session: Session, url: str) -> RepoDataRecord:
    """The record of one line: `URL`, `URL#MD5` or `URL#sha256:SHA256`."""
    url, _, digest = url.partition("#")
    digest = digest.removeprefix("sha256:")
    channel, subdir, file = url.rsplit("/", 2)
    if subdir not in session.platforms:
        raise RefusedError(f"{file} is for {subdir}, and this machine is {session.platform}", "stale")
    record = await _listed(session, channel, subdir, file) or await _downloaded(session, url)
    known = {value.hex() for value in (record.md5, record.sha256) if value}
    if digest and digest not in known:
        raise RefusedError(f"{file} is not the file that the lock names: its hash is another", "damaged")
    return record


async def _whole(session: Session, record: RepoDataRecord) -> RepoDataRecord:
    """A lock may name a package without its sha256."""
    if record.sha256 is not None:
        return record
    md5 = f"#{record.md5.hex()}" if record.md5 else ""
    return await _entry(session, record.url + md5)


async def _listed(session: Session, channel: str, subdir: Any, file: str) -> RepoDataRecord | None:
    name = file.rsplit("-", 2)[0]
    try:
        found = await session.gateway.query([Channel(channel)], [subdir], [name], recursive=False)
    except Exception:
        return None
    records = (record for part in found for record in part)
    return next((record for record in records if record.file_name == file and record.sha256), None)


async def _downloaded(session: Session, url: str) -> RepoDataRecord:
    """The record of a package that its channel no longer lists, from the package itself."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, url.rpartition("/")[2])
        if (here := local_file(url)) is not None:
            path = here
        else:
            await download_to_path(session.client, url, path)
        record = await RepoDataRecord.from_package_archive(path)
        record.sha256 = bytes.fromhex(sha256(path))
        record.md5 = hashlib.md5(path.read_bytes(), usedforsecurity=False).digest()
        record.url = url
        record.channel = url.rsplit("/", 2)[0]
        return record
