"""The record: the plan, the environment as it was built, and the outcome. JSON, versioned."""

from __future__ import annotations

from typing import Literal

import msgspec

from projrun.console.masking import mask_value
from projrun.errors import RecordError
from projrun.plan import LocalRequirement, Plan
from projrun.processes.usage import Usage

RECORD_VERSION = 1
RECORD_ARTIFACT = "projrun/record.json"
ENVIRONMENT_LOG_ARTIFACT = "projrun/environment.log"
# The directory of outputs in the tree whose content is kept, so that they can be compared by value
KEPT_OUTPUTS = "projrun/outputs"
OUTPUT_ARTIFACT = "projrun/output.log"
SOURCE_ARTIFACT = "projrun/source.tar.gz"
OUTPUT_INDEX_ARTIFACT = "projrun/output.index"
# Names in a bundle, by which it is told from other zip files; `records.bundle_reader` has the whole layout
BUNDLE_TREE = "tree"
BUNDLE_RECORD = f"run/{RECORD_ARTIFACT}"


class Package(msgspec.Struct, frozen=True, omit_defaults=True):
    name: str
    version: str
    source: str = ""
    """The URL, with the commit if it is in Git, of a package that is not from an index; no credentials."""


class Environment(msgspec.Struct, frozen=True, kw_only=True):
    """The built environment as it was found before the process started."""

    manager: str
    key: str = ""
    """The name of the environment among all of its manager; empty for `local`."""
    python: str = ""
    """The exact version of the interpreter."""
    interpreter: str = ""
    """The absolute path of the interpreter that the environment was made from."""
    packages: tuple[Package, ...] = ()
    lock_sha256: str = ""
    local: tuple[LocalRequirement, ...] = ()
    """The packages that were installed from the project's tree; `place` is their path at that time."""
    image: str = ""
    """The digest (`name@sha256:…`) of the container's image if a registry has it, or else the image's id."""
    platform: str = ""
    """The platform, as uv names it, of an image that packages are installed in; empty otherwise."""


class Input(msgspec.Struct, frozen=True, kw_only=True):
    """The content that a path parameter named before the process started."""

    parameter: str
    value: str
    """The value as given, without credentials."""
    path: str
    """The absolute path; for a remote value, that of its download."""
    size: int
    """The size in bytes; for a directory, of all files in it."""
    sha256: str = ""
    """The digest of a file's content. For a directory, it is the digest of lines `SHA256 NAME`, one for each
    file in it, sorted by name (relative, with forward slashes, as UTF-8). Empty for a device and the like."""
    files: int | None = None
    """The number of files in a directory; None for a file."""


class Unkept(msgspec.Struct, frozen=True, kw_only=True):
    """A file of the source that was too large to keep."""

    path: str
    """The path below the top of the tree; bytes that are not UTF-8 are written as `\\xNN`."""
    size: int
    sha256: str


class SourceClosure(msgspec.Struct, frozen=True, kw_only=True):
    """The means to restore the tree as it was at the start: a commit, the difference from it, or both.

    The artifact is a tar.gz. `tree/…` has the files as they were on disk, with executable bits; `removed`
    lists files of the commit that the tree lacked, each ended by a zero byte; `status` is the output of git.
    """

    remote: str = ""
    """The URL that has the commit, without credentials; empty if the artifact holds the whole tree."""
    commit: str = ""
    """The full id of the commit that the artifact is unpacked over; empty if `remote` is."""
    artifact: str = ""
    """The name of the run's artifact; empty if the commit is the tree."""
    sha256: str = ""
    """The digest of the artifact."""
    files: int = 0
    """The number of files, links and empty directories in the artifact."""
    removed: int = 0
    unkept: tuple[Unkept, ...] = ()


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    status: Literal["FINISHED", "FAILED", "KILLED"]
    exit_code: int | None = None
    """The exit code of the process, or 128 + n if signal n ended it; None if it never started."""
    reason: str = ""
    """The reason why the status is not FINISHED, in one line; empty if it is."""
    start_time: int
    """The time in milliseconds since the epoch, as in MLflow."""
    end_time: int
    usage: Usage | None = None
    """The time and the memory that the process took; None if it never started."""


class Output(msgspec.Struct, frozen=True, kw_only=True):
    """A file that the run made: an artifact that it logged, or a file of its working tree."""

    path: str
    """The path relative to the run's artifacts or to the top of its tree, with forward slashes."""
    change: Literal["logged", "made", "changed", "deleted"]
    """`logged` for an artifact of the run; the others are for files of the working tree."""
    size: int = 0
    """The size in bytes."""
    sha256: str = ""
    """The digest of the content; empty for a link, in a killed run, and for an artifact on a server."""
    link: str = ""
    """The target of a symbolic link."""


class Platform(msgspec.Struct, frozen=True, kw_only=True):
    """The machine and the session that the run had."""

    system: str
    machine: str
    projrun: str
    """The version of projrun that wrote the record."""
    release: str = ""
    """The release of the kernel."""
    distribution: str = ""
    libc: str = ""
    cpu: str = ""
    """The model of the first processor."""
    simd: tuple[str, ...] = ()
    """The instruction sets of the processor by which numeric libraries choose their kernels, sorted."""
    cpus: int = 0
    """The number of processors that the run was allowed to use."""
    memory: int = 0
    """The memory of the machine in bytes."""
    gpus: tuple[str, ...] = ()
    """The models of the GPUs."""
    gpu_driver: str = ""
    timezone: str = ""
    umask: str = ""
    """The umask in octal."""
    variables: dict[str, str] = {}
    """The environment variables that are known to change results; no other variable's value is recorded."""


class Record(msgspec.Struct, frozen=True, kw_only=True):
    record_version: int = RECORD_VERSION
    run_id: str
    plan: Plan
    root: str = ""
    """The absolute path of the top of the tree that the command ran in."""
    caller: str = ""
    """The absolute path of the directory that relative values of path parameters started from."""
    closure: SourceClosure | None = None
    """None if the tree could not be recorded."""
    environment: Environment | None = None
    """None if the environment was not built."""
    inputs: tuple[Input, ...] = ()
    outputs: tuple[Output, ...] | None = None
    """The outputs sorted by path, artifacts first; None if the command never started."""
    metrics: dict[str, float | str] = {}
    """The last value of each metric; `NaN`, `Infinity` and `-Infinity`, which JSON lacks, are text."""
    platform: Platform
    outcome: Outcome


def from_json(text: bytes) -> Record:
    """Decode a record of this version or an older one. Raises RecordError."""
    try:
        version = msgspec.json.decode(text, type=_Versioned).record_version
        if version > RECORD_VERSION:
            raise RecordError(
                f"the record has version {version}, this projrun reads up to {RECORD_VERSION}",
                "install a newer projrun",
            )
        return msgspec.json.decode(text, type=Record)
    except msgspec.MsgspecError as error:
        raise RecordError(f"this is not the record of a run: {error}", "give a projrun/record.json") from None


class _Versioned(msgspec.Struct):
    record_version: int


def to_json(record: Record) -> bytes:
    return msgspec.json.format(msgspec.json.encode(mask_value(record)), indent=2) + b"\n"
