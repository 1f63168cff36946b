"""The record: the plan, what the environment really was, and what happened. JSON, versioned."""

from __future__ import annotations

from typing import Literal

import msgspec

from projrun.plan import Plan

RECORD_VERSION = 1
RECORD_ARTIFACT = "projrun/record.json"
LOCK_ARTIFACT = "projrun/pylock.toml"
ENVIRONMENT_LOG_ARTIFACT = "projrun/environment.log"
OUTPUT_ARTIFACT = "projrun/output.log"
SOURCE_ARTIFACT = "projrun/source.tar.gz"


class Package(msgspec.Struct, frozen=True):
    name: str
    version: str


class Environment(msgspec.Struct, frozen=True, kw_only=True):
    """The built environment as it was found before the process started."""

    manager: str
    key: str = ""
    """Names the built environment among all that its manager built; empty for `local`."""
    python: str = ""
    """Exact version of the interpreter."""
    packages: tuple[Package, ...] = ()
    lock_sha256: str = ""


class Input(msgspec.Struct, frozen=True, kw_only=True):
    """What a parameter of type path held before the process started."""

    parameter: str
    value: str
    """As given, without credentials."""
    path: str
    """Absolute; of a remote value, where it was downloaded to."""
    size: int
    """Bytes; of a directory, of all files in it."""
    sha256: str = ""
    """Of a file's content. Of a directory: of lines `SHA256 NAME`, one for every file in it, sorted by name
    (relative, with forward slashes, as UTF-8). Empty for what has no content of its own, such as a device."""
    files: int | None = None
    """How many files a directory holds; None for a file."""


class Unkept(msgspec.Struct, frozen=True, kw_only=True):
    """A file of the source that was too large to keep."""

    path: str
    """Below the top of the tree; bytes that are not UTF-8 as `\\xNN`."""
    size: int
    sha256: str


class SourceClosure(msgspec.Struct, frozen=True, kw_only=True):
    """How to get the tree back, as it was when the run started: a commit, what differs from it, or both.

    The artifact is a tar.gz. `tree/…` are files as they were on disk, bytes and executable bit; `removed` are
    names that the commit has and the tree had not, each ended by a zero byte; `status` is what git said.
    """

    remote: str = ""
    """URL without credentials where the commit is; empty: the artifact alone holds the whole tree."""
    commit: str = ""
    """Full id of the commit that the artifact is to be laid over; empty with `remote`."""
    artifact: str = ""
    """The run's artifact; empty: the commit is the tree."""
    sha256: str = ""
    """Of the artifact."""
    files: int = 0
    """How many files, links and empty directories the artifact holds."""
    removed: int = 0
    unkept: tuple[Unkept, ...] = ()


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    status: Literal["FINISHED", "FAILED", "KILLED"]
    exit_code: int | None = None
    """The process's own exit code, 128 + n when signal n ended it; None when it never started."""
    reason: str = ""
    """Why it is not FINISHED, one line; empty when it is."""
    start_time: int
    """Milliseconds since the epoch, as MLflow has it."""
    end_time: int


class Platform(msgspec.Struct, frozen=True, kw_only=True):
    system: str
    machine: str
    projrun: str
    """Version of projrun that wrote the record."""


class Record(msgspec.Struct, frozen=True, kw_only=True):
    record_version: int = RECORD_VERSION
    run_id: str
    plan: Plan
    closure: SourceClosure | None = None
    """None when the tree could not be recorded."""
    environment: Environment | None = None
    """None when no environment came to be."""
    inputs: tuple[Input, ...] = ()
    platform: Platform
    outcome: Outcome


def to_json(record: Record) -> bytes:
    return msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n"
