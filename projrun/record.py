"""The record: the plan, what the environment really was, and what happened. JSON, versioned."""

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
KEPT_OUTPUTS = "projrun/outputs"
"""Directory of the files of the tree whose content is kept, to be compared by value."""
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
    """URL, with the commit of one in Git, of what did not come from an index; without credentials."""


class Environment(msgspec.Struct, frozen=True, kw_only=True):
    """The built environment as it was found before the process started."""

    manager: str
    key: str = ""
    """Names the built environment among all that its manager built; empty for `local`."""
    python: str = ""
    """Exact version of the interpreter."""
    interpreter: str = ""
    """Absolute path of the interpreter that it was made from: one below uv's directory is uv's."""
    packages: tuple[Package, ...] = ()
    lock_sha256: str = ""
    local: tuple[LocalRequirement, ...] = ()
    """What was installed from the project's own tree; `place` is where that was then."""
    image: str = ""
    """Of a container: the image's digest (`name@sha256:…`) where a registry has it, else its id."""
    platform: str = ""
    """Of an image that packages are installed in, as uv names platforms; empty otherwise."""


class Input(msgspec.Struct, frozen=True, kw_only=True):
    """The content that a path parameter named before the process started."""

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
    """The means to restore the tree as it was at the start: a commit, the difference from it, or both.

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
    usage: Usage | None = None
    """What the process took; None when it never started."""


class Output(msgspec.Struct, frozen=True, kw_only=True):
    """A file that the run made: an artifact that it logged, or a file of its working tree."""

    path: str
    """Relative to the run's artifacts or to the top of its tree, with forward slashes."""
    change: Literal["logged", "made", "changed", "deleted"]
    """`logged`: it is an artifact of the run. The others are said of a file in the working tree."""
    size: int = 0
    """Bytes."""
    sha256: str = ""
    """Of the content; empty for a link, and where it was not taken: in a killed run, on a server."""
    link: str = ""
    """Where a symbolic link points to."""


class Platform(msgspec.Struct, frozen=True, kw_only=True):
    """The machine and the session that the run had."""

    system: str
    machine: str
    projrun: str
    """Version of projrun that wrote the record."""
    release: str = ""
    """Of the kernel."""
    distribution: str = ""
    libc: str = ""
    cpu: str = ""
    """Model of the first processor."""
    simd: tuple[str, ...] = ()
    """Its instruction sets that numeric libraries choose their kernels by, sorted."""
    cpus: int = 0
    """How many processors the run might use."""
    memory: int = 0
    """Bytes of the machine."""
    gpus: tuple[str, ...] = ()
    """Models."""
    gpu_driver: str = ""
    timezone: str = ""
    umask: str = ""
    """Octal."""
    variables: dict[str, str] = {}
    """The environment variables that are known to change results; no other variable's value is recorded."""


class Record(msgspec.Struct, frozen=True, kw_only=True):
    record_version: int = RECORD_VERSION
    run_id: str
    plan: Plan
    root: str = ""
    """Absolute path of the top of the tree that the command ran in."""
    caller: str = ""
    """Absolute path of the directory that relative values of path parameters started from."""
    closure: SourceClosure | None = None
    """None when the tree could not be recorded."""
    environment: Environment | None = None
    """None when no environment came to be."""
    inputs: tuple[Input, ...] = ()
    outputs: tuple[Output, ...] | None = None
    """Sorted by path, artifacts first. None when they were not looked for, because the run never started."""
    metrics: dict[str, float | str] = {}
    """The last value of each; `NaN`, `Infinity` and `-Infinity` as text, which JSON lacks."""
    platform: Platform
    outcome: Outcome


def from_json(text: bytes) -> Record:
    """A record of this version or an older one. Raises ProjrunError."""
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
