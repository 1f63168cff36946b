"""projrun cache"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import click

from projrun.cli.verbs import VerbGroup, age_s, json_option, size
from projrun.console import json_text, print_data, say
from projrun.console.progress import format_size
from projrun.console.tables import format_table
from projrun.disk import cache_buckets, home_from
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
    home = home_from()
    entries = cache_buckets.entries(home)
    if as_json:
        facts = {"directory": str(home.cache), "size": _total(entries), "entries": _as_dicts(entries)}
        print_data(json_text(facts))
        return
    print_data(f"{home.cache}\n{_table(entries)}" if entries else f"{home.cache}: nothing is in it")


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
    if older_than is None and max_size is None:
        older_than = _DEFAULT_AGE_S
    result = cache_buckets.prune(home_from(), older_than_s=older_than, max_size=max_size, dry_run=dry_run)
    if as_json:
        facts = {"removed": _as_dicts(result.removed), "left": _as_dicts(result.left), "dry_run": dry_run}
        print_data(json_text(facts))
        return
    if result.removed:
        print_data(_table(result.removed))
    verb = "would take" if dry_run else "took"
    say(
        f"{verb} {len(result.removed)} away ({format_size(_total(result.removed))}); "
        f"{len(result.left)} stay ({format_size(_total(result.left))})"
    )


def _total(entries: Sequence[CacheEntry]) -> int:
    return sum(entry.size for entry in entries)


def _as_dicts(entries: Sequence[CacheEntry]) -> list[dict[str, Any]]:
    return [
        {
            "bucket": entry.bucket,
            "path": str(entry.path),
            "size": entry.size,
            "last_used": int(entry.used_at * 1000),
            "state": _state(entry),
        }
        for entry in entries
    ]


def _state(entry: CacheEntry) -> str:
    if entry.in_use:
        return "in use"
    if entry.lost:
        return "left by a killed run"
    return "kept" if entry.marks else "unused"


def _table(entries: Sequence[CacheEntry]) -> str:
    rows = [
        (
            entry.bucket,
            _name(entry),
            format_size(entry.size),
            time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.used_at)),
            _state(entry),
        )
        for entry in entries
    ]
    total = ("total", "", format_size(_total(entries)), "", "")
    return format_table(("BUCKET", "NAME", "SIZE", "LAST USED", "STATE"), [*rows, total])


def _name(entry: CacheEntry) -> str:
    # An environment is named by its key, which does not tell its manager
    manager = f"{entry.path.parent.name}/" if entry.bucket == "envs-v1" else ""
    return f"{manager}{entry.path.name[:12]}"
