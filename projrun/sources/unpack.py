"""Unpacking zip and tar so that nothing in them reaches beyond the directory, however they were made."""

from __future__ import annotations

import os
import stat
import tarfile
import zipfile
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import IO

from projrun import files
from projrun.errors import SourceError
from projrun.sources.members import MAX_PATH, Limits, Member, Members
from projrun.sources.treewriter import TreeWriter

MAX_HEADER = 1_000_000
"""Bytes of one header of a tar: the library reads it whole."""


def unpack(
    file: Path, root: Path, limits: Limits, top_of: Callable[[Collection[str]], str] = lambda names: ""
) -> str:
    """Unpack into `root`, an empty directory, which is empty again after an error. Raises SourceError.

    top_of: given the names of all members, it returns the directory that the caller takes out as the tree;
    links in it must not leave it. Return that name.
    """
    try:
        return _unpack(file, root, limits, top_of)
    except BaseException:
        for entry in os.scandir(root):
            files.remove(Path(entry.path))
        raise


def _unpack(file: Path, root: Path, limits: Limits, top_of: Callable[[Collection[str]], str]) -> str:
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
        kind = "directory" if info.is_dir() else _ZIP_KINDS.get(stat.S_IFMT(mode), "special")
        target = ""
        if kind == "link":
            if info.file_size > MAX_PATH:
                raise SourceError(f"the link {info.filename!r} in it is too long", "make the archive anew")
            target = os.fsdecode(archive.read(info))

        def content(info: zipfile.ZipInfo = info) -> IO[bytes]:
            return archive.open(info)

        yield Member(info.filename, kind, info.file_size, bool(mode & 0o100), target, content)
