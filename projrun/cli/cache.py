"""projrun cache"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from projrun.cli.options import age_s, json_option, size
from projrun.cli.verbs import VerbGroup

if TYPE_CHECKING:
    from collections.abc import Sequence

    from projrun.disk.cache_buckets import CacheEntry

_DEFAULT_AGE_S = 30 * 86400.0


@click.group(cls=VerbGroup)
def cache() -> None:
    """Show what is in the cache, and remove what is no longer used.

    The cache holds repositories, checkouts, archives, resolved locks, environments and downloads. projrun can
    fetch or build all of it again; runs and their artifacts are stored elsewhere.
    """


@cache.command()
@json_option("Print a JSON object; sizes in bytes, times in ms.")
def info(as_json: bool) -> None:
    """Show what is in the cache, its size and when it was last used."""
    from projrun.console import json_text, print_data
    from projrun.disk import home_from
    from projrun.disk.cache_buckets import entries

    home = home_from()
    cached = entries(home)
    if as_json:
        print_data(
            json_text({"directory": str(home.cache), "size": _total(cached), "entries": _listed(cached)})
        )
        return
    print_data(f"{home.cache}\n{_table(cached)}" if cached else f"{home.cache}: nothing is in it")


@cache.command()
@click.option(
    "--older-than",
    callback=age_s,
    metavar="AGE",
    help="Remove what was not used for this long: 12h, 30d, 4w. Default: 30d.",
)
@click.option(
    "--max-size",
    callback=size,
    metavar="SIZE",
    help="Remove the least recently used until the rest fits: 500MB, 5GB.",
)
@click.option("--dry-run", is_flag=True, help="Show what would be removed, and remove nothing.")
@json_option("Print a JSON object; sizes in bytes, times in ms.")
def prune(older_than: float | None, max_size: int | None, dry_run: bool, as_json: bool) -> None:
    """Remove what was not used for 30 days, or as the options say, and what killed runs left behind.

    Nothing that a run is using is removed. With --max-size alone, age does not matter.
    """
    from projrun.console import json_text, print_data, say
    from projrun.console.progress import format_size
    from projrun.disk import home_from
    from projrun.disk.cache_buckets import prune as prune_cache

    if older_than is None and max_size is None:
        older_than = _DEFAULT_AGE_S
    result = prune_cache(home_from(), older_than_s=older_than, max_size=max_size, dry_run=dry_run)
    if as_json:
        print_data(
            json_text({"removed": _listed(result.removed), "left": _listed(result.left), "dry_run": dry_run})
        )
        return
    if result.removed:
        print_data(_table(result.removed))
    verb = "would take" if dry_run else "took"
    say(
        f"{verb} {len(result.removed)} away ({format_size(_total(result.removed))}); "
        f"{len(result.left)} stay ({format_size(_total(result.left))})"
    )


def _total(cached: Sequence[CacheEntry]) -> int:
    return sum(entry.size for entry in cached)


def _listed(cached: Sequence[CacheEntry]) -> list[dict[str, Any]]:
    return [
        {
            "bucket": entry.bucket,
            "path": str(entry.path),
            "size": entry.size,
            "last_used": int(entry.used_at * 1000),
            "state": _state(entry),
        }
        for entry in cached
    ]


def _state(entry: CacheEntry) -> str:
    if entry.in_use:
        return "in use"
    if entry.lost:
        return "left by a killed run"
    return "kept" if entry.marks else "unused"


def _table(cached: Sequence[CacheEntry]) -> str:
    import time

    from projrun.console.progress import format_size
    from projrun.console.tables import format_table

    rows = [
        (
            entry.bucket,
            _name(entry),
            format_size(entry.size),
            time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.used_at)),
            _state(entry),
        )
        for entry in cached
    ]
    total = ("total", "", format_size(_total(cached)), "", "")
    return format_table(("BUCKET", "NAME", "SIZE", "LAST USED", "STATE"), [*rows, total])


def _name(entry: CacheEntry) -> str:
    manager = f"{entry.path.parent.name}/" if entry.bucket == "envs-v1" else ""
    return f"{manager}{entry.path.name[:12]}"
