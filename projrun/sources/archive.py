"""Projects in a zip or tar archive, on this machine or behind http: unpacked for one run."""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from pathlib import Path

from projrun.console import one_line
from projrun.disk import Home, file_operations
from projrun.disk.file_operations import sha256_file
from projrun.errors import SourceError
from projrun.net import without_secrets
from projrun.net.web_client import is_web_url
from projrun.plan import Checkout, Source
from projrun.record import BUNDLE_RECORD, BUNDLE_TREE, from_json
from projrun.sources.checkouts import new_checkout_directory
from projrun.sources.location import Location, directory_within, path_of

SUFFIX = re.compile(r"\.(zip|tar|tar\.gz|tgz|tar\.bz2|tbz2?|tar\.xz|txz)\Z", re.IGNORECASE)
_MACOS = "__MACOSX"  # Finder adds it to a zip


def locate(uri: str) -> Location | None:
    # an existing file wins, even with a `#` in its name
    archive, _, subdirectory = (uri, "", "") if os.path.isfile(uri) else uri.partition("#")
    is_url = re.match(r"(https?|file)://", archive, re.IGNORECASE) is not None
    path = archive.partition("?")[0] if is_url else archive
    if not SUFFIX.search(path):
        return None
    if not is_url and not os.path.isfile(archive) and re.match(r"[^/]*:", archive):
        return None  # another scheme, or HOST:PATH
    return Location(archive, subdirectory=subdirectory, uri=uri)


def fetch(
    location: Location,
    version: str,
    home: Home,
    sha256: str = "",
    *,
    offline: bool = False,
    looking: bool = False,
) -> Checkout:
    """Unpack an archive. sha256: the digest that it must have, 64 hex digits; '' accepts any."""
    archive, subdirectory = location.base, location.subdirectory
    shown = without_secrets(archive)  # the name of the archive in messages
    if version:
        raise SourceError(f"{shown} is an archive, which has no version '{version}'", "leave -v out")
    with new_checkout_directory(home, SUFFIX.sub("", _file_name(archive)) or "project") as root:
        try:
            digest, top = _unpack(archive, root, sha256, offline)
        except SourceError as error:
            raise SourceError(one_line(f"{shown}: {error.message}"), error.hint) from None
        record = root / top.rpartition("/")[0] / BUNDLE_RECORD
        is_bundle = bool(top) and record.is_file()
        if is_bundle:
            subdirectory = subdirectory or from_json(record.read_bytes()).plan.source.subdirectory
        name = root.name if is_bundle and top == BUNDLE_TREE else top.partition("/")[0]
        root = _replace_by_subdirectory(root, top, name)
        subdirectory, uri = subdirectory.strip("/"), without_secrets(location.uri)
        source = Source(kind="archive", uri=uri, subdirectory=subdirectory, sha256=digest)
        directory = directory_within(root, source.subdirectory, shown)
        return Checkout(source=source, root=root, directory=directory, temporary=True)


def _top_of(names: Collection[str]) -> str:
    """Return the directory of the archive that holds the project, '' for all of it.

    It is the only one at the top, as in an sdist or an archive of a Git server; in a bundle, the source.
    """
    entries = {name.partition("/")[0] for name in names} - {_MACOS}
    only_entry = next(iter(entries)) if len(entries) == 1 else ""
    top = only_entry if _has_files(only_entry, names) else ""
    prefix = f"{top}/" if top else ""
    if f"{prefix}{BUNDLE_RECORD}" not in names:
        return top
    if not _has_files(f"{prefix}{BUNDLE_TREE}", names):
        raise SourceError("the bundle has no source", "make one with `projrun bundle RUN -o FILE`")
    return f"{prefix}{BUNDLE_TREE}"


def _has_files(directory: str, names: Collection[str]) -> bool:
    return any(name.startswith(f"{directory}/") for name in names)


def _replace_by_subdirectory(root: Path, top: str, name: str) -> Path:
    """Move the directory `top` below `root` to the place of `root`, and call it `name`."""
    if not top:
        file_operations.remove_tree(root / _MACOS)
        return root
    aside = root.parent / ".inner"
    os.rename(root / top, aside)
    file_operations.remove_tree(root)
    os.rename(aside, root.parent / name)
    return root.parent / name


def _file_name(archive: str) -> str:
    name = archive.partition("?")[0].rstrip("/").rsplit("/", 1)[-1]
    return re.sub(r"[^\w.-]", "-", name).lstrip(".-") or "project"


def _unpack(archive: str, root: Path, sha256: str, offline: bool) -> tuple[str, str]:
    """Unpack the archive into `root`; return its digest and the directory of the project in it."""
    from projrun.disk.unpack import ArchiveLimits, unpack

    limits = ArchiveLimits.from_environment()
    is_remote = is_web_url(archive)
    path = path_of(archive) if archive.lower().startswith("file://") else archive
    file = root.parent / ".download" if is_remote else Path(path)
    if is_remote and offline:
        raise SourceError("it would have to be downloaded, and --offline forbids it", "give a local copy")
    if is_remote:
        _download(archive, file, limits.total or 0)
    elif not file.is_file():
        raise SourceError("there is no such file", "check the path")
    digest = sha256_file(file)
    if sha256 and digest != sha256.lower():
        raise SourceError(
            f"its sha256 is {digest}, not {sha256.lower()}", "it is not the archive that you asked for"
        )
    top = unpack(file, root, limits, _top_of)
    if is_remote:
        file.unlink()
    return digest, top


def _download(url: str, file: Path, limit: int) -> None:
    from projrun.console.progress import Progress
    from projrun.net.web_client import WebError, is_valid_url, open_url

    if not is_valid_url(url):
        raise SourceError("it is not a URL of a web server", "write https://host/path, %20 for a blank")
    try:
        with open_url(url) as response, open(file, "xb") as target, Progress(_file_name(url)) as progress:
            progress.copy_response(_LimitedResponse(response, limit), target)
    except WebError as error:
        raise SourceError(error.message, error.hint) from None


class _LimitedResponse:
    """A response of which no more than `limit` bytes are read: a server may send without end."""

    def __init__(self, response: object, limit: int) -> None:
        self._response, self._left = response, limit
        self.headers = response.headers  # type: ignore[attr-defined]

    def read(self, size: int) -> bytes:
        chunk: bytes = self._response.read(size)  # type: ignore[attr-defined]
        self._left -= len(chunk)
        if self._left < 0:
            raise SourceError("it is larger than is allowed", "if you trust it, set PROJRUN_ARCHIVE_LIMIT")
        return chunk
