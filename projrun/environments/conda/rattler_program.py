"""The program that uses rattler: `python -m projrun.environments.conda.rattler_program REQUEST ANSWER`."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
import sys
import tempfile
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from rattler import (
    Channel,
    Client,
    Gateway,
    LockFile,
    LockPlatform,
    MatchSpec,
    PackageCache,
    RepoDataRecord,
    SourceConfig,
    VirtualPackage,
    install,
    solve,
)
from rattler.channel import ChannelPriority
from rattler.config import Config
from rattler.exceptions import SolverError
from rattler.explicit_environment import ExplicitEnvironmentSpec
from rattler.lock import CondaLockedBinaryPackage, PypiLockedPackage
from rattler.package_streaming import download_to_path
from rattler.platform import Subdir
from rattler.virtual_package import Override, VirtualPackageOverrides

from projrun.disk.file_operations import sha256_file

Request = dict[str, Any]
Answer = dict[str, Any]

# Program whose configuration files are read besides rattler's own: mirrors and proxies are set there
CONFIG_OF = "pixi"


class RefusedError(Exception):
    def __init__(self, message: str, kind: str = "other") -> None:
        super().__init__(message)
        self.kind = kind


class Session:
    """The settings and clients of rattler that every operation needs."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.platform = request.get("platform") or str(Subdir.current())
        self.offline = bool(request.get("offline"))
        self.config = Config.load_from_default_locations(CONFIG_OF).merge(
            Config.from_toml(request.get("config", ""))
        )
        self.client = Client.from_config(self.config, max_retries=0 if self.offline else 2)
        repodata = self.config.repodata_config
        source = SourceConfig(
            zstd_enabled=not repodata.get("disable-zstd"),
            bz2_enabled=not repodata.get("disable-bzip2"),
            sharded_enabled=not repodata.get("disable-sharded"),
            cache_action="force-cache-only" if self.offline else "cache-or-fetch",
        )
        cache = request.get("cache") or ""
        self.repodata = Path(cache, "repodata") if cache else None
        self.packages = Path(cache, "pkgs") if cache else None
        self.gateway = Gateway(cache_dir=self.repodata, default_config=source, client=self.client)

    @property
    def platforms(self) -> list[Any]:
        return [self.platform, "noarch"]

    def channels(self) -> list[Channel]:
        return [Channel(name) for name in self.names()]

    def names(self) -> list[str]:
        return self.request["channels"] or self.config.default_channels or ["conda-forge"]


def parse_spec(text: str) -> MatchSpec:
    try:
        return MatchSpec(text)
    except Exception as error:
        raise RefusedError(f"'{text}' is not a conda package: {error}", "unsolvable") from None


def make_lock(session: Session, channels: list[Channel], records: list[RepoDataRecord]) -> Answer:
    platform = LockPlatform(session.platform)
    lock = LockFile([platform])
    lock.set_channels("default", [channel.to_lock_channel() for channel in channels])
    for record in records:
        if record.sha256 is None:
            raise RefusedError(f"the channel gives no sha256 for {record.file_name}", "damaged")
        lock.add_conda_package("default", platform, record)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "lock")
        lock.to_path(path)
        return {"lock": path.read_text(), "packages": describe(records)}


def describe(records: list[RepoDataRecord]) -> list[Answer]:
    """Describe records as `rattler.CondaPackage`; `python` marks libraries of Python."""
    return [
        {
            "name": record.name.normalized,
            "version": str(record.version),
            "url": record.url,
            "sha256": record.sha256.hex() if record.sha256 else "",
            "python": any(re.match(r"python(_abi)?\b", line) for line in record.depends),
        }
        for record in sorted(records, key=lambda record: record.name.normalized)
    ]


def local_file(url: str) -> Path | None:
    parts = urlparse(url)
    return Path(unquote(parts.path)) if parts.scheme == "file" else None


def sha256(path: Path) -> str:
    try:
        return sha256_file(path)
    except OSError as error:
        raise RefusedError(f"{path} cannot be read: {error.strerror}") from None


async def read_lock(session: Session) -> Answer:
    """Convert `file` of the project to our lock for this platform, and list its packages of PyPI."""
    path = Path(session.request["file"])
    if "@EXPLICIT" in path.read_text(errors="replace"):
        records = await _read_explicit(session, path)
        pypi: list[Answer] = []
    else:
        records, pypi = await read_records(session, path)
    for text in session.request["specs"]:
        spec = parse_spec(text)
        name = spec.name.normalized if spec.name else ""
        fitting = [record for record in records if record.name.normalized == name]
        if not name.startswith("__") and not any(spec.matches(record) for record in fitting):
            has = f"it has {name} {fitting[0].version}" if fitting else f"it has no {name}"
            raise RefusedError(f"the lock does not fit '{text}': {has}", "stale")
    return {**make_lock(session, channels_of(records), records), "pypi": pypi}


async def read_records(session: Session, path: Path) -> tuple[list[RepoDataRecord], list[Answer]]:
    lock = LockFile.from_path(path)
    environment = lock.default_environment()
    if environment is None:
        raise RefusedError("the lock has no environment 'default'")
    for platform in environment.platforms():  # `packages` accepts only the lock's own platform object
        if str(platform.subdir) != session.platform:
            continue
        packages = environment.packages(platform) or []
        records = [
            await _with_sha256(session, package.repo_data_record())
            for package in packages
            if isinstance(package, CondaLockedBinaryPackage)
        ]
        pypi = [_describe_pypi(package) for package in packages if isinstance(package, PypiLockedPackage)]
        if len(records) + len(pypi) != len(packages):
            raise RefusedError("the lock names packages that are to be built from source")
        return records, pypi
    known = ", ".join(str(platform.subdir) for platform in environment.platforms())
    raise RefusedError(f"the lock is for {known}, and this machine is {session.platform}", "stale")


def channels_of(records: list[RepoDataRecord]) -> list[Channel]:
    return [Channel(url) for url in dict.fromkeys(record.url.rsplit("/", 2)[0] for record in records)]


def _describe_pypi(package: PypiLockedPackage) -> Answer:
    try:
        hashes = package.hashes
        sha256 = hashes.sha256.hex() if hashes and hashes.sha256 else ""
    except AttributeError:  # py-rattler 0.28 raises it for a package without hashes, such as a directory
        sha256 = ""
    return {
        "name": package.name,
        "version": package.version,
        "location": package.location.partition("#sha256=")[0],
        "sha256": sha256 or package.location.partition("#sha256=")[2],
    }


async def _read_explicit(session: Session, path: Path) -> list[RepoDataRecord]:
    spec = ExplicitEnvironmentSpec.from_path(path)
    if spec.platform is not None and str(spec.platform) != session.platform:
        raise RefusedError(
            f"the lock is for {spec.platform}, and this machine is {session.platform}", "stale"
        )
    return [await _find_record(session, entry.url) for entry in spec.packages]


async def _find_record(session: Session, url: str) -> RepoDataRecord:
    """Return the record of a line `URL`, `URL#MD5` or `URL#sha256:SHA256`."""
    url, _, digest = url.partition("#")
    digest = digest.removeprefix("sha256:")
    channel, subdir, file = url.rsplit("/", 2)
    if subdir not in session.platforms:
        raise RefusedError(f"{file} is for {subdir}, and this machine is {session.platform}", "stale")
    record = await _find_in_channel(session, channel, subdir, file) or await _read_package(session, url)
    known = {value.hex() for value in (record.md5, record.sha256) if value}
    if digest and digest not in known:
        raise RefusedError(f"{file} is not the file that the lock names: its hash is another", "damaged")
    return record


async def _with_sha256(session: Session, record: RepoDataRecord) -> RepoDataRecord:
    """Return the record with its SHA-256, which a lock may lack."""
    if record.sha256 is not None:
        return record
    md5 = f"#{record.md5.hex()}" if record.md5 else ""
    return await _find_record(session, record.url + md5)


async def _find_in_channel(session: Session, channel: str, subdir: Any, file: str) -> RepoDataRecord | None:
    name = file.rsplit("-", 2)[0]
    try:
        parts = await session.gateway.query([Channel(channel)], [subdir], [name], recursive=False)
    except Exception:
        return None
    records = (record for part in parts for record in part)
    return next((record for record in records if record.file_name == file and record.sha256), None)


async def _read_package(session: Session, url: str) -> RepoDataRecord:
    """Read the record of a package that its channel no longer lists from the package itself."""
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


COMMON_PLATFORMS = ("linux-64", "linux-aarch64", "osx-64", "osx-arm64", "win-64")
_ERROR_PATTERNS = {
    "network": re.compile(
        r"error sending request|tcp connect|dns error|timed out|connection (refused|reset)", re.IGNORECASE
    ),
    "damaged": re.compile(r"invalid checksum|hash mismatch", re.IGNORECASE),
}


async def solve_specs(session: Session) -> Answer:
    specs = [parse_spec(text) for text in session.request["specs"]]
    channels = session.channels()
    priority = getattr(ChannelPriority, session.request["priority"].capitalize())
    # Under strict priority the solver is shown the other versions of a stricter channel only by bare names.
    named = [MatchSpec(spec.name.normalized) for spec in specs if spec.name and spec.channel is None]
    if priority is not ChannelPriority.Strict:
        named = []
    virtual = VirtualPackage.detect(_overrides(session))
    try:
        records = await solve(
            channels,
            [*specs, *named],
            gateway=session.gateway,
            platforms=session.platforms,
            locked_packages=await _read_kept(session),
            virtual_packages=virtual,
            channel_priority=priority,
            exclude_newer=_parse_time(session.request.get("as_of", "")),
        )
    except SolverError as error:
        raise RefusedError(await _explain(session, specs, str(error)), "unsolvable") from None
    return make_lock(session, channels, records)


def _overrides(session: Session) -> VirtualPackageOverrides:
    """Return the user's CONDA_OVERRIDE_ variables, and the glibc of the image that is solved for."""
    overrides = VirtualPackageOverrides.from_env()
    if (glibc := session.request.get("glibc")) and "CONDA_OVERRIDE_GLIBC" not in os.environ:
        overrides.libc = Override.string(glibc)
    return overrides


async def _read_kept(session: Session) -> list[RepoDataRecord]:
    """Return the packages of `lock` that stay if they fit: all but those of `change`."""
    if not session.request.get("lock"):
        return []
    changing = set(session.request["change"])
    return [record for record in await _read_lock_records(session) if record.name.normalized not in changing]


def _parse_time(text: str) -> datetime | None:
    """Parse a date or RFC 3339 time; rattler ignores its time zone and takes it as UTC."""
    if not text:
        return None
    moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return moment if moment.tzinfo is None else moment.astimezone(timezone.utc)


async def _explain(session: Session, specs: list[MatchSpec], problem: str) -> str:
    """Name specs that no channel has for this platform, and a platform that has them; else `problem`."""
    missing = [spec for spec in specs if not await _is_available(session, session.platforms, spec)]
    if not missing:
        return problem
    others = [platform for platform in COMMON_PLATFORMS if platform != session.platform]
    text = f"for {session.platform} the channels have no {', '.join(map(str, missing))}"
    for other in others:
        if names := [str(spec) for spec in missing if await _is_available(session, [other], spec)]:
            return f"{text} ({', '.join(names)} {'is' if len(names) == 1 else 'are'} there for {other})"
    return f"{text}; {problem}"


async def _is_available(session: Session, platforms: list[Any], spec: MatchSpec) -> bool:
    name = spec.name.normalized if spec.name else ""
    if name.startswith("__"):
        return True
    try:
        parts = await session.gateway.query(session.channels(), platforms, [spec], recursive=False)
    except Exception:
        return False  # a channel need not have every platform
    return any(spec.matches(record) for part in parts for record in part)


async def install_lock(session: Session) -> Answer:
    """Install the packages of `lock` at `prefix`.

    Of the request, `link_scripts` lets their scripts run, and `final` is the prefix to write into files.
    """
    records = await _read_lock_records(session)
    for record in records:
        path = local_file(record.url)  # rattler does not check the digest of a local file
        if path is not None and record.sha256 is not None and sha256(path) != record.sha256.hex():
            raise RefusedError(f"{path} is not the file that was locked: its sha256 is another", "damaged")
    if session.offline:
        await _refuse_what_is_not_cached(session, records)
    allowed = bool(session.request.get("link_scripts"))
    prefix = Path(session.request["prefix"])
    await install(
        records,
        prefix,
        cache_dir=session.packages,
        client=session.client,
        config=session.config,
        show_progress=sys.stderr.isatty(),
        execute_link_scripts=allowed,
        alternative_target_prefix=session.request.get("final"),
        platform=Subdir(session.platform),
    )
    names = {record.name.normalized for record in records}
    scripts = [] if allowed else [name for name in sorted(names) if _link_scripts(prefix, name)]
    return {"packages": describe(records), "link_scripts": scripts}


async def describe_lock(session: Session) -> Answer:
    return {"packages": describe(await _read_lock_records(session))}


async def _read_lock_records(session: Session) -> list[RepoDataRecord]:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "conda.lock")
        path.write_text(session.request["lock"])
        return (await read_records(session, path))[0]


def _link_scripts(prefix: Path, name: str) -> bool:
    return any((prefix / "bin" / f".{name}-{when}-link.sh").exists() for when in ("pre", "post"))


async def _refuse_what_is_not_cached(session: Session, records: list[RepoDataRecord]) -> None:
    if session.packages is None:
        return
    index = await PackageCache(session.packages).index()
    missing = [r.file_name for r in records if local_file(r.url) is None and not index.contains_record(r)]
    if missing:
        raise RefusedError(f"not in the package cache: {', '.join(missing)}", "network")


OPERATIONS = {"solve": solve_specs, "read": read_lock, "install": install_lock, "describe": describe_lock}


def answer(request: Request) -> Answer:
    try:
        return asyncio.run(OPERATIONS[request["operation"]](Session(request)))
    except RefusedError as error:
        return {"error": str(error), "kind": error.kind}
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a panic of rattler's Rust code is not an Exception
        kinds = (kind for kind, pattern in _ERROR_PATTERNS.items() if pattern.search(str(error)))
        kind = next(kinds, "other")
        return {"error": str(error) or type(error).__name__, "kind": kind}


if __name__ == "__main__":
    code = 1
    try:
        text = json.dumps(answer(json.loads(Path(sys.argv[1]).read_text())))
        Path(sys.argv[2]).write_text(text)
        code = 0
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)  # rattler's threads can crash Python while it shuts down
