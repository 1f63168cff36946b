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
    image: str = ""
    """Of a container: the image's digest (`name@sha256:…`) where a registry has it, else its id."""


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
    environment: Environment | None = None
    """None when no environment came to be."""
    inputs: tuple[Input, ...] = ()
    platform: Platform
    outcome: Outcome


def to_json(record: Record) -> bytes:
    return msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n"
