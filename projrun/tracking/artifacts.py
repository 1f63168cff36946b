"""Artifacts as files below one directory per run. No path and no symbolic link leads out of it."""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PureWindowsPath
from typing import BinaryIO

from projrun.disk.file_operations import remove_tree
from projrun.errors import TrackingError
from projrun.tracking import Store
from projrun.tracking.entities import ArtifactInfo
from projrun.tracking.limits import (
    MAX_ARTIFACT_LOCATION,
    check_text,
    check_text_length,
    invalid_parameter,
    not_found,
    quote_short,
)

UPLOAD_PREFIX = ".upload-"
ABANDONED_S = 24 * 3600


class ArtifactDirectory:
    """The artifacts of one run or model: `root / name`. The directory need not exist."""

    def __init__(self, root: Path, name: str) -> None:
        self._root = root.resolve()
        self._base = self._root / name

    def list_entries(self, path: str) -> list[ArtifactInfo]:
        """List the directory `path` ('' for the top); a file or a missing path gives nothing."""
        directory = self.resolve_path(path) if path else self._base
        try:
            if self._base.is_symlink() or not directory.is_dir():
                return []
            entries = sorted(os.scandir(directory), key=lambda entry: entry.name)
        except OSError as error:
            raise _failed(error, path) from None
        prefix = f"{path}/" if path else ""
        infos = (self._info(Path(entry.path), prefix + entry.name) for entry in entries)
        return [info for info in infos if info is not None]

    @contextmanager
    def open_file(self, path: str) -> Iterator[BinaryIO]:
        try:
            # NONBLOCK: opening a named pipe would wait for its writer.
            descriptor = os.open(self.resolve_path(path), os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
        except FileNotFoundError:
            raise _missing(path) from None
        except OSError as error:
            raise _failed(error, path) from None
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise invalid_parameter(f"the artifact {quote_short(path)} is not a file")
        with open(descriptor, "rb") as file:
            yield file

    def write(self, path: str, content: bytes | Iterable[bytes]) -> None:
        target = self.prepare_file(path)
        temporary = self._root / f"{UPLOAD_PREFIX}{os.urandom(16).hex()}"  # outside of what is listed
        try:
            with open(temporary, "xb") as file:
                file.writelines([content] if isinstance(content, bytes) else content)
            os.replace(temporary, target)
        except OSError as error:
            raise _failed(error, path) from None
        finally:
            temporary.unlink(missing_ok=True)

    def prepare_file(self, path: str) -> Path:
        """Return the path to write the file `path` to, and create its directory."""
        target = self.resolve_path(path)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            is_directory = target.is_dir()
        except OSError as error:
            raise _failed(error, path) from None
        if is_directory:
            raise invalid_parameter(f"the artifact {quote_short(path)} is a directory")
        return target

    def delete(self, path: str) -> None:
        """Remove a file or a directory with all that is in it; of a link, the link alone."""
        *parents, name = split_artifact_path(path)
        parent = self.resolve_path("/".join(parents)) if parents else self._base
        target = parent / name
        if self._base.is_symlink() or not os.path.lexists(target):
            raise _missing(path)
        try:
            remove_tree(target)
        except OSError as error:
            raise _failed(error, path) from None

    def resolve_path(self, path: str) -> Path:
        """Return the path of the file behind `path`, links followed; it need not exist."""
        target = self._base.joinpath(*split_artifact_path(path))
        try:
            real = target.resolve()
        except (OSError, RuntimeError) as error:  # RuntimeError: links in a circle, before Python 3.13
            raise invalid_parameter(
                f"the artifact path {quote_short(path)} cannot be followed: {error}"
            ) from None
        if self._base not in real.parents:
            raise invalid_parameter(f"the artifact path {quote_short(path)} leads out of the run's artifacts")
        return real

    def _info(self, file: Path, path: str) -> ArtifactInfo | None:
        """Describe an entry; None for one that is neither a file nor a directory of this run."""
        try:
            real = file.resolve()
            status = real.stat()
        except (OSError, RuntimeError):
            return None
        if self._base not in real.parents or not _is_text(path):
            return None
        if stat.S_ISDIR(status.st_mode):
            return ArtifactInfo(path, True, None)
        return ArtifactInfo(path, False, status.st_size) if stat.S_ISREG(status.st_mode) else None


def remove_abandoned_uploads(root: Path) -> int:
    """Remove what killed uploads left, a day after their last byte. Return the number of files."""
    count = 0
    for file in root.glob(f"{UPLOAD_PREFIX}*"):
        try:
            if file.lstat().st_mtime < time.time() - ABANDONED_S:
                file.unlink()
                count += 1
        except OSError:  # another process sweeps too
            continue
    return count


def split_artifact_path(path: str) -> list[str]:
    check_text("artifact path", path)
    segments = path.split("/")
    if "\0" in path or any(segment in ("", ".", "..") for segment in segments) or _leads_out_on_windows(path):
        raise invalid_parameter(
            f"the artifact path {quote_short(path)} is not a relative path of plain names",
            "use one such as plots/a.png",
        )
    return segments


def _leads_out_on_windows(path: str) -> bool:
    # Clients on Windows write downloads to the path that they are told.
    windows_path = PureWindowsPath(path)
    return bool(windows_path.drive or windows_path.root) or ".." in windows_path.parts


def _is_text(path: str) -> bool:
    try:
        check_text("artifact path", path)
    except TrackingError:
        return False
    return True


def _missing(path: str) -> TrackingError:
    return not_found(f"there is no artifact {quote_short(path)}")


def _failed(error: OSError, path: str) -> TrackingError:
    if isinstance(error, (NotADirectoryError, IsADirectoryError, FileExistsError)):
        return invalid_parameter(f"the artifact path {quote_short(path)}: {error.strerror}")
    if isinstance(error, FileNotFoundError):
        return _missing(path)
    if error.errno == errno.ENAMETOOLONG:
        return invalid_parameter(f"the artifact path {quote_short(path)} is too long")
    return TrackingError(
        f"the artifact {quote_short(path)}: {error.strerror or error}",
        "look at the space and the rights in PROJRUN_HOME",
    )


def walk_artifacts(store: Store, run_id: str, directory: str = "") -> Iterator[ArtifactInfo]:
    """Yield every file, directory after directory."""
    for info in store.list_artifacts(run_id, directory):
        if info.is_dir:
            yield from walk_artifacts(store, run_id, info.path)
        else:
            yield info


LOCATION_SCHEMES = ("abfss", "dbfs", "file", "gs", "hdfs", "r2", "s3", "viewfs", "wasb", "wasbs")


def normalize_location(location: str, root_uri: str) -> str:
    """Return `location` as a URI without a slash at its end, a plain path as a file URI, '' as ''."""
    check_text_length("artifact location", location, MAX_ARTIFACT_LOCATION)
    if not location:
        return ""
    scheme, colon, rest = location.partition(":")
    if not colon or "/" in scheme:
        return Path(location).absolute().as_uri()
    if scheme.lower() not in LOCATION_SCHEMES or not rest.strip("/"):
        raise invalid_parameter(
            f"the artifact location {quote_short(location)} is of no kind that clients may be sent to",
            f"leave it out, or use one of {', '.join(LOCATION_SCHEMES)}",
        )
    if any(char in location for char in "?#\\") or ".." in rest.split("/"):
        raise invalid_parameter(
            f"the artifact location {quote_short(location)} has '..', '?', '#' or a backslash in it"
        )
    if location.startswith(root_uri):
        raise invalid_parameter(
            f"the artifact location {quote_short(location)} is projrun's own directory", "leave it out"
        )
    return location.rstrip("/")
