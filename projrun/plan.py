"""The plan: everything that determines a run, before anything runs. Frozen, JSON, versioned.

Each step of a run hands the next one a value of a type in this module or in `record`. Docstrings of members
become descriptions in the JSON Schema of the record (`schemas`); types that no record holds have comments.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import msgspec


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """The condition under which two metrics or two outputs count as the same."""

    how: Literal["exact", "value", "ignore"] = "exact"
    """`exact`: the same number, the same bytes. `value`: numbers within the tolerances, all else equal."""
    rtol: float = 0.0
    """The tolerance relative to the older value."""
    atol: float = 0.0


class VerifyRules(msgspec.Struct, frozen=True, kw_only=True):
    """The `verify:` section of MLproject. The first pattern that fits a name counts; the default is exact."""

    metrics: dict[str, Rule] = {}
    outputs: dict[str, Rule] = {}


PLAN_VERSION = 1


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """The origin and the identity of a tree, without credentials."""

    kind: Literal["local", "git", "archive"]
    uri: str
    """The uri that the user gave, without credentials."""
    repository: str = ""
    """URL of the Git remote, without credentials; empty when there is none."""
    version: str = ""
    """The version that the user gave with -v; empty for the default branch or the tree as it is."""
    commit: str = ""
    """Full commit id; empty outside Git or before the first commit."""
    branch: str = ""
    """The branch that was checked out or given as the version; empty for a tag or a detached HEAD."""
    subdirectory: str = ""
    """The project's directory below the root of the tree, with forward slashes; empty for the root."""
    dirty: bool | None = False
    """True if the tree has changed, staged or untracked files that Git does not ignore.

    None if this is not known, because only a program could tell and the plan was made without running any.
    """
    sha256: str = ""
    """The digest of the archive that was unpacked; empty for other kinds of source."""


class Worktree(msgspec.Struct, frozen=True, kw_only=True):
    """The state of the user's working tree, from one git process."""

    commit: str = ""  # empty before the first commit
    branch: str = ""  # empty for a detached HEAD
    # The entries of `git status --porcelain=v2 -z --untracked-files=all --no-renames`; names that are not
    # UTF-8 have surrogates.
    changes: tuple[str, ...] = ()
    # The URLs of remotes and the settings that make git convert files, by key in lower case, except for the
    # names of remotes.
    settings: dict[str, str] = {}


class Checkout(msgspec.Struct, frozen=True, kw_only=True):
    """The tree on disk that one fetch yields."""

    source: Source
    root: Path  # the top of the tree
    directory: Path  # the project's: root, or the subdirectory in it
    temporary: bool = False  # the tree belongs to this run and is removed when the run ends
    notices: tuple[str, ...] = ()  # lines that the user must see
    # The state of the tree; None for one that is not the user's or not in Git.
    worktree: Worktree | None = None
    # The top of the user's working tree, if a version was checked out from one.
    repository: Path | None = None


class Descriptor(msgspec.Struct, frozen=True, kw_only=True):
    """The author's description of the environment."""

    kind: Literal[
        "python_env", "conda_env", "docker_env", "script", "pyproject", "requirements", "pylock", "none"
    ]
    """The format; `script` is a block in the entry point's own file (PEP 723)."""
    file: str = ""
    """The descriptor file relative to the project's directory; empty if there is none."""
    python: str = ""
    """The requested Python: `3.11`, `3.11.7`, or a PEP 440 set such as `>=3.10`; empty if there is none."""
    build_dependencies: tuple[str, ...] = ()
    dependencies: tuple[str, ...] = ()
    """Requirement lines for pip, with those of `-r` files in place."""
    constraints: tuple[str, ...] = ()
    """Requirement lines of the `-c` files."""
    conda_dependencies: tuple[str, ...] = ()
    """Conda match specs other than python and pip."""
    conda_specs: tuple[str, ...] = ()
    """All conda match specs as written, python and pip among them."""
    channels: tuple[str, ...] = ()
    """As written; literal credentials are left out, variables such as `${TOKEN}` are not expanded."""
    variables: dict[str, str] = {}
    """Environment variables to set: `variables` of a conda file."""
    conda_lock_file: str = ""
    """A conda lock in the project that takes the place of solving, relative to its directory; or empty."""
    conda_lock_sha256: str = ""
    docker: dict[str, Any] = {}
    """The docker_env section as written."""
    lock_file: str = ""
    """The lock in the project that wins over resolving, relative to its directory: pylock.toml or uv.lock."""
    passed_over: tuple[str, ...] = ()
    """Files that also describe an environment but are not used, in the order of precedence."""


class LocalRequirement(msgspec.Struct, frozen=True, kw_only=True):
    """A requirement that is a source tree or a wheel on this machine."""

    name: str
    path: str
    """The path relative to the project's directory, or absolute if the author wrote it so."""
    editable: bool = False
    """True if the environment refers to the tree instead of holding a copy."""
    place: str = ""
    """The absolute path. It is set when the lock is used and not stored with the lock."""
    sha256: str = ""
    """The digest of the wheel or of the tree's files; if editable, of its metadata files."""


class Resolving(msgspec.Struct, frozen=True, kw_only=True):
    """The options for resolving a descriptor to a lock."""

    locked: bool = False
    """Fail if there is no lock."""
    upgrade: bool = False
    """Resolve even if a lock is stored, and store the new one."""
    as_of: str = ""
    """The date or RFC 3339 time at which the index is looked at; empty for now."""
    strict_python: bool = False
    """Refuse another patch version of Python than the one that the descriptor names."""


class Access:
    """Credentials that installing needs and nothing may store. JSON refuses it, as it is no Struct."""

    __slots__ = ("directory", "options", "urls", "variables")

    def __init__(
        self,
        *,
        options: tuple[str, ...] = (),
        urls: tuple[str, ...] = (),
        variables: tuple[str, ...] = (),
        directory: Path,
    ) -> None:
        # Lines such as `--index-url URL` of the project's requirements, with the credentials in them
        self.options = options
        self.urls = urls  # every URL in the options that holds credentials
        self.variables = variables  # names of the environment variables that the URLs refer to as `${NAME}`
        self.directory = directory  # the project's: paths in the lock are relative to it

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
    # Texts of lock formats by the name of the run's artifact. The member has no default, so that a lock that
    # an older version stored in another shape is not mistaken for this one.
    files: dict[str, str]
    # Further values, as in JSON, that the manager needs to build the environment.
    facts: dict[str, Any] = {}
    # Exact version of the interpreter, such as `3.11.7`; empty when there is none.
    python: str = ""
    # Absolute path of the interpreter to build from; empty when Python is itself a package.
    interpreter: str = ""
    # Installed last, without their dependencies, which are in the files.
    local: tuple[LocalRequirement, ...] = ()
    # Lines that the user must see.
    notices: tuple[str, ...] = ()
    # A directory of wheels and sdists that are used before any index is asked; their hashes are checked too.
    packages: str = ""
    # Set in memory when the environment is about to be built, never stored.
    access: Access | None = None

    @property
    def pylock(self) -> str:
        """The lock in the format of PEP 751; empty if nothing is installed from an index or by URL."""
        return self.files.get(PYLOCK_ARTIFACT, "")

    @property
    def conda(self) -> str:
        """The lock of the conda packages for one platform; empty if there are none."""
        return self.files.get(CONDA_LOCK_ARTIFACT, "")


class Container(msgspec.Struct, frozen=True, kw_only=True):
    """An image, and the facts about its engine that starting a container needs."""

    image: str  # the id, which never means another image, unlike a name
    name: str = ""  # for people
    shell: str = "bash"  # the one that the image has: bash, or else sh
    rootless: bool = False  # the engine belongs to the caller, who is root in its containers
    remapped: bool = False  # the engine gives containers users of their own, unless told otherwise
    gateway: str = ""  # this machine's address on the engine's default network; empty if it has none
    holds_project: bool = False  # the project's tree was copied into the image


class Launch(msgspec.Struct, frozen=True, kw_only=True):
    """The data for starting a process inside an environment."""

    variables: dict[str, str | None] = {}  # set on top of the caller's; None removes one
    path_entries: tuple[str, ...] = ()  # directories to put in front of PATH
    argv_prefix: tuple[str, ...] = ()
    container: Container | None = None  # None to start the process on this machine


class PlannedInput(msgspec.Struct, frozen=True, kw_only=True):
    """A file or directory that a parameter of type path names."""

    parameter: str
    value: str
    """The value as given, without credentials."""
    path: str
    """The absolute path; for a remote value, that of its download."""
    remote: bool = False


class PlannedEnvironment(msgspec.Struct, frozen=True, kw_only=True):
    manager: str
    """Name of the environment manager: local, uv, …"""
    descriptor: Descriptor
    resolving: Resolving = Resolving()


class PlannedContainer(msgspec.Struct, frozen=True, kw_only=True):
    """The options of the container from the author and the user, without its image."""

    arguments: tuple[str, ...] = ()
    """Arguments for `docker run`, without values of environment variables."""
    volumes: tuple[str, ...] = ()
    """`SOURCE:TARGET[:OPTIONS]`, expanded; SOURCE is absolute or the name of a volume."""
    variables: dict[str, str] = {}
    """Environment variables that the project sets."""
    copied: tuple[str, ...] = ()
    """Names of environment variables that get their values from the caller's environment or command line."""
    read_only_source: bool = False
    build_image: bool = False
    """The project's tree is copied into an image of its own."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that determines a run."""

    plan_version: int = PLAN_VERSION
    source: Source
    project: str
    """The project's name; the directory's name if the author gives none."""
    entry_point: str
    command: str
    """The text for `bash -c`, with every value quoted."""
    parameters: dict[str, str] = {}
    """The values of all parameters as text: first the declared ones, including defaults, then the others."""
    inputs: tuple[PlannedInput, ...] = ()
    environment: PlannedEnvironment
    container: PlannedContainer | None = None
    """None for a run without a container."""
    backend: str = "local"
    backend_config: dict[str, Any] = {}
    programs: dict[str, str] = {}
    """Programs that the command needs and an environment may lack, each with the way to get it."""
    artifact_files: dict[str, str] = {}
    """Artifacts that the command writes, by the environment variable with the path of the file."""
    variables: dict[str, str | None] = {}
    """Environment variables that the caller gave for this run. The values are masked: the real ones are in
    the launch, which no record holds."""
    verify: VerifyRules = VerifyRules()
    """The differences that the author allows when the run is verified."""
