"""The plan: everything that determines a run, before anything runs. Frozen, JSON, versioned.

Data flows downhill: source -> project -> environment -> backend -> record; these are the values handed down.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import msgspec

PLAN_VERSION = 1


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """Where a tree came from and which tree it is. Holds no credentials."""

    kind: Literal["local", "git"]
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
    dirty: bool = False
    """The tree differs from the commit: changed, staged or untracked (unignored) files."""


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


class Descriptor(msgspec.Struct, frozen=True, kw_only=True):
    """What the author wrote about the environment."""

    kind: Literal["python_env", "conda_env", "docker_env", "script", "pyproject", "none"]
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
    channels: tuple[str, ...] = ()
    docker: dict[str, Any] = {}
    """The docker_env section as written."""


class Lock(msgspec.Struct, frozen=True, kw_only=True):
    """A descriptor resolved to exact artifacts."""

    manager: str
    python: str
    """Exact version of the interpreter, such as `3.11.7`."""
    interpreter: str
    """Absolute path of the interpreter that the environment is made from."""
    pylock: str
    """PEP 751 text with hashes; empty when nothing is to be installed."""
    image: str = ""
    """The image that a container is made from: `name@sha256:…` where a registry has it, else its id."""
    platform: str = ""
    """Of an image that packages are installed in, as uv names platforms; empty otherwise."""
    tag: str = ""
    """Of an image that no registry has: its name here. The lock holds while the name means `image`."""
    kept: bool = True
    """False: it must be resolved again next time."""
    notices: tuple[str, ...] = ()
    """What the user must be told about this resolution, one line each."""


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
    bridge: str = ""
    """Name of the network device that has this address."""
    holds_project: bool = False
    """The project's tree was copied into the image."""


class Launch(msgspec.Struct, frozen=True, kw_only=True):
    """How to start a process inside an environment. Data, not code."""

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


class PlannedContainer(msgspec.Struct, frozen=True, kw_only=True):
    """What the author and the user want of the container, besides its image."""

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
    """Environment variables that the caller gave for this run."""
