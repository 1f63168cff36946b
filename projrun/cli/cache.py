"""projrun cache"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from projrun.cli.durations import age_s
from projrun.cli.verb import VerbGroup

if TYPE_CHECKING:
    from collections.abc import Sequence

    from projrun.cachebuckets import Entry

_SIZES = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_DEFAULT_AGE_S = 30 * 86400.0


@click.group(cls=VerbGroup)
def cache() -> None:
    """See what the cache holds, and take away what is no longer used.

    It holds repositories and checkouts, resolved locks, environments and downloads. All of it can be had
    again; runs and their artifacts are elsewhere.
    """


@cache.command()
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object; sizes in bytes, times in ms.")
def info(as_json: bool) -> None:
    """Show what is in the cache, its size and when it was last used."""
    from projrun.cachebuckets import entries
    from projrun.home import home_from
    from projrun.output import data

    home = home_from()
    found = entries(home)
    if as_json:
        data(_json({"directory": str(home.cache), "size": _total(found), "entries": _listed(found)}))
        return
    data(f"{home.cache}\n{_table(found)}" if found else f"{home.cache}: nothing is in it")


@cache.command()
@click.option(
    "--older-than", callback=age_s, metavar="AGE", help="Not used for so long: 12h, 30d, 4w. Default: 30d."
)
@click.option(
    "--max-size",
    default="",
    metavar="SIZE",
    help="Until no more is left, least recently used first: 500MB, 5GB.",
)
@click.option("--dry-run", is_flag=True, help="Show what would be taken away, and take nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object; sizes in bytes, times in ms.")
def prune(older_than: float | None, max_size: str, dry_run: bool, as_json: bool) -> None:
    """Take away what was not used for 30 days, or as the options say, and what killed runs left.

    Nothing that a run is using is taken. With --max-size alone, age does not matter.
    """
    from projrun.cachebuckets import prune as prune_cache
    from projrun.home import home_from
    from projrun.output import data, say

    if older_than is None and not max_size:
        older_than = _DEFAULT_AGE_S
    result = prune_cache(
        home_from(),
        older_than_s=older_than,
        max_size=bytes_of(max_size) if max_size else None,
        dry_run=dry_run,
    )
    if as_json:
        data(_json({"removed": _listed(result.removed), "left": _listed(result.left), "dry_run": dry_run}))
        return
    if result.removed:
        data(_table(result.removed))
    verb = "would take" if dry_run else "took"
    say(
        f"{verb} {len(result.removed)} away ({_human(_total(result.removed))}); "
        f"{len(result.left)} stay ({_human(_total(result.left))})"
    )


def bytes_of(text: str) -> int:
    import re

    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(I?)B?", text.strip().upper())
    if not match or (match[3] and not match[2]):
        raise click.UsageError(f"--max-size {text}: expected a size such as 500MB or 5GB.")
    unit = 1024 ** "KMGT".index(match[2]) * 1024 if match[3] else _SIZES[match[2]]
    return int(float(match[1]) * unit)


def _total(found: Sequence[Entry]) -> int:
    return sum(entry.size for entry in found)


def _listed(found: Sequence[Entry]) -> list[dict[str, Any]]:
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


def _state(entry: Entry) -> str:
    if entry.in_use:
        return "in use"
    if entry.lost:
        return "left by a killed run"
    return "kept" if entry.marks else "unused"


def _json(value: object) -> str:
    import json

    return json.dumps(value, indent=2)


def _table(found: Sequence[Entry]) -> str:
    import time

    from projrun.tables import table

    rows = [
        (
            entry.bucket,
            _name(entry),
            _human(entry.size),
            time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.used_at)),
            _state(entry),
        )
        for entry in found
    ]
    total = ("total", "", _human(_total(found)), "", "")
    return table(("BUCKET", "NAME", "SIZE", "LAST USED", "STATE"), [*rows, total])


def _name(entry: Entry) -> str:
    manager = f"{entry.path.parent.name}/" if entry.bucket == "envs-v1" else ""
    return f"{manager}{entry.path.name[:12]}"


def _human(size: int) -> str:
    """Bytes in the units that --max-size takes."""
    for unit, factor in reversed(_SIZES.items()):
        if size >= factor:
            return f"{size / factor:.1f} {unit}B" if unit else f"{size} B"
    return "0 B"
