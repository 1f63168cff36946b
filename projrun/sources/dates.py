"""Moments that the user names by a date or by a commit."""

from __future__ import annotations

import os
import re
from pathlib import Path

from projrun.errors import UsageError
from projrun.gitview import top_above, viewed

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}(?:[T ][0-9:.]+(?:Z|[+-]\d{2}:?\d{2})?)?")


def moment(text: str, directory: Path) -> str:
    """`text` when it is a date, else the time of that commit in the repository around `directory`."""
    if _DATE.fullmatch(text):
        return text
    commit = f"{text}^{{commit}}"
    if not text.startswith("-"):
        top = top_above(Path(os.path.realpath(directory)))
        if top is not None:
            with viewed(top) as view:
                answer = view.ask("show", "-s", "--format=%cI", commit, "--")
            if answer.ok and _DATE.fullmatch(answer.stdout.strip()):
                return answer.stdout.strip()
    raise UsageError(
        f"--as-of: '{text}' is neither a date nor a commit of the project", "write 2023-06-01, or a commit"
    )
