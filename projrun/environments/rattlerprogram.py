"""The program that uses rattler: `python -m projrun.environments.rattlerprogram REQUEST ANSWER`, JSON files.

It is a process of its own, so that no other one loads rattler, and so that it can end at once: a process that
has used rattler may crash while Python takes itself apart. Nothing imports this file.

REQUEST: `operation` (solve, read, install, describe), `channels`, `specs`, `platform`, `priority`, `offline`,
`cache`, `config` (TOML on top of rattler's own files), and what the operation says.
ANSWER: what the operation returns, or `error` with `kind` (unsolvable, stale, network, damaged, other).
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
import tempfile
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from rattler import MatchSpec, PackageCache, RepoDataRecord, VirtualPackage, install, solve
from rattler.channel import ChannelPriority
from rattler.exceptions import SolverError
from rattler.platform import Subdir
from rattler.virtual_package import Override, VirtualPackageOverrides

from projrun.environments.rattlerlocks import read_lock, records_of
from projrun.environments.rattlersession import (
    Answer,
    RefusedError,
    Request,
    Session,
    described,
    local_file,
    locked,
    parsed,
    sha256,
)

OTHERS = ("linux-64", "linux-aarch64", "osx-64", "osx-arm64", "win-64")
_SIGNS = {
    "network": re.compile(
        r"error sending request|tcp connect|dns error|timed out|connection (refused|reset)", re.IGNORECASE
    ),
    "damaged": re.compile(r"invalid checksum|hash mismatch", re.IGNORECASE),
}


# solve


async def solve_specs(session: Session) -> Answer:
    specs = [parsed(text) for text in session.request["specs"]]
    channels = session.channels()
    priority = getattr(ChannelPriority, session.request["priority"].capitalize())
    named = _bare(specs) if priority is ChannelPriority.Strict else []
    virtual = VirtualPackage.detect(_overrides(session))
    try:
        records = await solve(
            channels,
            [*specs, *named],
            gateway=session.gateway,
            platforms=session.platforms,
            locked_packages=await _kept(session),
            virtual_packages=virtual,
            channel_priority=priority,
            exclude_newer=_moment(session.request.get("as_of", "")),
        )
    except SolverError as error:
        raise RefusedError(await _explained(session, specs, str(error)), "unsolvable") from None
    return locked(session, channels, records)


def _overrides(session: Session) -> VirtualPackageOverrides:
    """What the user says this machine has; `glibc` is that of the image which is solved for."""
    overrides = VirtualPackageOverrides.from_env()
    if (glibc := session.request.get("glibc")) and "CONDA_OVERRIDE_GLIBC" not in os.environ:
        overrides.libc = Override.string(glibc)
    return overrides


async def _kept(session: Session) -> list[RepoDataRecord]:
    """The packages of `lock`, which stay where they fit, except those of `change`."""
    if not session.request.get("lock"):
        return []
    changing = set(session.request["change"])
    return [record for record in await _records(session) if record.name.normalized not in changing]


def _moment(text: str) -> datetime | None:
    """A date or RFC 3339 time; rattler takes the figures for UTC."""
    if not text:
        return None
    moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return moment if moment.tzinfo is None else moment.astimezone(timezone.utc)


def _bare(specs: list[MatchSpec]) -> list[MatchSpec]:
    """The names alone: without them the solver is not shown what a stricter channel has of other versions."""
    return [MatchSpec(spec.name.normalized) for spec in specs if spec.name and spec.channel is None]


async def _explained(session: Session, specs: list[MatchSpec], said: str) -> str:
    """What cannot be had on this platform and what it is there for; else the solver's own words."""
    missing = [spec for spec in specs if not await _there(session, session.platforms, spec)]
    if not missing:
        return said
    others = [platform for platform in OTHERS if platform != session.platform]
    text = f"for {session.platform} the channels have no {', '.join(map(str, missing))}"
    for other in others:
        found = [str(spec) for spec in missing if await _there(session, [other], spec)]
        if found:
            return f"{text} ({', '.join(found)} {'is' if len(found) == 1 else 'are'} there for {other})"
    return f"{text}; {said}"


async def _there(session: Session, platforms: list[Any], spec: MatchSpec) -> bool:
    name = spec.name.normalized if spec.name else ""
    if name.startswith("__"):
        return True
    try:
        found = await session.gateway.query(session.channels(), platforms, [spec], recursive=False)
    except Exception:
        return False  # a channel need not have every platform
    return any(spec.matches(record) for part in found for record in part)


# install


async def install_lock(session: Session) -> Answer:
    """The packages of `lock` at `prefix`; `link_scripts`: whether their scripts may run.

    `final`: where it is going to be, on another machine.
    """
    records = await _records(session)
    for record in records:
        here = local_file(record.url)
        if here is not None and record.sha256 is not None and sha256(here) != record.sha256.hex():
            raise RefusedError(f"{here} is not the file that was locked: its sha256 is another", "damaged")
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
    return {"packages": described(records), "link_scripts": scripts}


async def describe_lock(session: Session) -> Answer:
    return {"packages": described(await _records(session))}


async def _records(session: Session) -> list[RepoDataRecord]:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "conda.lock")
        path.write_text(session.request["lock"])
        return (await records_of(session, path))[0]


def _link_scripts(prefix: Path, name: str) -> bool:
    return any((prefix / "bin" / f".{name}-{when}-link.sh").exists() for when in ("pre", "post"))


async def _refuse_what_is_not_cached(session: Session, records: list[RepoDataRecord]) -> None:
    if session.packages is None:
        return
    index = await PackageCache(session.packages).index()
    away = [r.file_name for r in records if local_file(r.url) is None and not index.contains_record(r)]
    if away:
        raise RefusedError(f"not in the package cache: {', '.join(away)}", "network")


OPERATIONS = {"solve": solve_specs, "read": read_lock, "install": install_lock, "describe": describe_lock}


def answer(request: Request) -> Answer:
    try:
        return asyncio.run(OPERATIONS[request["operation"]](Session(request)))
    except RefusedError as error:
        return {"error": str(error), "kind": error.kind}
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # what panics in rattler is no Exception
        kind = next((kind for kind, sign in _SIGNS.items() if sign.search(str(error))), "other")
        return {"error": str(error) or type(error).__name__, "kind": kind}


if __name__ == "__main__":
    code = 1
    try:
        said = json.dumps(answer(json.loads(Path(sys.argv[1]).read_text())))
        Path(sys.argv[2]).write_text(said)
        code = 0
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
