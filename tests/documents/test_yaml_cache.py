"""Test that a cached YAML file equals the file, and that nothing else is taken for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from projrun.disk import Home
from projrun.documents import yaml_cache
from projrun.documents.yaml_cache import load_yaml
from projrun.errors import ProjectError

TEXT = """\
# a comment
name: models
numbers: [1, -2.5, true, null, 1.0e-6]
texts:
  folded: >
    train {alpha}
    again
  quoted: "it's ☂ \\t {alpha}"
"""


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that the YAML reader was asked to read."""
    from projrun.documents import yaml_file

    parse, asked = yaml_file.parse_yaml, []

    def noted(content: bytes | str, file: str, tolerated: list[ProjectError] | None) -> object:
        asked.append(file)
        return parse(content, file, tolerated)

    monkeypatch.setattr(yaml_file, "parse_yaml", noted)
    return asked


def write(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_a_file_is_read_once_and_comes_back_alike(tmp_path: Path, reads: list[str]) -> None:
    read = load_yaml(write(tmp_path / "MLproject", TEXT))
    recalled = load_yaml(write(tmp_path / "other", TEXT), "a/MLproject")
    assert reads == [str(tmp_path / "MLproject")]
    assert recalled.file == "a/MLproject"
    assert (recalled.data, recalled.positions, recalled.scalars) == (read.data, read.positions, read.scalars)
    assert [type(each) for each in recalled.data["numbers"]] == [int, float, bool, type(None), float]
    for key in ("folded", "quoted"):
        one, other = read.text_at("texts", key), recalled.text_at("texts", key)
        assert one is not None and other is not None
        assert one.position(8) == other.position(8)
    error = recalled.error("is wrong", "mend it", "texts", "quoted")
    assert (error.line, error.column) == (8, 3)


@pytest.mark.parametrize(
    "text",
    [
        "when: 2001-01-01\n",
        "1: number as a key\n",
        "set: !!set {a, b}\n",
        "large: 123456789012345678901234567890\n",
        "infinite: .inf\n",
        "bytes: !!binary aGVsbG8=\n",
    ],
)
def test_what_would_come_back_otherwise_is_read_each_time(
    tmp_path: Path, reads: list[str], text: str
) -> None:
    file = write(tmp_path / "MLproject", text)
    assert load_yaml(file).data == load_yaml(file).data
    assert len(reads) == 2


def test_a_file_with_a_fault_is_read_each_time(tmp_path: Path, reads: list[str]) -> None:
    file = write(tmp_path / "MLproject", "name: a\nname: b\n")
    for _ in range(2):
        faults: list[ProjectError] = []
        assert load_yaml(file, tolerated=faults).data == {"name": "b"}
        assert [fault.rule for fault in faults] == ["duplicate-key"]
    with pytest.raises(ProjectError, match="twice"):
        load_yaml(file)
    assert len(reads) == 3


def test_another_content_at_the_same_place_is_not_taken_for_it(
    tmp_path: Path, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(yaml_cache, "_memory_path", lambda _: home.cache / "yaml-v1" / "00")
    for number in (1, 2, 1):
        assert load_yaml(write(tmp_path / "MLproject", f"number: {number}\n")).data == {"number": number}


@pytest.mark.parametrize("damage", [b"", b"\x00", b"\x95\xa1x", b"{}" * 100])
def test_a_damaged_memory_is_none(tmp_path: Path, home: Home, damage: bytes) -> None:
    file = write(tmp_path / "MLproject", TEXT)
    before = load_yaml(file).data
    (memory,) = (home.cache / "yaml-v1").iterdir()
    memory.write_bytes(damage)
    assert load_yaml(file).data == before


def test_another_version_reads_anew(
    tmp_path: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(tmp_path / "MLproject", TEXT)
    load_yaml(file)
    monkeypatch.setattr(yaml_cache, "__version__", "99")
    load_yaml(file)
    assert len(reads) == 2


def test_others_do_not_read_it_and_secrets_are_not_in_it(tmp_path: Path, home: Home) -> None:
    file = write(tmp_path / "condarc", "channels: [https://user:password@example.org/channel]\n")
    load_yaml(file, remember=False)
    assert not (home.cache / "yaml-v1").exists()
    load_yaml(write(tmp_path / "MLproject", TEXT))
    assert (home.cache / "yaml-v1").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    "url",
    [
        "https://user:password@example.org/simple",
        "https://example.org/?token=abc",
        "https://example.org/t/abc/channel",
    ],
)
def test_a_file_with_credentials_is_not_remembered(tmp_path: Path, home: Home, url: str) -> None:
    load_yaml(write(tmp_path / "python_env.yaml", f"dependencies: ['--index-url {url}']\n"))
    assert not (home.cache / "yaml-v1").exists()


def test_there_are_never_too_many(tmp_path: Path, home: Home) -> None:
    for number in range(600):
        load_yaml(write(tmp_path / "MLproject", f"number: {number}\n"))
    assert len(list((home.cache / "yaml-v1").iterdir())) <= 256


def test_a_cache_that_cannot_be_written_is_done_without(
    tmp_path: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "file", "")
    monkeypatch.setenv("PROJRUN_CACHE_DIR", str(tmp_path / "file" / "cache"))
    file = write(tmp_path / "MLproject", TEXT)
    assert load_yaml(file).data == load_yaml(file).data
    assert len(reads) == 2


def test_a_byte_order_mark_moves_nothing(tmp_path: Path) -> None:
    file = write(tmp_path / "MLproject", b"\xef\xbb\xbf" + TEXT.encode())
    places = [load_yaml(file).error("", "", "texts", "quoted").line for _ in range(2)]
    assert places == [8, 8]
