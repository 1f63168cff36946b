"""The branches and tags of a remote repository, as it names them."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from projrun.files import write_atomically

FILE = "names.json"
"""In a cached repository: what the remote was heard to say, for when it cannot be asked.

A file, not refs: a hostile name is text in it and nothing else.
"""


class Names(msgspec.Struct, frozen=True):
    """What `git ls-remote --symref` said."""

    ids: dict[str, str] = {}
    """Ref -> id; the commit that an annotated tag stands for is at `REF^{}`."""
    symbolic: dict[str, str] = {}

    def commit(self, ref: str) -> str:
        return self.ids.get(f"{ref}^{{}}") or self.ids[ref]

    def branch(self, ref: str) -> str:
        """The branch that `ref` is or, for HEAD, stands for."""
        name = self.symbolic.get(ref, ref)
        is_branch = name.startswith("refs/heads/") and name.isprintable()
        return name.removeprefix("refs/heads/") if is_branch else ""

    def short(self) -> list[str]:
        return [re.sub(r"^refs/(heads|tags)/", "", name) for name in self.ids if not name.endswith("^{}")]

    def meant_by(self, version: str) -> str:
        """The ref that git would take `version` ('' is the default branch) for; '' when there is none."""
        shapes = ("{}", "refs/{}", "refs/tags/{}", "refs/heads/{}", "refs/remotes/{}")
        candidates = [shape.format(version or "HEAD") for shape in shapes]
        return next((ref for ref in candidates if ref in self.ids), "")


def parsed(text: str) -> Names:
    ids, symbolic = {}, {}
    for line in filter(None, text.split("\n")):
        what, _, name = line.partition("\t")
        if what.startswith("ref: "):
            symbolic[name] = what.removeprefix("ref: ")
        else:
            ids[name] = what
    return Names(ids, symbolic)


def remembered(bare: Path) -> Names:
    """What the remote of the cached repository was heard to say; nothing if it never was."""
    try:
        return msgspec.json.decode((bare / FILE).read_bytes(), type=Names)
    except (OSError, msgspec.MsgspecError):
        return Names()


def remember(bare: Path, names: Names) -> None:
    """Add to what is known; what has not changed costs a look. The cached repository must be there."""
    known = remembered(bare)
    news = Names({**known.ids, **names.ids}, {**known.symbolic, **names.symbolic})
    if news != known and bare.is_dir():
        write_atomically(bare / FILE, msgspec.json.encode(news))
