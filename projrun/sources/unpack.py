"""Unpacking zip and tar so that nothing in them reaches beyond the directory, however they were made."""

from __future__ import annotations

import os
import stat
import tarfile
import unicodedata
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, NamedTuple

from projrun.errors import SourceError
from projrun.settings import whole_number

CHUNK = 1 << 20
FREE_BYTES = 100_000_000
"""Archives that unpack to less may be packed as densely as they like."""


class Limits(NamedTuple):
    total: int | None
    """Bytes of all files together."""
    entries: int | None
    ratio: int | None
    """How many times its own size an archive may unpack to."""
    strict: bool = True
    """Refuse links that lead out, and names that differ in case alone."""

    @staticmethod
    def from_environment() -> Limits:
        return Limits(
            whole_number("PROJRUN_ARCHIVE_LIMIT", 4000) * 1_000_000,
            whole_number("PROJRUN_ARCHIVE_ENTRIES", 200_000),
            whole_number("PROJRUN_ARCHIVE_RATIO", 200),
        )

    @staticmethod
    def none() -> Limits:
        """For what projrun has packed itself, whose digest is recorded."""
        return Limits(None, None, None, strict=False)


class Member(NamedTuple):
    name: str
    kind: str
    """file, directory, link, same (another name of a file that came before) or special."""
    size: int
    executable: bool
    target: str
    content: Callable[[], IO[bytes]]


def unpack(file: Path, root: Path, limits: Limits) -> None:
    """Raises SourceError; what is in `root` then is not to be used."""
    size = file.stat().st_size
    try:
        if zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as archive:
                _unpack(_in_zip(archive), root, limits, size)
        else:
            with tarfile.open(file, "r:*", encoding="utf-8", errors="surrogateescape") as tar:
                _unpack(_in_tar(tar, tar, ""), root, limits, size)
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, NotImplementedError, ValueError) as error:
        raise SourceError(f"it is not a whole zip or tar archive ({error})", "get it once more") from None
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


def unpack_members(
    tar: tarfile.TarFile, members: Iterable[tarfile.TarInfo], root: Path, prefix: str, limits: Limits
) -> None:
    """The given members of an open tar, without `prefix`."""
    _unpack(_in_tar(tar, members, prefix), root, limits, 0)


def _in_tar(tar: tarfile.TarFile, members: Iterable[tarfile.TarInfo], prefix: str) -> Iterator[Member]:
    for info in members:
        kind = "file" if info.isreg() else _TAR_KINDS.get(info.type, "special")

        def content(info: tarfile.TarInfo = info) -> IO[bytes]:
            file = tar.extractfile(info)
            assert file is not None
            return file

        executable = bool(info.mode & 0o100)
        yield Member(info.name.removeprefix(prefix), kind, info.size, executable, info.linkname, content)


_TAR_KINDS = {tarfile.DIRTYPE: "directory", tarfile.SYMTYPE: "link", tarfile.LNKTYPE: "same"}
_ZIP_KINDS = {0: "file", stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "link"}


def _in_zip(archive: zipfile.ZipFile) -> Iterator[Member]:
    for info in archive.infolist():
        mode = info.external_attr >> 16
        kind = "directory" if info.is_dir() else _ZIP_KINDS.get(stat.S_IFMT(mode), "special")
        target = ""
        if kind == "link":
            if info.file_size > 4096:
                raise SourceError(f"the link {info.filename!r} in it is too long", "make the archive anew")
            target = os.fsdecode(archive.read(info))

        def content(info: zipfile.ZipInfo = info) -> IO[bytes]:
            return archive.open(info)

        yield Member(info.filename, kind, info.file_size, bool(mode & 0o100), target, content)


def _unpack(members: Iterable[Member], root: Path, limits: Limits, packed: int) -> None:
    tray = _Tray(root, limits, packed)
    for member in members:
        tray.put(member)
    tray.put_links()


class _Tray:
    """What has been unpacked so far. Links are made last, so that nothing is written through one."""

    def __init__(self, root: Path, limits: Limits, packed: int) -> None:
        self._root, self._limits = root, limits
        self._room = _room(limits, packed)
        self._entries = 0
        self._seen: dict[str, str] = {}
        self._directories = {str(root)}
        self._links: list[tuple[str, str]] = []

    def put(self, member: Member) -> None:
        self._entries += 1
        if self._limits.entries is not None and self._entries > self._limits.entries:
            raise SourceError(f"it has more than {self._limits.entries} entries", _raise("ENTRIES"))
        parts = _parts(member.name)
        if not parts or any(part.lower() == ".git" for part in parts):
            return  # settings and hooks of somebody else's repository
        name = "/".join(parts)
        path = os.path.join(self._root, name)
        if member.kind == "directory":
            self._make(path)
            return
        self._claim(name)
        self._make(os.path.dirname(path))
        if member.kind == "link":
            self._links.append((name, member.target))
        elif member.kind == "same":
            self._copy_earlier(member, path)
        elif member.kind == "file":
            self._check_room(member.size)
            with member.content() as source:
                self._write(path, source, member.executable)
        else:
            raise SourceError(f"{member.name!r} in it is a device or a pipe", "do not run this project")

    def put_links(self) -> None:
        for name, target in self._links:
            path = os.path.join(self._root, name)
            _clear(path)
            os.symlink(target, path)
        if not self._limits.strict:
            return
        top = os.path.realpath(self._root)
        for name, target in self._links:
            real = os.path.realpath(os.path.join(top, name))
            if os.path.isabs(target) or not f"{real}/".startswith(f"{top}/"):
                raise SourceError(f"the link {name!r} in it leads out of it", "do not run this project")

    def _claim(self, name: str) -> None:
        key = unicodedata.normalize("NFC", name).casefold() if self._limits.strict else name
        other = self._seen.get(key)
        if other is not None:
            same = "is in it twice" if other == name else f"and {other!r} in it differ in case alone"
            raise SourceError(f"{name!r} {same}", "pack it anew")
        self._seen[key] = name

    def _make(self, directory: str) -> None:
        if directory in self._directories:
            return
        self._make(os.path.dirname(directory))
        if not os.path.isdir(directory) or os.path.islink(directory):
            _clear(directory)
            os.mkdir(directory)
        self._directories.add(directory)

    def _copy_earlier(self, member: Member, path: str) -> None:
        earlier = os.path.join(self._root, *_parts(member.target))
        if not os.path.isfile(earlier) or os.path.islink(earlier):
            raise SourceError(f"{member.name!r} in it is a link to what is not in it", "pack it anew")
        self._check_room(os.path.getsize(earlier))
        with open(earlier, "rb") as source:
            self._write(path, source, bool(os.stat(earlier).st_mode & 0o100))

    def _check_room(self, size: int) -> None:
        """Before anything is unpacked that says itself that it is too large."""
        if self._room is not None and size > self._room:
            raise SourceError("it unpacks to more than is allowed", _raise("LIMIT and PROJRUN_ARCHIVE_RATIO"))

    def _write(self, path: str, source: IO[bytes], executable: bool) -> None:
        _clear(path)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        with open(os.open(path, flags, 0o777 if executable else 0o666), "wb") as target:
            while chunk := source.read(CHUNK):
                self._check_room(len(chunk))
                if self._room is not None:
                    self._room -= len(chunk)
                target.write(chunk)


def _parts(name: str) -> list[str]:
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or ".." in parts or "\0" in name:
        raise SourceError(f"{name!r} in it leads out of it", "do not run this project")
    return parts


def _clear(path: str) -> None:
    if os.path.lexists(path):
        if os.path.isdir(path) and not os.path.islink(path):
            os.rmdir(path)
        else:
            os.unlink(path)


def _room(limits: Limits, packed: int) -> int | None:
    if limits.total is None or limits.ratio is None:
        return limits.total
    return min(limits.total, max(FREE_BYTES, packed * limits.ratio))


def _raise(what: str) -> str:
    return f"if you trust it, set PROJRUN_ARCHIVE_{what}"
