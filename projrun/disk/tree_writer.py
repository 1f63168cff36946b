"""Changing the files below a directory without following a symbolic link."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

OPEN_DIRECTORIES = 64  # handles that are kept open: members of one directory mostly follow each other
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
# NONBLOCK: opening a named pipe would wait for its writer.
_OLD_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK


class TreeWriter:
    """Create and remove entries below `root`, by relative names without `.` and `..`.

    Every directory is opened relative to the handle of its parent and never through a link, so no name
    reaches beyond `root`, whatever the tree holds. Missing parents are made. All methods raise OSError.
    """

    def __init__(self, root: Path, *, replace: bool = False) -> None:
        """replace: what has the name of a new entry goes first; else it is an error."""
        self._replace = replace
        self._handles: dict[str, int] = {}
        self._root = os.open(root, _DIRECTORY)

    def __enter__(self) -> TreeWriter:
        return self

    def __exit__(self, *_: object) -> None:
        for handle in (*self._handles.values(), self._root):
            os.close(handle)

    def make_directory(self, name: str) -> None:
        self._directory(name)

    def create_file(self, name: str, *, executable: bool = False) -> BinaryIO:
        mode = 0o777 if executable else 0o666
        parent, entry = self._parent(name)
        try:
            return open(os.open(entry, _NEW_FILE, mode, dir_fd=parent), "wb")
        except FileExistsError:
            self._make_way(name, parent)
            return open(os.open(entry, _NEW_FILE, mode, dir_fd=parent), "wb")

    def create_link(self, name: str, target: str) -> None:
        parent, entry = self._parent(name)
        try:
            os.symlink(target, entry, dir_fd=parent)
        except FileExistsError:
            self._make_way(name, parent)
            os.symlink(target, entry, dir_fd=parent)

    def open_file(self, name: str) -> BinaryIO:
        """Open a regular file of the tree for reading."""
        parent, entry = self._parent(name)
        handle = os.open(entry, _OLD_FILE, dir_fd=parent)
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            os.close(handle)
            raise FileNotFoundError(errno.ENOENT, "it is not a regular file", name)
        return open(handle, "rb")

    def remove(self, name: str) -> None:
        """Remove a file, a link or an empty directory, and the parents that this leaves empty.

        A name whose parent is missing or is a link names nothing in the tree, and nothing is removed.
        """
        parents = [name]
        while "/" in parents[-1]:
            parents.append(parents[-1].rpartition("/")[0])
        with contextlib.suppress(OSError):
            for directory in parents[:0:-1]:
                self._directory(directory, make=False)
            self._remove_entry(name, self._parent(name)[0])
            for directory in parents[1:]:
                self._remove_directory(directory, self._parent(directory)[0])

    def _parent(self, name: str) -> tuple[int, str]:
        """Return a handle that is valid until the next call, and the name of the entry in it."""
        directory, _, entry = name.rpartition("/")
        return self._directory(directory), entry

    def _directory(self, name: str, *, make: bool = True) -> int:
        if not name:
            return self._root
        handle = self._handles.pop(name, None)
        if handle is None:
            above, _, entry = name.rpartition("/")
            parent = self._directory(above, make=make)
            handle = self._opened(name, parent, entry) if make else os.open(entry, _DIRECTORY, dir_fd=parent)
        self._handles[name] = handle  # the last one is the one used last
        if len(self._handles) > OPEN_DIRECTORIES:
            os.close(self._handles.pop(next(iter(self._handles))))
        return handle

    def _opened(self, name: str, parent: int, entry: str) -> int:
        try:
            os.mkdir(entry, dir_fd=parent)
        except FileExistsError:
            status = os.stat(entry, dir_fd=parent, follow_symlinks=False)
            if not stat.S_ISDIR(status.st_mode):
                self._make_way(name, parent)
                os.mkdir(entry, dir_fd=parent)
        return os.open(entry, _DIRECTORY, dir_fd=parent)

    def _make_way(self, name: str, parent: int) -> None:
        if not self._replace:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), name)
        self._remove_entry(name, parent)

    def _remove_entry(self, name: str, parent: int) -> None:
        entry = name.rpartition("/")[2]
        if stat.S_ISDIR(os.stat(entry, dir_fd=parent, follow_symlinks=False).st_mode):
            self._remove_directory(name, parent)
        else:
            os.unlink(entry, dir_fd=parent)

    def _remove_directory(self, name: str, parent: int) -> None:
        os.rmdir(name.rpartition("/")[2], dir_fd=parent)
        if (handle := self._handles.pop(name, None)) is not None:
            os.close(handle)
