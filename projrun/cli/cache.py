"""projrun cache"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from projrun.cli.quantities import age_s, size
from projrun.cli.verb import VerbGroup

if TYPE_CHECKING:
    from collections.abc import Sequence

    from projrun.disk.cache_buckets import CacheEntry

_DEFAULT_AGE_S = 30 * 86400.0


@click.group(cls=VerbGroup)
def cache() -> None:
    """See what the cache holds, and take away what is no longer used.

    It holds repositories, checkouts and archives of trees, resolved locks, environments and downloads. All
    of it can be had again; runs and their artifacts are elsewhere.
    """


@cache.command()
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object; sizes in bytes, times in ms.")
def info(as_json: bool) -> None:
    """Show what is in the cache, its size and when it was last used."""
    from projrun.console import json_text, print_data
    from projrun.disk import home_from
    from projrun.disk.cache_buckets import entries

    home = home_from()
    found = entries(home)
    if as_json:
        print_data(
            json_text({"directory": str(home.cache), "size": _total(found), "entries": _listed(found)})
        )
        return
    print_data(f"{home.cache}\n{_table(found)}" if found else f"{home.cache}: nothing is in it")


@cache.command()
@click.option(
    "--older-than", callback=age_s, metavar="AGE", help="Not used for so long: 12h, 30d, 4w. Default: 30d."
)
@click.option(
    "--max-size",
    callback=size,
    metavar="SIZE",
    help="Until no more is left, least recently used first: 500MB, 5GB.",
)
@click.option("--dry-run", is_flag=True, help="Show what would be taken away, and take nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object; sizes in bytes, times in ms.")
def prune(older_than: float | None, max_size: int | None, dry_run: bool, as_json: bool) -> None:
    """Take away what was not used for 30 days, or as the options say, and what killed runs left.

    Nothing that a run is using is taken. With --max-size alone, age does not matter.
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


def _total(found: Sequence[CacheEntry]) -> int:
    return sum(entry.size for entry in found)


def _listed(found: Sequence[CacheEntry]) -> list[dict[str, Any]]:
    return [
        {
            "bucket": entry.bucket,
            "path": str(entry.path),
            "size": entry.size,
            "last_used": int(entry.used_at * 1000),
            "state": _state(entry),
        }
        for entry in found
    ]


def _state(entry: CacheEntry) -> str:
    if entry.in_use:
        return "in use"
    if entry.lost:
        return "left by a killed run"
    return "kept" if entry.marks else "unused"


def _table(found: Sequence[CacheEntry]) -> str:
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
        for entry in found
    ]
    total = ("total", "", format_size(_total(found)), "", "")
    return format_table(("BUCKET", "NAME", "SIZE", "LAST USED", "STATE"), [*rows, total])


def _name(entry: CacheEntry) -> str:
    manager = f"{entry.path.parent.name}/" if entry.bucket == "envs-v1" else ""
    return f"{manager}{entry.path.name[:12]}"
