"""Directory trees: the one walker, and the one matcher of patterns of names."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

# Told a path below the top and whether it is a directory: True leaves it out, with all that is below it
LeaveOut = Callable[[str, bool], bool]


def walk_tree(
    top: str | Path,
    leave_out: LeaveOut | None = None,
    *,
    with_environments: bool = True,
    skip_unreadable: bool = False,
) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Yield every file, link and empty directory with its path below `top`, in no order, following no links.

    Sockets, pipes and devices are left out. with_environments: False leaves out virtual environments,
    whatever they are called. Raises OSError for what cannot be read, unless that is to be skipped.
    """
    pending: list[tuple[str, str, os.DirEntry[str] | None]] = [(os.fspath(top), "", None)]
    while pending:
        directory, prefix, own_entry = pending.pop()
        try:
            with os.scandir(directory) as listing:
                entries = list(listing)
        except OSError:
            if skip_unreadable:
                continue
            raise
        if own_entry and not with_environments and any(entry.name == "pyvenv.cfg" for entry in entries):
            continue
        if own_entry and not entries:
            yield prefix[:-1], own_entry
        for entry in entries:
            path = prefix + entry.name
            try:
                is_directory = entry.is_dir(follow_symlinks=False)
                is_content = is_directory or entry.is_symlink() or entry.is_file()
            except OSError:
                if skip_unreadable:
                    continue
                raise
            if not is_content or (leave_out and leave_out(path, is_directory)):
                continue
            if is_directory:
                pending.append((entry.path, f"{path}/", entry))
            else:
                yield path, entry


def list_directories(parent: Path) -> list[Path]:
    """Return the directories in `parent` by name, without links to some; none where it cannot be read."""
    try:
        with os.scandir(parent) as listing:
            return sorted(Path(entry.path) for entry in listing if entry.is_dir(follow_symlinks=False))
    except OSError:
        return []


def list_files(root: Path) -> dict[str, Path]:
    """Return the files and links below `root` by their names below it, sorted; Git's own are left out."""
    entries = walk_tree(root, lambda path, _: path.rpartition("/")[2] == ".git", skip_unreadable=True)
    return {path: root / path for path, entry in sorted(entries) if not entry.is_dir(follow_symlinks=False)}


_PARTS = re.compile(r"\*\*/|/\*\*\Z|\*+|\?|\[[!^]?\]?[^\]]*\]|\\.|.", re.DOTALL)
_MEANINGS = {"**/": "(?:.*/)?", "/**": "/.*", "?": "[^/]"}


def rule_for(name: str, rules: Mapping[str, T], default: T) -> T:
    """Return the rule of the first pattern that matches `name`."""
    return next((rule for pattern, rule in rules.items() if matches(name, pattern)), default)


def matches(name: str, pattern: str) -> bool:
    """Return True if a path matches: `*` stays in a directory, `**` spans several.

    A pattern without a slash matches in every directory.
    """
    return _compiled(pattern).fullmatch(name) is not None


@lru_cache(256)
def _compiled(pattern: str) -> re.Pattern[str]:
    return compile_glob(pattern.lstrip("/"), anchored="/" in pattern, double_star=".*")


def compile_glob(pattern: str, *, anchored: bool, double_star: str) -> re.Pattern[str]:
    """Translate a pattern of shell and gitignore. double_star: the meaning of `**` beside other characters.

    Git takes such a `**` for `*`, and the rules of `verify` for any number of directories.
    """
    expressions: list[str] = []
    for part in _PARTS.findall(pattern):
        if part[0] == "*" and part != "**/":
            expressions.append(double_star if len(part) > 1 else "[^/]*")
        else:
            expressions.append(_MEANINGS.get(part) or _translate(part))
    return re.compile(("" if anchored else "(?:.*/)?") + "".join(expressions), re.DOTALL)


def _translate(part: str) -> str:
    if part[0] == "\\" and len(part) > 1:
        return re.escape(part[1])
    if part[0] == "[" and len(part) > 2:
        negated = part[1] in "!^"
        members = re.sub(r"([\\\[&~|])", r"\\\1", part[1 + negated : -1])
        try:
            re.compile(f"[{members}]")
        except re.error:  # such as `[z-a]`, which matches itself alone
            return re.escape(part)
        return f"[{'^/' if negated else ''}{members}]"
    return re.escape(part)
