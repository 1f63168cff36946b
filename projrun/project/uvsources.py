"""`[tool.uv.sources]`: where a dependency is to come from, written into the requirement itself.

As a requirement it goes the way of all others: into the lock and its key, without its credentials, and with
the content of what lies on this machine. pip understands it too.
"""

from __future__ import annotations

import os
import re
from typing import Any

_REQUIREMENT = re.compile(r"(?P<name>[A-Za-z0-9][\w.-]*)\s*(?P<extras>\[[^\]]*\])?[^;@]*(?P<marker>;.*)?")
_ALLOWED = {
    "git": {"git", "rev", "tag", "branch", "subdirectory"},
    "url": {"url", "subdirectory"},
    "path": {"path", "editable"},
}
"""Kind of source -> the keys that a requirement can say."""


def with_sources(
    dependencies: tuple[str, ...], sources: object, file: str
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The dependencies with their sources, and warnings of those that a requirement cannot say.

    file: relative to the project's directory; paths in it start from its own directory.
    """
    if not isinstance(sources, dict):
        return dependencies, (f"{file}: [tool.uv] is ignored: sources",)
    known = {_normal(str(name)): source for name, source in sources.items()}
    lines, ignored = [], []
    for line in dependencies:
        found = _REQUIREMENT.fullmatch(line)
        source = known.get(_normal(found["name"])) if found else None
        said = _said(found, source, os.path.dirname(file)) if found and source is not None else line
        if not said:
            ignored.append(f"{file}: [tool.uv.sources] is ignored for {line}: no requirement can say it")
        lines.append(said or line)
    return tuple(lines), tuple(ignored)


def _said(wanted: re.Match[str], source: Any, base: str) -> str:
    """The requirement that names the source; empty where none can."""
    kind = next((kind for kind in _ALLOWED if isinstance(source, dict) and kind in source), "")
    if not kind or source.keys() - _ALLOWED[kind] or not re.fullmatch(r"[^\s;\[\]#]+", str(source[kind])):
        return ""
    extras, marker = wanted["extras"] or "", f" {wanted['marker']}" if wanted["marker"] else ""
    if kind == "path":
        path = os.path.normpath(os.path.join(base, str(source["path"])))
        place = path if path.startswith(("/", "../")) else f"./{path}"
        return f"{'-e ' * (source.get('editable') is True)}{place}{extras}{marker}"
    below = f"#subdirectory={source['subdirectory']}" if "subdirectory" in source else ""
    if kind == "url":
        return f"{wanted['name']}{extras} @ {source['url']}{below}{marker}"
    versions = [str(source[key]) for key in ("rev", "tag", "branch") if key in source]
    at = f"@{versions[0]}" if versions else ""
    return f"{wanted['name']}{extras} @ git+{source['git'].removeprefix('git+')}{at}{below}{marker}"


def _normal(name: str) -> str:
    """As indexes compare names."""
    return re.sub(r"[-_.]+", "-", name).lower()
