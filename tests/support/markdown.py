"""Markdown pages as a reader follows them: their commands are run, and print what the pages show."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_VARIABLE = re.compile(
    r"(?P<run>\b[0-9a-f]{8}\b)|(?P<time>\b20\d\d-\d\d-\d\d [\d:]{8}( \d+\.\d\b)?)"
    r"|(?P<seconds>\b\d+\.\d s\b)|…"
)
_MEANS = {
    "run": r"([0-9a-f]{8})",
    "time": r"20\d\d-\d\d-\d\d [\d:]{8}(?: \d+\.\d)?",
    "seconds": r"\d+\.\d s",
    None: ".*",
}


@dataclass(frozen=True)
class Block:
    language: str
    """As after the fence: `console`, `python`, `yaml` …"""
    text: str
    line: int
    """Of the page, from 1, where its first line stands."""

    @property
    def end(self) -> int:
        """The line of the fence that closes it."""
        return self.line + self.text.count("\n")


class Command(NamedTuple):
    line: str
    shown: tuple[str, ...]
    """What the page shows of its output, in this order; `…` stands for anything."""


def blocks(page: Path) -> list[Block]:
    text = page.read_text()
    return [
        Block(found[1], found[2], text.count("\n", 0, found.start()) + 2) for found in _BLOCK.finditer(text)
    ]


def commands(text: str) -> list[str]:
    """The command lines of a console block: continued lines joined, without comments and empty lines."""
    lines = text.replace("\\\n", " ").splitlines()
    return [command for line in lines if (command := _without_comment(line))]


def told(page: Path) -> Iterator[Command]:
    """Every command; a text block right behind its console block shows what the last of that prints."""
    every = [*blocks(page), Block("", "", 0)]
    for block, following in pairwise(every):
        if block.language == "console":
            *lines, last = commands(block.text)
            is_output = following.language == "text" and following.line <= block.end + 3
            shown = following.text.splitlines() if is_output else []
            yield from (Command(line, ()) for line in lines)
            yield Command(last, tuple(line for line in shown if line.strip()))


@dataclass
class Reader:
    """places: what has another name here than on the page; ids of runs are added as they are printed."""

    directory: Path
    environ: Mapping[str, str]
    places: dict[str, str] = field(default_factory=dict)

    def run(self, command: Command, environ: Mapping[str, str] = MappingProxyType({})) -> str:
        """Its output, of both streams."""
        done = subprocess.run(
            ["bash", "-c", self._here(command.line)],
            cwd=self.directory,
            env={**self.environ, **environ},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert done.returncode == 0, f"{command.line}: {done.returncode}\n{done.stdout}"
        self._compare(command, done.stdout)
        return done.stdout

    def _here(self, text: str) -> str:
        for theirs, ours in self.places.items():
            text = text.replace(theirs, ours)
        return text

    def _compare(self, command: Command, output: str) -> None:
        lines = iter(_even(line) for line in output.splitlines())
        for shown in command.shown:
            wanted = re.compile(_pattern(self._here(_even(shown))))
            found = next((match for match in map(wanted.fullmatch, lines) if match), None)
            assert found, f"{command.line} does not print {shown!r} in its place:\n{output}"
            theirs = [match["run"] for match in _VARIABLE.finditer(_even(shown)) if match["run"]]
            self.places |= dict(zip(theirs, found.groups()))


def _without_comment(line: str) -> str:
    """A `#` inside a word, such as that of a URL, begins none; the pages quote none."""
    return re.split(r"(?:^|\s)#", line, maxsplit=1)[0].strip()


def _even(line: str) -> str:
    """Widths of columns depend on what stands in them."""
    return " ".join(line.split())


def _pattern(shown: str) -> str:
    pattern, at = "", 0
    for match in _VARIABLE.finditer(shown):
        pattern += re.escape(shown[at : match.start()]) + _MEANS[match.lastgroup]
        at = match.end()
    return pattern + re.escape(shown[at:])
