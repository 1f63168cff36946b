"""Code blocks of Markdown pages, and the commands in them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    language: str
    """As after the fence: `console`, `python`, `yaml` …"""
    text: str
    line: int
    """Of the page, from 1, where its first line stands."""


def blocks(page: Path) -> list[Block]:
    text = page.read_text()
    return [
        Block(found[1], found[2], text.count("\n", 0, found.start()) + 2) for found in _BLOCK.finditer(text)
    ]


def commands(text: str) -> list[str]:
    """The command lines of a console block: continued lines joined, without comments and empty lines."""
    lines = text.replace("\\\n", " ").splitlines()
    return [command for line in lines if (command := _without_comment(line))]


def _without_comment(line: str) -> str:
    """A `#` inside a word, such as that of a URL, begins none; the pages quote none."""
    return re.split(r"(?:^|\s)#", line, maxsplit=1)[0].strip()
