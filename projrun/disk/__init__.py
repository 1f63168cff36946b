"""The directories of projrun: a cache that may be removed at any time, and data that may not."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec

CACHEDIR_TAG = """Signature: 8a477f597d28d172789f06886806bc55
# This directory is a cache of projrun. It may be removed at any time that no run is using it.
# For information about cache directory tags, see https://bford.info/cachedir/
"""

# Seconds for which an archive of a tree is kept that no run links to: a run may be about to
SOURCES_STAY_S = 24 * 3600.0


class Home(msgspec.Struct, frozen=True):
    """The two directories. Neither need exist; whoever writes below them makes them."""

    cache: Path
    data: Path

    @property
    def git(self) -> Path:
        return self.cache / "git-v1"

    @property
    def checkouts(self) -> Path:
        return self.cache / "checkouts-v1"

    @property
    def sources(self) -> Path:
        return self.cache / "sources-v1"

    @property
    def yaml(self) -> Path:
        return self.cache / "yaml-v1"

    @property
    def inputs(self) -> Path:
        return self.cache / "inputs-v1"

    @property
    def locks(self) -> Path:
        return self.cache / "locks-v1"

    @property
    def environments(self) -> Path:
        return self.cache / "envs-v1"

    @property
    def tracking_db(self) -> Path:
        return self.data / "tracking.db"

    @property
    def artifacts(self) -> Path:
        return self.data / "artifacts"

    @property
    def outbox(self) -> Path:
        return self.data / "outbox"

    @property
    def supervisors(self) -> Path:
        return self.data / "supervisors"

    def mark_cache(self) -> None:
        """Make the cache directory, with a tag that tells backup programs to skip it."""
        tag = self.cache / "CACHEDIR.TAG"
        if not tag.exists():
            self.cache.mkdir(parents=True, exist_ok=True)
            tag.write_text(CACHEDIR_TAG)


def home_from(environ: Mapping[str, str] = os.environ) -> Home:
    """Return the directories that PROJRUN_CACHE_DIR and PROJRUN_HOME name, else those of the platform."""
    cache = environ.get("PROJRUN_CACHE_DIR") or _platform_dir(environ, "XDG_CACHE_HOME", ".cache", "Caches")
    data = environ.get("PROJRUN_HOME") or _platform_dir(
        environ, "XDG_DATA_HOME", ".local/share", "Application Support"
    )
    return Home(Path(cache).absolute(), Path(data).absolute())


def _platform_dir(environ: Mapping[str, str], xdg: str, below_home: str, on_mac: str) -> Path:
    user = Path(environ.get("HOME") or os.path.expanduser("~"))
    if environ.get(xdg):
        return Path(environ[xdg]) / "projrun"
    return (user / "Library" / on_mac if sys.platform == "darwin" else user / below_home) / "projrun"
