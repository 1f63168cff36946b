"""Download from s3://, gs:// and whatever else fsspec reads. No other file imports it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from projrun.console import one_line
from projrun.console.progress import Progress
from projrun.errors import InputError, ProjrunError, UnavailableError
from projrun.inputs import RunArtifacts
from projrun.net import without_secrets


def claims(url: str) -> bool:
    return True


def check(url: str) -> None:
    """Require a driver of fsspec for every protocol of the URL (`simplecache::s3://…` has two)."""
    for part in url.split("::"):
        _check_protocol(part.partition(":")[0].lower())


def _check_protocol(protocol: str) -> None:
    try:
        from fsspec import get_filesystem_class
    except ImportError:
        raise UnavailableError(
            f"{protocol}: needs fsspec, which is not installed", "install it: pip install 'projrun[remote]'"
        ) from None
    try:
        get_filesystem_class(protocol)
    except ValueError:
        hint = "download it yourself and give the local path"
        raise UnavailableError(f"nothing here can download from {protocol}:", hint) from None
    except ImportError as error:
        raise UnavailableError(
            f"{protocol}: needs a driver that is not installed: {one_line(str(error), 200)}",
            "install it beside projrun, or for s3: and gs: pip install 'projrun[remote]'",
        ) from None


def fetch(url: str, target: Path, run_artifacts: RunArtifacts, progress: Progress) -> None:
    from fsspec.core import url_to_fs

    try:
        filesystem, path = url_to_fs(url)
        if filesystem.isdir(path):
            _copy_directory(filesystem, path, target, progress)
        else:
            progress.total = int(filesystem.info(path).get("size") or 0)
            _copy_file(filesystem, path, target, progress)
    except FileNotFoundError:
        raise InputError("there is no such file", "check the address") from None
    except (ProjrunError, MemoryError):
        raise
    except ImportError as error:
        raise InputError(one_line(str(error), 200), "install what the driver needs beside projrun") from None
    except Exception as error:  # the drivers' exceptions have no base in common
        problem = one_line(without_secrets(str(error)), 300) or type(error).__name__
        raise InputError(problem, "check the address, the credentials and the network") from None


def _copy_directory(filesystem: Any, top: str, target: Path, progress: Progress) -> None:
    files: dict[str, dict[str, Any]] = filesystem.find(top, detail=True)
    progress.total = sum(int(info.get("size") or 0) for info in files.values())
    target.mkdir()
    for path in sorted(files):
        inside = path.removeprefix(top.rstrip("/")).strip("/")
        if any(part in ("", ".", "..") for part in inside.split("/")) or "\0" in inside:
            raise InputError(
                f"it holds a file with the name '{one_line(inside, 100)}', which leads elsewhere",
                "name a single file, or a directory without it",
            )
        (target / inside).parent.mkdir(parents=True, exist_ok=True)
        _copy_file(filesystem, path, target / inside, progress)


def _copy_file(filesystem: Any, path: str, target: Path, progress: Progress) -> None:
    with filesystem.open(path, "rb") as source, open(target, "xb") as file:
        progress.copy(source, file)
