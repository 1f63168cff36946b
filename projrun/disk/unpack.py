"""Unpacking zip and tar so that nothing in them reaches beyond the directory, however they were made.

Our own code, because `tarfile`'s filters are not in every Python that is supported, and `zipfile` has none.
"""

from __future__ import annotations

import os
import stat
import tarfile
import unicodedata
import zipfile
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import IO, NamedTuple

from projrun.disk import file_operations
from projrun.disk.tree_writer import TreeWriter
from projrun.documents.variables import read_whole_number
from projrun.errors import SourceError

CHUNK = 1 << 20
FREE_BYTES = 100_000_000  # archives that unpack to less may be packed as densely as they like
# Directories in each other. Walking and removing deeper trees exhausts Python's stack or handles.
MAX_DEPTH = 200
# Bytes of one part and of a whole name; Linux takes paths of 4096, the place of the tree included
MAX_NAME, MAX_PATH = 255, 3500
MAX_LINKS = 40  # links on the way of a link, as in Linux


class ArchiveLimits(NamedTuple):
    total: int | None  # bytes of all files together
    entries: int | None
    ratio: int | None  # how many times its own size an archive may unpack to
    strict: bool = True  # refuse links that lead out, and names that differ in case alone

    @staticmethod
    def from_environment() -> ArchiveLimits:
        return ArchiveLimits(
            read_whole_number("PROJRUN_ARCHIVE_LIMIT", 4000) * 1_000_000,
            read_whole_number("PROJRUN_ARCHIVE_ENTRIES", 200_000),
            read_whole_number("PROJRUN_ARCHIVE_RATIO", 200),
        )

    @staticmethod
    def of_records() -> ArchiveLimits:
        """Return the limits for the source in a record, which may hold links of its user that lead out."""
        return ArchiveLimits.from_environment()._replace(ratio=None, strict=False)

    @staticmethod
    def none() -> ArchiveLimits:
        """Return the limits for what this very process has packed."""
        return ArchiveLimits(None, None, None, strict=False)


class Member(NamedTuple):
    name: str
    kind: str  # file, directory, link, same (another name of a file that came before) or special
    size: int
    executable: bool
    target: str
    content: Callable[[], IO[bytes]]


class Members:
    """The members that have been read from the list of an archive. All methods raise SourceError."""

    def __init__(self, limits: ArchiveLimits, packed: int) -> None:
        """packed: bytes of the archive."""
        self._limits = limits
        self._room = _room(limits, packed)
        self._entries = self._size = 0
        self._members: dict[str, Member] = {}
        self._directories: set[str] = set()
        self._links: dict[str, str] = {}
        self._resolved: dict[str, list[str] | None] = {}

    @property
    def names(self) -> Collection[str]:
        return self._members.keys() | self._directories

    def add(self, member: Member) -> None:
        self._entries += 1
        if self._limits.entries is not None and self._entries > self._limits.entries:
            raise SourceError(f"it has more than {self._limits.entries} entries", _raise("ENTRIES"))
        parts = parts_of(member.name)
        if not parts or any(map(is_git_directory, parts)):
            return  # settings and hooks of somebody else's repository
        name = "/".join(parts)
        if member.kind == "directory":
            self._add_directories(name)
            return
        if name in self._members:
            raise SourceError(f"{name!r} is in it twice", "pack it anew")
        if member.kind == "special":
            raise SourceError(f"{member.name!r} in it is a device or a pipe", "do not run this project")
        if member.kind == "same":
            member = self._resolve_hard_link(member)
        elif member.kind == "link" and not 0 < len(os.fsencode(member.target)) <= MAX_PATH:
            raise SourceError(f"the link {name!r} in it has no target or a too long one", "pack it anew")
        elif "\0" in member.target:
            raise SourceError(f"the link {name!r} in it leads nowhere", "pack it anew")
        self._size += member.size
        if self._room is not None and self._size > self._room:
            raise SourceError("it unpacks to more than is allowed", _raise("LIMIT and PROJRUN_ARCHIVE_RATIO"))
        self._members[name] = member
        self._add_directories(name.rpartition("/")[0])

    def check(self, top: str = "") -> None:
        """Refuse what cannot or must not be unpacked, given all members.

        top: the directory that will be taken out of the tree; the links in it must not leave it.
        """
        seen: dict[str, str] = {}
        for name in self._members:
            first = seen.setdefault(self._key(name), name)
            if first != name:
                raise SourceError(f"{name!r} and {first!r} in it differ in case alone", "pack it anew")
        for directory in self._directories:
            if (other := seen.get(self._key(directory))) is not None:
                kind = "link" if self._members[other].kind == "link" else "file"
                raise SourceError(f"{other!r} in it is a {kind} and a directory", "pack it anew")
        if self._limits.strict:
            links = [name for name, member in self._members.items() if member.kind == "link"]
            self._links = {_fold(name): name for name in links}
            for key in self._links:
                self._resolve_link(key, _fold(top), 0)

    def write(self, tree: TreeWriter) -> None:
        """Write what was checked. Links come last, although none would be followed. Raises OSError too."""
        links = []
        for name, member in self._members.items():
            if member.kind == "link":
                links.append((name, member.target))
                continue
            source = tree.open_file(member.target) if member.kind == "same" else member.content()
            with source, tree.create_file(name, executable=member.executable) as target:
                _copy(source, target, member)
        for directory in sorted(self._directories - {name.rpartition("/")[0] for name in self._members}):
            tree.make_directory(directory)
        for name, text in links:
            tree.create_link(name, text)

    def _add_directories(self, name: str) -> None:
        while name and name not in self._directories:
            self._directories.add(name)
            name = name.rpartition("/")[0]

    def _resolve_hard_link(self, member: Member) -> Member:
        target = "/".join(parts_of(member.target))
        earlier = self._members.get(target)
        if earlier is None or earlier.kind == "link":
            raise SourceError(f"{member.name!r} in it is a link to what is not in it", "pack it anew")
        return member._replace(target=target, size=earlier.size, executable=earlier.executable)

    def _key(self, name: str) -> str:
        return _fold(name) if self._limits.strict else name

    def _resolve_link(self, key: str, top: str, depth: int) -> list[str]:
        """Return the parts of the name that the link leads to, folded, for file systems that fold names."""
        name = self._links[key]
        known = self._resolved.get(key, [])
        if known is None or depth > MAX_LINKS:
            raise SourceError(f"the link {name!r} in it leads in a circle", "do not run this project")
        if known or key in self._resolved:
            return known
        self._resolved[key] = None
        target = self._members[name].target
        inside = f"{key}/".startswith(f"{top}/")
        lowest = len(top.split("/")) if top and inside else 0
        parts = key.split("/")[:-1]
        for part in _fold(target).split("/"):
            if part == "..":
                if len(parts) <= lowest:
                    raise _leads_out(name)
                parts.pop()
            elif part not in ("", "."):
                parts.append(part)
                if (through := "/".join(parts)) in self._links:
                    parts = [*self._resolve_link(through, top, depth + 1)]
            if len(parts) > MAX_DEPTH:
                raise SourceError(f"the link {name!r} in it leads too deep", "pack it anew")
        if target.startswith("/"):
            raise _leads_out(name)
        self._resolved[key] = parts
        return parts


def parts_of(name: str) -> list[str]:
    """Return the parts of a relative name. Raises SourceError for one that must not be written."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or ".." in parts or "\0" in name:
        raise SourceError(f"{name!r} in it leads out of it", "do not run this project")
    if len(parts) > MAX_DEPTH:
        raise SourceError(f"it has directories in each other more than {MAX_DEPTH} deep", "pack it anew")
    if len(name) * 4 > MAX_NAME:
        sizes = [len(os.fsencode(part)) for part in parts]
        if max(sizes, default=0) > MAX_NAME or sum(sizes) + len(parts) > MAX_PATH:
            raise SourceError(f"the name {name[:40]!r}… in it is too long", "pack it anew")
    return parts


# File systems of macOS take no notice of these in names (as in git's utf8.c).
_UNSEEN = dict.fromkeys((*range(0x200C, 0x2010), *range(0x202A, 0x202F), *range(0x206A, 0x2070), 0xFEFF))


def is_git_directory(part: str) -> bool:
    """Return True for names under which some file system finds Git's own directory."""
    seen = part if part.isascii() else part.translate(_UNSEEN)
    return seen.lower() == ".git"


def _fold(name: str) -> str:
    return name.lower() if name.isascii() else unicodedata.normalize("NFC", name).casefold()


def _copy(source: IO[bytes], target: IO[bytes], member: Member) -> None:
    left = member.size
    while chunk := source.read(CHUNK):
        left -= len(chunk)
        if left < 0:
            raise SourceError(f"{member.name!r} in it is larger than it says", "do not run this project")
        target.write(chunk)


def _room(limits: ArchiveLimits, packed: int) -> int | None:
    if limits.total is None or limits.ratio is None:
        return limits.total
    return min(limits.total, max(FREE_BYTES, packed * limits.ratio))


def _leads_out(name: str) -> SourceError:
    return SourceError(f"the link {name!r} in it leads out of it", "do not run this project")


def _raise(what: str) -> str:
    return f"if you trust it, set PROJRUN_ARCHIVE_{what}"


MAX_HEADER = 1_000_000  # bytes of one header of a tar: the library reads it whole


def unpack(
    file: Path, root: Path, limits: ArchiveLimits, top_of: Callable[[Collection[str]], str] = lambda names: ""
) -> str:
    """Unpack into `root`, an empty directory, which is empty again after an error. Raises SourceError.

    top_of: given the names of all members, it returns the directory that the caller takes out as the tree;
    links in it must not leave it. Return that name.
    """
    try:
        return _unpack(file, root, limits, top_of)
    except BaseException:
        for entry in os.scandir(root):
            file_operations.remove_tree(Path(entry.path))
        raise


def _unpack(file: Path, root: Path, limits: ArchiveLimits, top_of: Callable[[Collection[str]], str]) -> str:
    size = file.stat().st_size
    try:
        if zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as archive:
                return _write_all(_in_zip(archive), Members(limits, size), root, top_of)
        with open_tar(file) as tar:
            return _write_all((member_of(tar, info) for info in tar), Members(limits, size), root, top_of)
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, NotImplementedError, ValueError) as error:
        raise SourceError(f"it is not a whole zip or tar archive ({error})", "get it once more") from None
    except RecursionError:
        raise SourceError("it is not a whole zip or tar archive", "get it once more") from None
    except RuntimeError as error:  # zipfile has no other for a password
        raise SourceError(f"it cannot be read ({error})", "give an archive without a password") from None
    except OSError as error:
        raise SourceError(
            f"it cannot be unpacked ({error.strerror or error})", "make the archive anew"
        ) from None
    except Exception as error:
        if type(error).__module__ in ("zlib", "lzma", "_lzma"):
            raise SourceError("it is not a whole archive", "get it once more") from None
        raise


def _write_all(
    listed: Iterable[Member], members: Members, root: Path, top_of: Callable[[Collection[str]], str]
) -> str:
    for member in listed:
        members.add(member)
    top = top_of(members.names)
    members.check(top)
    with TreeWriter(root) as tree:
        members.write(tree)
    return top


class _TarInfo(tarfile.TarInfo):
    def _proc_member(self, tar: tarfile.TarFile) -> tarfile.TarInfo:
        """Refuse headers that would fill the memory, and sizes that send the reader back (CVE-2025-8194)."""
        is_header = not self.isreg() and self.type not in _TAR_KINDS
        if self.size < 0 or (is_header and self.size > MAX_HEADER):
            raise tarfile.ReadError("bad size in a header")
        return super()._proc_member(tar)  # type: ignore[misc,no-any-return]


def open_tar(file: Path) -> tarfile.TarFile:
    """Open a tar, compressed or not. Raises tarfile.TarError or OSError."""
    return tarfile.open(file, "r:*", encoding="utf-8", errors="surrogateescape", tarinfo=_TarInfo)


def member_of(tar: tarfile.TarFile, info: tarfile.TarInfo, prefix: str = "") -> Member:
    """Return a member of an open tar, named without `prefix`."""
    kind = "file" if info.isreg() else _TAR_KINDS.get(info.type, "special")

    def content() -> IO[bytes]:
        file = tar.extractfile(info)
        assert file is not None
        return file

    size = info.size if kind == "file" else 0
    return Member(info.name.removeprefix(prefix), kind, size, bool(info.mode & 0o100), info.linkname, content)


_TAR_KINDS = {tarfile.DIRTYPE: "directory", tarfile.SYMTYPE: "link", tarfile.LNKTYPE: "same"}
_ZIP_KINDS = {0: "file", stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "link"}


def _in_zip(archive: zipfile.ZipFile) -> Iterator[Member]:
    for info in archive.infolist():
        mode = info.external_attr >> 16
        # not `info.is_dir()`, which fails on an empty name before Python 3.12
        is_directory = info.filename.endswith("/")
        kind = "directory" if is_directory else _ZIP_KINDS.get(stat.S_IFMT(mode), "special")
        target = ""
        if kind == "link":
            if info.file_size > MAX_PATH:
                raise SourceError(f"the link {info.filename!r} in it is too long", "make the archive anew")
            target = os.fsdecode(archive.read(info))

        def content(info: zipfile.ZipInfo = info) -> IO[bytes]:
            return archive.open(info)

        yield Member(info.filename, kind, info.file_size, bool(mode & 0o100), target, content)
