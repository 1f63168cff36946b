"""A README as a newcomer follows it: its commands are run, what they print is held against what it shows."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

_BLOCK = re.compile(r"^```console\n(.*?)^```\n(?:\s*^```text\n(.*?)^```\n)?", re.MULTILINE | re.DOTALL)
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


class Command(NamedTuple):
    line: str
    shown: tuple[str, ...]
    """What the README shows of its output, in this order; `…` stands for anything."""


def commands(readme: str) -> Iterator[Command]:
    """A line of a console block each; a text block right behind it shows what its last line prints."""
    for block, shown in _BLOCK.findall(readme):
        *lines, last = re.sub(r" \\\n\s*", " ", block).splitlines()
        yield from (Command(line, ()) for line in lines)
        yield Command(last, tuple(line for line in shown.splitlines() if line.strip()))


@dataclass
class Reader:
    """places: what has another name here than in the README; ids of runs are added as they are printed."""

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


def _even(line: str) -> str:
    """Widths of columns depend on what stands in them."""
    return " ".join(line.split())


def _pattern(shown: str) -> str:
    pattern, at = "", 0
    for match in _VARIABLE.finditer(shown):
        pattern += re.escape(shown[at : match.start()]) + _MEANS[match.lastgroup]
        at = match.end()
    return pattern + re.escape(shown[at:])
