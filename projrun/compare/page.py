"""Two runs side by side as a page of HTML: one file, no script, nothing from elsewhere."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from hashlib import sha256
from importlib.resources import files

from projrun.compare.sidebyside import SideBySide

_LINES = {"+": "added", "-": "removed", "@": "place"}


def page(found: SideBySide, shown: Callable[[str], str]) -> str:
    """shown: what is made of a line of a project's file."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["line_class"] = lambda line: _LINES.get(line[:1], "")
    environment.filters["shown"] = shown
    text = (files("projrun.compare") / "diff.html").read_text("utf-8")
    style = text.partition("<style>")[2].partition("</style>")[0]
    digest = b64encode(sha256(style.encode()).digest()).decode()
    return environment.from_string(text).render(found=found, style_digest=digest)
