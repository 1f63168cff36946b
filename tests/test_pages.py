"""The pages hold together: links lead somewhere, every page and room is named, lines fit an editor."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.support.repository import ROOT

OURS = [*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/*.md"))]
PAGES = [*OURS, *sorted(ROOT.glob("examples/**/README.md"))]
WIDTH = 130


def prose(page: Path) -> str:
    """Without blocks of code and code in lines, where brackets are no links."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"`[^`\n]*`", "", text)


def links(page: Path) -> Iterator[tuple[str, str]]:
    """Path and anchor of each link that names no host."""
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if "://" not in target and not target.startswith("mailto:"):
            path, _, anchor = target.partition("#")
            yield unquote(path), anchor


@cache
def anchors(page: Path) -> frozenset[str]:
    """Return the anchors that GitHub and GitLab make of headings."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#{1,6} (.+)$", text, re.MULTILINE)
    return frozenset(re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings)


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    for path, anchor in links(page):
        target = (page.parent / path).resolve() if path else page
        assert target.is_relative_to(ROOT), f"{path} leads out of the tree"
        assert target.exists(), f"{name_of(page)} links {path}, which is not there"
        assert not anchor or anchor in anchors(target), f"{path} has no heading '{anchor}'"


def test_every_page_is_linked_from_the_readme() -> None:
    linked = {(ROOT / path).resolve() for path, _ in links(ROOT / "README.md")}
    assert not [page for page in (ROOT / "docs").glob("*.md") if page not in linked]


def test_every_room_has_its_place_on_the_page_about_the_house() -> None:
    house = (ROOT / "docs" / "architecture.md").read_text()
    rooms = [
        path for path in (ROOT / "projrun").iterdir() if path.name[0] not in "_." and path.suffix != ".typed"
    ]
    names = [f"{path.name}/" if path.is_dir() else path.stem for path in rooms]
    assert not [name for name in names if f"`{name}`" not in house]


@pytest.mark.parametrize("page", OURS, ids=name_of)
def test_lines_of_prose_fit_an_editor(page: Path) -> None:
    """Rows of tables cannot be broken, and commands shall be copied whole."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    long = [line for line in text.splitlines() if len(line) > WIDTH and not line.startswith(("|", "#"))]
    assert not long, long[0]
