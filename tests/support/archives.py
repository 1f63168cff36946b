"""A directory whose whole state is compared, and archives with any members."""

from __future__ import annotations

import hashlib
import io
import os
import stat
import tarfile
import zipfile
from pathlib import Path
from typing import NamedTuple

TAR_KINDS = {
    "file": tarfile.REGTYPE,
    "directory": tarfile.DIRTYPE,
    "link": tarfile.SYMTYPE,
    "same": tarfile.LNKTYPE,
    "device": tarfile.CHRTYPE,
    "pipe": tarfile.FIFOTYPE,
}
ZIP_KINDS = {
    "file": stat.S_IFREG,
    "directory": stat.S_IFDIR,
    "link": stat.S_IFLNK,
    "device": stat.S_IFCHR,
    "pipe": stat.S_IFIFO,
}


class Entry(NamedTuple):
    name: str
    kind: str = "file"
    text: str = ""
    """Content of a file, target of a link."""
    mode: int = 0o644


def state_of(top: Path, leave_out: Path | None = None) -> dict[str, tuple[object, ...]]:
    """Return kind, mode, time of change, identity and content of everything below `top`."""
    found: dict[str, tuple[object, ...]] = {}
    for directory, names, files in os.walk(top):
        for name in ("", *names, *files):
            path = os.path.join(directory, name)
            status = os.lstat(path)
            content = ""
            if stat.S_ISLNK(status.st_mode):
                content = os.readlink(path)
            elif stat.S_ISREG(status.st_mode):
                content = hashlib.sha256(Path(path).read_bytes()).hexdigest()
            found[path] = (status.st_mode, status.st_mtime_ns, status.st_ino, status.st_nlink, content)
        names[:] = [name for name in names if Path(directory, name) != leave_out]
    return found


def write_zip(file: Path, entries: list[Entry]) -> Path:
    with zipfile.ZipFile(file, "w") as archive:
        for entry in entries:
            info = zipfile.ZipInfo(entry.name)
            info.create_system = 3
            info.external_attr = (ZIP_KINDS[entry.kind] | entry.mode) << 16
            archive.writestr(info, entry.text)
    return file


def write_tar(file: Path, entries: list[Entry], *, form: int = tarfile.PAX_FORMAT) -> Path:
    with tarfile.open(file, "w:gz", format=form, encoding="utf-8", errors="surrogateescape") as archive:
        for entry in entries:
            info = tarfile.TarInfo(entry.name)
            info.type, info.mode = TAR_KINDS[entry.kind], entry.mode
            content = entry.text.encode() if entry.kind == "file" else b""
            info.size = len(content)
            if entry.kind in ("link", "same"):
                info.linkname = entry.text
            archive.addfile(info, io.BytesIO(content))
    return file
