"""The walker of directory trees and the matcher of names."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from projrun.disk.file_tree import compile_glob, list_files, matches, walk_tree


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("a", "d/b", "d/.git/HEAD", ".git/HEAD", "venv/pyvenv.cfg", "venv/lib/x"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to("d")
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
    return tmp_path


def test_files_links_and_empty_directories_are_walked(tree: Path) -> None:
    def leave_out(path: str, is_directory: bool) -> bool:
        return is_directory and path.endswith(".git")

    paths = sorted(path for path, _ in walk_tree(tree, leave_out, with_environments=False))
    assert paths == ["a", "d/b", "empty", "link"]
    assert "venv/lib/x" in dict(walk_tree(tree))
    assert dict(walk_tree(tree / "venv", with_environments=False)).keys() == {"pyvenv.cfg", "lib/x"}


def test_the_files_of_a_source_tree_are_listed_in_order(tree: Path) -> None:
    assert list(list_files(tree)) == ["a", "d/b", "link", "venv/lib/x", "venv/pyvenv.cfg"]


def test_a_directory_that_is_not_there_is_an_error_or_skipped(tree: Path) -> None:
    with pytest.raises(FileNotFoundError):
        list(walk_tree(tree / "gone"))
    assert list(walk_tree(tree / "gone", skip_unreadable=True)) == []


@pytest.mark.parametrize(
    ("name", "pattern", "fits"),
    [
        ("[z-a]", "[z-a]", True),
        ("b", "[z-a]", False),
        ("a/b", "a[!x]b", False),
        ("&", "[&&a]", True),
        ("[", "[[a]", True),
        ("*", r"\*", True),
        ("x", r"\*", False),
        ("logs/a/b.txt", "logs/**.txt", True),
    ],
)
def test_patterns_at_their_edges(name: str, pattern: str, fits: bool) -> None:
    assert matches(name, pattern) == fits


def test_git_takes_a_double_star_beside_other_characters_for_one_star() -> None:
    expression = compile_glob("logs/**.txt", anchored=True, double_star="[^/]*")
    assert expression.fullmatch("logs/a.txt")
    assert not expression.fullmatch("logs/a/b.txt")
