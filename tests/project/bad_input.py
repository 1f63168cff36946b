"""A process of its own that reads bad files: `python -m tests.project.bad_input SEED COUNT`, or `… NAME`.

Prints JSON: how many files were read and refused, the slowest (seconds), by how much memory grew (bytes).
"""

from __future__ import annotations

import json
import random
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from projrun.errors import ProjectError, ProjrunError
from projrun.project import read_project
from projrun.project.command import render_command
from projrun.project.validate import check_project
from projrun.project.validate.findings import MAX_FINDINGS
from tests.project.corpus import CASES

Files = dict[str, bytes]

MEGABYTE = 1_000_000
BODIES = sorted({text.encode() for case in CASES for text in case.files.values() if text})
PIECES = (
    *b"' \" { } [ ] : , - # & * ! ? | > << null ~ %TAG @ ` $( {x} {{ }} \\ <<E 1e999 2001-99-99 0x".split(
        b" "
    ),
    *(b"\n", b"\r\n", b"\t", b"\0", b"\xff", b"\xef\xbb\xbf", b"  ", b"\xe2\x80\xa8", b"\xed\xa0\x80"),
    *(b"&a [*a]", b"*a", b"!!python/object:os.system", b"!!set", b"!!binary =", b"---\n", b"...\n"),
    *b"name entry_points main parameters command type default choices min max flag output required".split(),
    *b"python_env conda_env docker_env image volumes python dependencies pip channels".split(),
)


def mutated(seed: int, count: int) -> Iterator[Files]:
    chance = random.Random(seed)
    for _ in range(count):
        body = chance.choice(BODIES)
        for _ in range(chance.randint(1, 5)):
            body = chance.choice(MUTATIONS)(body, chance)
        yield chance.choice(PLACES)(body)


def _insert(body: bytes, chance: random.Random) -> bytes:
    at = chance.randint(0, len(body))
    return body[:at] + chance.choice(PIECES) + body[at + chance.choice((0, 0, 1, 3)) :]


def _flip(body: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(body) or 1)
    return body[:at] + bytes([chance.randrange(256)]) + body[at + 1 :]


def _repeat(body: bytes, chance: random.Random) -> bytes:
    start, end = sorted(chance.randint(0, len(body)) for _ in "ab")
    return body[:end] + body[start:end] * chance.choice((1, 2, 50)) + body[end:]


def _cut(body: bytes, chance: random.Random) -> bytes:
    start, end = sorted(chance.randint(0, len(body)) for _ in "ab")
    return body[:start] + body[end:]


def _shuffle(body: bytes, chance: random.Random) -> bytes:
    lines = body.split(b"\n")
    chance.shuffle(lines)
    return b"\n".join(lines)


def _indent(body: bytes, chance: random.Random) -> bytes:
    lines = body.split(b"\n")
    at = chance.randrange(len(lines))
    lines[at] = b" " * chance.randint(0, 9) + lines[at].lstrip()
    return b"\n".join(lines)


def _encode(body: bytes, chance: random.Random) -> bytes:
    return body.decode(errors="replace").encode(chance.choice(("utf-16", "utf-16-be", "utf-32", "utf-8-sig")))


def _splice(body: bytes, chance: random.Random) -> bytes:
    other = chance.choice(BODIES)
    return body[: chance.randint(0, len(body))] + other[chance.randint(0, len(other)) :]


MUTATIONS: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    *(_insert, _insert, _insert, _flip, _repeat, _cut, _shuffle, _indent, _indent, _encode, _splice),
)
PLACES: tuple[Callable[[bytes], Files], ...] = (
    lambda body: {"MLproject": body},
    lambda body: {"MLproject": body},
    lambda body: {"MLproject": b"python_env: env.yaml\n", "env.yaml": body},
    lambda body: {"MLproject": b"conda_env: env.yaml\n", "env.yaml": body},
    lambda body: {"python_env.yaml": b"dependencies: [-r more.txt]\n", "more.txt": body},
)


def _command(body: bytes) -> bytes:
    """The longest that is read."""
    text = json.dumps(body.decode()[:99_000]).encode()
    return b"entry_points: {main: {parameters: {a: str, b: int}, command: " + text + b"}}\n"


def _many(line: str) -> bytes:
    lines: list[str] = []
    size = 0
    while size < MEGABYTE - 200:
        lines.append(line.format(n=len(lines)))
        size += len(lines[-1])
    return "".join(lines).encode()


def _full(piece: bytes) -> bytes:
    return piece * ((MEGABYTE - 200) // len(piece))


MAIN = b"entry_points:\n  main:\n    command: p\n    parameters:\n"
HEAVY: dict[str, Callable[[], bytes]] = {
    "deep_flow": lambda: b"a: " + b"[" * 300_000,
    "deep_flow_closed": lambda: b"a: " + b"[" * 400_000 + b"]" * 400_000,
    "deep_maps": lambda: b"{a: " * 200_000,
    "deep_block": lambda: b"".join(b" " * n + b"a:\n" for n in range(1_300)),
    "deep_sequence": lambda: b"- " * 400_000,
    "alias_bomb": lambda: (
        b"a0: &a0 [x, x]\n"
        + b"".join(b"a%d: &a%d [%s]\n" % (n, n, b",".join([b"*a%d" % (n - 1)] * 9)) for n in range(1, 30))
    ),
    "merge_bomb": lambda: (
        b"a0: &a0 {k0: 1}\n"
        + b"".join(b"a%d: &a%d {<<: [*a%d, *a%d], k%d: 1}\n" % (n, n, n - 1, n - 1, n) for n in range(1, 35))
    ),
    "alias_of_itself": lambda: b"a: &a [*a]\nentry_points: &e {main: *e}\n",
    "large": lambda: b"a" * 30 * MEGABYTE,
    "keys": lambda: _many("key{n}: 1\n"),
    "same_key": lambda: _many("k: 1\n"),
    "nulls": lambda: b"\0" * MEGABYTE,
    "utf16": lambda: ("name: é\n" + "# é\n" * 100_000).encode("utf-16"),
    "utf16_odd": lambda: "name: é\n".encode("utf-16")[:-1],
    "blanks": lambda: b" " * MEGABYTE,
    "line_ends": lambda: _full(b"\r"),
    "name": lambda: b"name: " + _full(b"a b "),
    "digits": lambda: b"name: " + _full(b"7"),
    "parameters": lambda: MAIN + _many("      p{n}: int\n")[: -len(MAIN) - 20],
    "bad_parameters": lambda: MAIN + _many("      p{n}: {{min: x}}\n")[:-200] + b"}\n",
    "entry_points": lambda: b"entry_points:\n" + _many("  step{n}: {{command: 'p {{a}}'}}\n")[:-60] + b"\n",
    "long_names": lambda: MAIN + b"".join(b"      %s%d: int\n" % (b"x" * 9_000, n) for n in range(100)),
    "undeclared": lambda: _command(_full(b"{aa} "))[:MEGABYTE],
    "placeholders": lambda: _command(_full(b"{a} ")),
    "near_names": lambda: (
        MAIN.replace(b"p\n", b"p " + b"".join(b"{parametex%d} " % n for n in range(4_000)) + b"\n")
        + b"".join(b"      parameter%d: int\n" % n for n in range(4_000))
    ),
    "option_lines": lambda: b"entry_points: {main: {command: " + _full(b"p\n\n --a b")[:98_000] + b"}}",
    "option_lines_literal": lambda: (
        b"entry_points:\n  main:\n    command: |\n" + _full(b"      --a b\n")[:98_000]
    ),
    "quotes": lambda: _command(_full(b"'")),
    "substitutions": lambda: _command(_full(b"$(")),
    "braces": lambda: _command(_full(b"{")),
    "backslashes": lambda: (
        b"entry_points: {main: {command: " + json.dumps("\\ {x} " * 16_000).encode() + b"}}"
    ),
    "escapes": lambda: b'entry_points: {main: {command: "' + _full(b"\\x41\\n{x}")[:80_000] + b'"}}',
    "choices": lambda: MAIN + b"      a: {type: int, choices: [" + _full(b"1,")[:190_000] + b"]}\n",
}


def answer(directory: Path) -> bool:
    """Tell whether the project can be read, and check that every complaint names its file."""
    assert len(check_project(directory)) <= MAX_FINDINGS
    try:
        project = read_project(directory)
    except ProjectError as error:
        assert error.file and "\n" not in str(error), repr(str(error))
        return False
    for name in list(project.entry_points)[:50]:
        try:
            entry_point = project.entry_point(name)
            render_command(entry_point, dict.fromkeys(entry_point.parameters, "1"), caller=directory)
        except ProjrunError as error:
            assert str(error)
    return True


def report(projects: Iterable[Files]) -> dict[str, float]:
    counts, slowest, before = [0, 0], 0.0, _memory()
    for files in projects:
        with tempfile.TemporaryDirectory() as directory:
            for name, content in files.items():
                Path(directory, name).write_bytes(content)
            started = time.monotonic()
            try:
                counts[answer(Path(directory))] += 1
            except BaseException:
                print(repr(files)[:2000], file=sys.stderr)
                raise
            slowest = max(slowest, time.monotonic() - started)
    return {"read": counts[1], "refused": counts[0], "slowest": slowest, "grown": _memory() - before}


def _memory() -> int:
    """The most that this process has used, in bytes."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


if __name__ == "__main__":
    first, *rest = sys.argv[1:]
    print(json.dumps(report(mutated(int(first), int(rest[0])) if rest else [{"MLproject": HEAVY[first]()}])))
