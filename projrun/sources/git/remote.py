"""Commands that talk to the remote: broken connections are tried again, within limits."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import msgspec

from projrun.console import is_terminal, say
from projrun.disk.file_operations import write_atomically
from projrun.disk.repository_view import run_git
from projrun.documents.variables import read_number
from projrun.errors import SourceError
from projrun.processes.programs import ProgramResult
from projrun.sources.git.address import Address
from projrun.sources.git.git_command import can_ask, complaint, failure

TIMEOUT_VARIABLE = "PROJRUN_GIT_TIMEOUT"
LOOK_TIMEOUT_S = 120.0  # for asking which branches and tags there are
FETCH_TIMEOUT_S = 3600.0
PAUSES_S = (0.5, 1.5)  # before the second and the third attempt

_BROKEN_OFF = re.compile(
    r"early EOF|hung up|RPC failed|Connection (reset|closed)|closed by|Empty reply|unexpected disconnect"
    r"|transfer closed|bytes of body are still expected|returned error: (429|50[0234])"
    r"|curl (18|52|55|56|92)\b"
)
# What another attempt would not change, though the connection broke off after it
_FINAL = re.compile(
    r"returned error: 4(0\d|1\d)|Permission denied|Authentication|not found|access denied|not allowed"
)


def run_with_retries(
    address: Address,
    *arguments: str,
    cwd: Path,
    environ: Mapping[str, str],
    timeout_s: float = FETCH_TIMEOUT_S,
) -> ProgramResult:
    """Run a git command that talks to the remote; say so and try again when the connection breaks off.

    Where it may ask, it asks on our terminal; a command with `--progress` shows it there.
    """
    limit_s = read_number(TIMEOUT_VARIABLE, timeout_s)
    for pause_s in (*PAUSES_S, None):
        try:
            answer = run_git(
                *arguments, cwd=cwd, environ=environ, timeout_s=limit_s, on_terminal=_on_terminal(arguments)
            )
        except TimeoutError:
            raise SourceError(
                f"{address.url} did not answer within {limit_s:g} s",
                f"try again later, or set {TIMEOUT_VARIABLE} to wait longer",
            ) from None
        if answer.ok or pause_s is None or not _worth_another_try(answer):
            return answer
        why = complaint(answer, address.secret)
        say(f"the connection to {address.url} broke off ({why}); trying again in {pause_s:g} s")
        time.sleep(pause_s)
    raise AssertionError("the last attempt returns")


def progress_option() -> tuple[str, ...]:
    """Return the option that shows progress on a terminal and is quiet elsewhere."""
    return ("--progress",) if is_terminal(sys.stderr) else ("--quiet",)


def remote_failure(answer: ProgramResult, address: Address) -> SourceError:
    return failure(answer, address.url, address.secret)


def _on_terminal(arguments: tuple[str, ...]) -> bool:
    return can_ask() or "--progress" in arguments


def _worth_another_try(answer: ProgramResult) -> bool:
    return bool(_BROKEN_OFF.search(answer.stderr)) and not _FINAL.search(answer.stderr)


FILE = "names.json"
"""In a cached repository: what the remote was heard to say, for when it cannot be asked.

A file, not refs: a hostile name is text in it and nothing else.
"""


class Names(msgspec.Struct, frozen=True):
    """The refs that `git ls-remote --symref` listed."""

    ids: dict[str, str] = {}  # ref -> id; the commit that an annotated tag stands for is at `REF^{}`
    symbolic: dict[str, str] = {}

    def commit(self, ref: str) -> str:
        return self.ids.get(f"{ref}^{{}}") or self.ids[ref]

    def branch(self, ref: str) -> str:
        """Return the branch that `ref` is or, for HEAD, stands for."""
        name = self.symbolic.get(ref, ref)
        is_branch = name.startswith("refs/heads/") and name.isprintable()
        return name.removeprefix("refs/heads/") if is_branch else ""

    def short(self) -> list[str]:
        return [re.sub(r"^refs/(heads|tags)/", "", name) for name in self.ids if not name.endswith("^{}")]

    def meant_by(self, version: str) -> str:
        """Return the ref that git takes `version` ('' is the default branch) for; '' when there is none."""
        shapes = ("{}", "refs/{}", "refs/tags/{}", "refs/heads/{}", "refs/remotes/{}")
        candidates = [shape.format(version or "HEAD") for shape in shapes]
        return next((ref for ref in candidates if ref in self.ids), "")


def parse_names(text: str) -> Names:
    ids, symbolic = {}, {}
    for line in filter(None, text.split("\n")):
        what, _, name = line.partition("\t")
        if what.startswith("ref: "):
            symbolic[name] = what.removeprefix("ref: ")
        else:
            ids[name] = what
    return Names(ids, symbolic)


def read_names(bare: Path) -> Names:
    """Read the refs that the remote had when it was last asked; none if it never was."""
    try:
        return msgspec.json.decode((bare / FILE).read_bytes(), type=Names)
    except (OSError, msgspec.MsgspecError):
        return Names()


def write_names(bare: Path, names: Names) -> None:
    """Add refs to those that are stored; unchanged ones are not written again."""
    known = read_names(bare)
    news = Names({**known.ids, **names.ids}, {**known.symbolic, **names.symbolic})
    if news != known and bare.is_dir():
        write_atomically(bare / FILE, msgspec.json.encode(news))
