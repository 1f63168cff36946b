"""Requirements that lie on this machine (`-e .`, `../package`, `./x.whl`): they enter by their content."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import msgspec

from projrun.disk.file_operations import cache_key, sha256_file, write_atomically
from projrun.errors import BuildError, SourceError
from projrun.plan import Descriptor, Lock

# Longer than the time step of any file system: within one step a file may change twice and look the same
TICK_NS = 2 * 10**9


class _Note(msgspec.Struct, frozen=True, array_like=True):
    """The state of a file when it was read."""

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    sha256: str


class FileDigests:
    """Digests of files, kept in the file `notes` so that an unchanged one is not read again."""

    # A note has the size, times and inode of its file, as Git's index does. Keys of environments hold digests
    # of content alone: the notes only save reading.

    def __init__(self, notes: Path | None) -> None:
        """notes: None keeps the digests nowhere, so that every file is read."""
        self._notes = notes
        self._before: dict[str, _Note] = {}
        self._now: dict[str, _Note] = {}
        self._noted_ns = 0
        if notes is not None:
            self._recall(notes)

    def _recall(self, notes: Path) -> None:
        try:
            self._noted_ns = notes.stat().st_mtime_ns
            self._before = msgspec.json.decode(notes.read_bytes(), type=dict[str, _Note])
        except (OSError, msgspec.MsgspecError):
            self._before = {}

    def of(self, file: Path) -> str:
        """Return the sha256 of a regular file."""
        name, facts = str(file), os.stat(file)
        state = (facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_ino)
        note = self._before.get(name)
        if note is None or state != (note.size, note.mtime_ns, note.ctime_ns, note.inode):
            note = _Note(*state, sha256_file(file))
        elif note.ctime_ns > self._noted_ns - TICK_NS:
            note = msgspec.structs.replace(note, sha256=sha256_file(file))
            self._before.pop(name)  # so that it is noted anew
        self._now[name] = note
        return note.sha256

    def note(self) -> None:
        """Write the notes, if they changed."""
        if self._notes is not None and self._now != self._before:
            write_atomically(self._notes, msgspec.json.encode(self._now))


_LOCAL = (
    r"(?:(?P<editable>-e|--editable)[ =]\s*)?(?:[\w.-]+(?:\[[^\]]*\])?\s*@\s*)?"
    r"(?:file:(?://(?:localhost)?(?=/))?)?(?P<path>\.{1,2}(?:/[^\s;\[]*)?|/[^\s;\[]+|[\w./-]+\.whl|[^\s;\[:]+)"
)
_MARK = r"(-e\b|--editable\b|\.{1,2}/|\.{1,2}(?:\[|$|\s)|/|file:|[\w./-]+\.whl|[^#]*@\s*file:)"
_METADATA = ("pyproject.toml", "setup.py", "setup.cfg", "requirements*.txt")
_NOT_SOURCE = {
    *(".git", ".hg", ".mypy_cache", ".tox", ".venv"),
    *("__pycache__", "build", "dist", "mlruns", "venv"),
}


def local_paths(descriptor: Descriptor) -> Iterator[str]:
    for line in (*descriptor.build_dependencies, *descriptor.dependencies):
        match = re.match(_LOCAL, line) if re.match(_MARK, line) and "+" not in line.split("/")[0] else None
        if match and "://" not in match["path"]:
            yield match["path"]


def local_metadata(descriptor: Descriptor, directory: Path) -> dict[str, str]:
    """Return digests of the files that declare what local requirements need."""
    return {path: _metadata_digest(directory / path) for path in local_paths(descriptor)}


def locate_local(lock: Lock, directory: Path, in_place: bool, notes: Path | None = None) -> Lock:
    """Return `lock` with the paths and the present digests of its local requirements. Raises BuildError.

    in_place: the project stays where it is; else nothing can be installed editable.
    notes: file for the digests, so that what has not changed is not read the next time.
    """
    if not lock.local:
        return lock
    digests = FileDigests(notes)
    local, notices = [], list(lock.notices)
    for requirement in lock.local:
        name, path = requirement.path, Path(os.path.abspath(directory / requirement.path))
        if not path.exists():
            raise BuildError(f"the local requirement '{name}' is not there", "add it to the project")
        editable = requirement.editable and in_place
        if requirement.editable and not editable:
            notices.append(f"{name} is installed as it is now, not editable: the checkout is temporary")
        digest = _metadata_digest(path) if editable else _digest(path, digests)
        changes = {"place": str(path), "sha256": digest, "editable": editable}
        local.append(msgspec.structs.replace(requirement, **changes))
    digests.note()
    return msgspec.structs.replace(lock, local=tuple(local), notices=tuple(notices))


def local_facts(lock: Lock) -> list[list[object]]:
    """Return the facts of the local requirements that determine the environment."""
    # An editable environment refers to the path of its sources; of others the content counts alone.
    return [
        [local.name, local.sha256, local.editable, local.place if local.editable else ""]
        for local in lock.local
    ]


def install_local(lock: Lock, python: Path, log: Path, options: tuple[str, ...] = ()) -> None:
    """Install the local requirements of `lock` into the environment of `python`, without dependencies."""
    from projrun.environments.uv.program import run_uv

    for requirement in lock.local:
        name, location = requirement.name, requirement.place
        source = ["--editable", location] if requirement.editable else [location]
        # A cached build of the same version may be of other sources.
        fresh = ["--reinstall-package", name, "--refresh-package", name]
        install = ["pip", "install", "--no-deps", "--python", str(python), *options, *fresh, *source]
        run_uv(install, log, access=lock.access)


def copy_local(lock: Lock, directory: Path) -> list[str]:
    """Copy the files of the local requirements into `directory`; return their paths relative to it."""
    import shutil

    copies = []
    for number, requirement in enumerate(lock.local):
        path = Path(requirement.place)
        copy = Path(str(number), path.name)
        for file in [path] if path.is_file() else _files(path):
            target = directory / copy / file.relative_to(path)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(file, target, follow_symlinks=False)
        copies.append(str(copy))
    return copies


def _metadata_digest(path: Path) -> str:
    if path.is_file():
        return sha256_file(path)
    files = sorted(file for pattern in _METADATA for file in path.glob(pattern))
    return cache_key({file.name: sha256_file(file) for file in files})


def _digest(path: Path, digests: FileDigests) -> str:
    if path.is_file():
        return digests.of(path)
    below = len(str(path)) + 1
    return cache_key({str(file)[below:]: _content(file, digests) for file in _files(path)})


def _content(file: Path, digests: FileDigests) -> str:
    return f"-> {os.readlink(file)}" if file.is_symlink() else digests.of(file)


def _files(tree: Path) -> list[Path]:
    """Return the unignored files of a source tree, or without Git all but leftovers of builds."""
    if listed := _known_to_git(tree):
        return [file for file in dict.fromkeys(listed) if file.is_file() or file.is_symlink()]
    files: list[Path] = []
    for parent, directories, names in os.walk(tree):
        directories[:] = [d for d in directories if d not in _NOT_SOURCE and not d.endswith(".egg-info")]
        files += [Path(parent, name) for name in names if not name.endswith(".pyc")]
    return [file for file in files if file.is_file() or file.is_symlink()]


def _known_to_git(tree: Path) -> list[Path]:
    """Return Git's list; empty when Git does not know the tree or cannot read it."""
    from projrun.disk.file_operations import find_git_top
    from projrun.disk.repository_view import open_view

    top = find_git_top(Path(os.path.realpath(tree)))
    if top is None:
        return []
    inside = os.path.relpath(os.path.realpath(tree), top)
    try:
        with open_view(top) as view:
            listing = ("ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", inside)
            answer = view.ask("--literal-pathspecs", *listing, errors="surrogateescape")
    except SourceError:
        return []
    return [tree / os.path.relpath(name, inside) for name in answer.stdout.split("\0") if name]
