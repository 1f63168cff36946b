"""The plan: everything that determines a run, before anything runs. Frozen, JSON, versioned.

Data flows downhill: source -> project -> environment -> backend -> record; these are the values handed down.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import msgspec


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """When two metrics or two outputs count as the same."""

    how: Literal["exact", "value", "ignore"] = "exact"
    """`exact`: the same number, the same bytes. `value`: numbers within the tolerances, all else equal."""
    rtol: float = 0.0
    """Relative to the older value."""
    atol: float = 0.0


class VerifyRules(msgspec.Struct, frozen=True, kw_only=True):
    """The MLproject's `verify:` section. The first pattern that matches a name counts; without one: exact."""

    metrics: dict[str, Rule] = {}
    outputs: dict[str, Rule] = {}


PLAN_VERSION = 1


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """The origin and the identity of a tree, without credentials."""

    kind: Literal["local", "git", "archive"]
    uri: str
    """What the user typed, without credentials."""
    repository: str = ""
    """URL of the Git remote, without credentials; empty when there is none."""
    version: str = ""
    """What the user asked for with -v; empty means the default branch or the tree as it lies."""
    commit: str = ""
    """Full commit id; empty outside Git or before the first commit."""
    branch: str = ""
    """The branch that was checked out or asked for; empty when detached or a tag or commit."""
    subdirectory: str = ""
    """The project's directory below the root of the tree, with forward slashes; empty for the root."""
    dirty: bool | None = False
    """The tree differs from the commit: changed, staged or untracked (unignored) files.

    None where that is not known without starting a program, as it may be when nothing is run.
    """
    sha256: str = ""
    """Of the archive that was unpacked; empty for what is none."""


class Worktree(msgspec.Struct, frozen=True, kw_only=True):
    """The state of the user's working tree, from one git process. Names may hold surrogates."""

    commit: str = ""
    """Empty before the first commit."""
    branch: str = ""
    """Empty when detached."""
    changes: tuple[str, ...] = ()
    """The entries of `git status --porcelain=v2 -z --untracked-files=all --no-renames`."""
    settings: dict[str, str] = {}
    """URLs of remotes, and what makes git convert files, by lower-case key (a remote's name as written)."""


class Checkout(msgspec.Struct, frozen=True, kw_only=True):
    """The tree on disk that one fetch yields."""

    source: Source
    root: Path
    """Top of the tree."""
    directory: Path
    """The project's directory: root, or the subdirectory in it."""
    temporary: bool = False
    """It belongs to this run and goes when the run ends."""
    notices: tuple[str, ...] = ()
    """What the user must be told about this fetch, one line each."""
    worktree: Worktree | None = None
    """Of a tree of the user's that is used in place and that git knows."""
    repository: Path | None = None
    """Top of the user's working tree that a version was checked out from; None for all else."""


class Descriptor(msgspec.Struct, frozen=True, kw_only=True):
    """The author's description of the environment."""

    kind: Literal[
        "python_env", "conda_env", "docker_env", "script", "pyproject", "requirements", "pylock", "none"
    ]
    """What it is written in; `script`: in the entry point's own file (PEP 723)."""
    file: str = ""
    """The descriptor file relative to the project's directory; empty if there is none."""
    python: str = ""
    """The Python asked for: `3.11`, `3.11.7`, or a PEP 440 set such as `>=3.10`; empty: not said."""
    build_dependencies: tuple[str, ...] = ()
    dependencies: tuple[str, ...] = ()
    """Requirement lines for pip, `-r` files already read into them."""
    constraints: tuple[str, ...] = ()
    """Requirement lines of the `-c` files."""
    conda_dependencies: tuple[str, ...] = ()
    """Conda match specs other than python and pip."""
    conda_specs: tuple[str, ...] = ()
    """All conda match specs as written, python and pip among them."""
    channels: tuple[str, ...] = ()
    """As written; literal credentials are left out, variables such as `${TOKEN}` are not expanded."""
    variables: dict[str, str] = {}
    """To be set in the environment: `variables` of a conda file."""
    conda_lock_file: str = ""
    """A conda lock in the project that takes the place of solving, relative to its directory; or empty."""
    conda_lock_sha256: str = ""
    docker: dict[str, Any] = {}
    """The docker_env section as written."""
    lock_file: str = ""
    """The lock in the project that wins over resolving, relative to its directory: pylock.toml or uv.lock."""
    passed_over: tuple[str, ...] = ()
    """Files that describe an environment too and do not count, in the order of precedence."""


class LocalRequirement(msgspec.Struct, frozen=True, kw_only=True):
    """A requirement that lies on this machine: a source tree or a wheel."""

    name: str
    path: str
    """Relative to the project's directory, or absolute when the author wrote it so."""
    editable: bool = False
    """The environment refers to the tree in place."""
    place: str = ""
    """Absolute path; known when the lock is about to be used, never kept on the shelf."""
    sha256: str = ""
    """Of what is installed: the wheel or the tree's files; of an editable one, of its metadata files."""


class Resolving(msgspec.Struct, frozen=True, kw_only=True):
    """The options for resolving a descriptor to a lock."""

    locked: bool = False
    """Take a lock that is there, or fail."""
    upgrade: bool = False
    """Resolve though there is a lock on the shelf, and keep the new one."""
    as_of: str = ""
    """Date or RFC 3339 time: as the index stood then."""
    strict_python: bool = False
    """Where the descriptor names an exact patch, take no other."""


class Access:
    """Credentials that installing needs and nothing may store: no Struct, so that JSON refuses it."""

    __slots__ = ("directory", "options", "urls", "variables")

    def __init__(
        self,
        *,
        options: tuple[str, ...] = (),
        urls: tuple[str, ...] = (),
        variables: tuple[str, ...] = (),
        directory: Path,
    ) -> None:
        self.options = options
        """Lines such as `--index-url URL` of the project's requirements, credentials in them."""
        self.urls = urls
        """Every URL in them that holds credentials."""
        self.variables = variables
        """Names of the environment variables that their URLs name as `${NAME}`."""
        self.directory = directory
        """The project's, which paths in the lock are relative to."""

    def __repr__(self) -> str:
        return "Access(…)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Access) and self._facts() == other._facts()

    def __hash__(self) -> int:
        return hash(self._facts())

    def _facts(self) -> tuple[object, ...]:
        return self.directory, self.options, self.urls, self.variables


PYLOCK_ARTIFACT = "projrun/pylock.toml"
CONDA_LOCK_ARTIFACT = "projrun/pixi.lock"
"""Conda packages in rattler's lock format, under the name by which other programs know it."""


class Lock(msgspec.Struct, frozen=True, kw_only=True):
    """A descriptor resolved to exact artifacts, in one shape for every environment manager."""

    manager: str
    files: dict[str, str]
    """Texts of lock formats by the name of the artifact that a run keeps them in. Required, so that a lock
    stored in the shape before, which has none, is not mistaken for this one."""
    facts: dict[str, Any] = {}
    """All else that the manager itself needs to build the environment; JSON values."""
    python: str = ""
    """Exact version of the interpreter, such as `3.11.7`; empty when there is none."""
    interpreter: str = ""
    """Absolute path of the interpreter to build from; empty when Python is itself a package."""
    local: tuple[LocalRequirement, ...] = ()
    """Installed after the others, without dependencies: those are among the others."""
    notices: tuple[str, ...] = ()
    """What the user must be told about this resolution, one line each."""
    packages: str = ""
    """Directory of wheels and sdists to take before any index is asked; their hashes still count."""
    access: Access | None = None
    """In memory only, from when the environment is about to be built."""

    @property
    def pylock(self) -> str:
        """PEP 751 text with hashes; empty when nothing is to be installed from an index or by URL."""
        return self.files.get(PYLOCK_ARTIFACT, "")

    @property
    def conda(self) -> str:
        """The conda packages, for one platform; empty when there are none."""
        return self.files.get(CONDA_LOCK_ARTIFACT, "")


class Container(msgspec.Struct, frozen=True, kw_only=True):
    """An image and the engine that has it: all that starting a container of it takes."""

    image: str
    """The image's id, which never means another image."""
    name: str = ""
    """How people call the image."""
    shell: str = "bash"
    """The shell that the image has: bash, or sh."""
    rootless: bool = False
    """The engine belongs to the caller: root inside a container is the caller outside."""
    remapped: bool = False
    """The engine gives containers users of their own, unless told otherwise."""
    gateway: str = ""
    """Address of this machine on the engine's default network; empty: it has none there."""
    holds_project: bool = False
    """The project's tree was copied into the image."""


class Launch(msgspec.Struct, frozen=True, kw_only=True):
    """The data for starting a process inside an environment."""

    variables: dict[str, str | None] = {}
    """Set on top of the caller's variables; None removes one."""
    path_entries: tuple[str, ...] = ()
    """Directories to put in front of PATH."""
    argv_prefix: tuple[str, ...] = ()
    container: Container | None = None
    """Start it in a container; None: on this machine."""


class PlannedInput(msgspec.Struct, frozen=True, kw_only=True):
    """A file or directory that a parameter of type path names."""

    parameter: str
    value: str
    """As given, without credentials."""
    path: str
    """Absolute; of a remote value, where it is downloaded to."""
    remote: bool = False


class PlannedEnvironment(msgspec.Struct, frozen=True, kw_only=True):
    manager: str
    """Name of the environment manager: local, uv, …"""
    descriptor: Descriptor
    resolving: Resolving = Resolving()


class PlannedContainer(msgspec.Struct, frozen=True, kw_only=True):
    """The container's options from the author and the user, without its image."""

    arguments: tuple[str, ...] = ()
    """Arguments for `docker run`. Holds no values of environment variables."""
    volumes: tuple[str, ...] = ()
    """`SOURCE:TARGET[:OPTIONS]`, expanded; SOURCE is absolute or the name of a volume."""
    variables: dict[str, str] = {}
    """Environment variables that the project sets."""
    copied: tuple[str, ...] = ()
    """Names of environment variables whose values the caller's environment or command line has."""
    read_only_source: bool = False
    build_image: bool = False
    """The project's tree is copied into an image of its own."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that determines a run."""

    plan_version: int = PLAN_VERSION
    source: Source
    project: str
    """The project's name; the directory's name when the author gives none."""
    entry_point: str
    command: str
    """The text that `bash -c` gets, every value in it quoted."""
    parameters: dict[str, str] = {}
    """Every parameter's value as text: declared ones with defaults resolved, then undeclared ones."""
    inputs: tuple[PlannedInput, ...] = ()
    environment: PlannedEnvironment
    container: PlannedContainer | None = None
    """None: the run needs no container."""
    backend: str = "local"
    backend_config: dict[str, Any] = {}
    programs: dict[str, str] = {}
    """Programs that must be there and that an environment may lack, and how to get them."""
    artifact_files: dict[str, str] = {}
    """Artifacts that the command writes, by the environment variable that names it the file."""
    variables: dict[str, str | None] = {}
    """Environment variables that the caller gave for this run. Their values are masked: the real ones travel
    in the launch, which no record holds."""
    verify: VerifyRules = VerifyRules()
    """What the author allows to differ when the run is verified."""
