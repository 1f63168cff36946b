"""Unpacking beside files that it must not touch: the watched root."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import tarfile
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from projrun import sources
from projrun.disk import Home
from projrun.disk.unpack import ArchiveLimits, unpack
from projrun.errors import SourceError
from projrun.plan import Source
from projrun.record import SourceClosure
from tests.support.archives import Entry, state_of, write_tar, write_zip

STRICT = ArchiveLimits(1_000_000, 1000, 200)
LENIENT = STRICT._replace(strict=False)


class Watched:
    """`top` holds the victim's files, and `target`, where archives are unpacked."""

    def __init__(self, top: Path) -> None:
        self.top, self.target, self.home = top, top / "near/target", Home(top / "cache", top / "data")
        self.archive = top / "x"
        for name in ("victim/.bashrc", "victim/deep/file", "near/file", "file"):
            (top / name).parent.mkdir(parents=True, exist_ok=True)
            (top / name).write_text(f"precious {name}")
        (top / "victim/link").symlink_to("deep")
        (top / "victim/.bashrc").chmod(0o640)
        self.target.mkdir()

    def placed(self, text: str) -> str:
        return text.replace("@", str(self.top))

    def write(self, form: str, entries: list[Entry]) -> Path:
        placed = [
            entry._replace(name=self.placed(entry.name), text=self.placed(entry.text)) for entry in entries
        ]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of names that are there twice
            return write_zip(self.archive, placed) if form == "zip" else write_tar(self.archive, placed)

    def refused(self, limits: ArchiveLimits) -> bool:
        """Unpack; assert that nothing outside of the target changed, and nothing is left when it fails."""
        before = state_of(self.top, self.target)
        status = os.stat(self.target)
        try:
            unpack(self.archive, self.target, limits)
        except SourceError:
            assert list(self.target.iterdir()) == []
            refused = True
        else:
            refused = False
        after = state_of(self.top, self.target)
        key = str(self.target)
        assert os.stat(self.target).st_ino == status.st_ino
        del before[key], after[key]
        assert after == before
        return refused

    def restore_refused(self, removed: list[str]) -> bool:
        """Do the same with the archive as the artifact of a record."""
        digest = hashlib.sha256(self.archive.read_bytes()).hexdigest()
        closure = SourceClosure(artifact="source.tar.gz", sha256=digest, removed=len(removed))
        self.home.cache.mkdir(exist_ok=True)
        before = state_of(self.top, self.home.cache)
        try:
            checkout = sources.restore(Source(kind="local", uri="p"), closure, self.archive, self.home)
        except SourceError:
            refused = True
        else:
            assert_no_odd_files(checkout.root)
            sources.release(checkout, self.home)
            refused = False
        after = state_of(self.top, self.home.cache)
        del before[str(self.home.cache)], after[str(self.home.cache)]
        assert after == before
        assert [entry for entry in self.home.checkouts.iterdir() if entry.is_dir()] == []
        return refused


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    return Watched(tmp_path / "watched")


def assert_no_odd_files(root: Path) -> None:
    for path in _below(root):
        assert path.is_symlink() or path.is_dir() or path.is_file(), path
        assert path.is_symlink() or path.lstat().st_mode & 0o7000 == 0
        assert path.is_dir() or path.lstat().st_nlink == 1


def assert_nothing_leads_out(root: Path) -> None:
    real = os.path.realpath(root)
    for path in _below(root):
        assert f"{os.path.realpath(path)}/".startswith(f"{real}/"), path


def _below(root: Path) -> Iterator[Path]:
    for directory, names, files in os.walk(root):
        yield from (Path(directory, name) for name in (*names, *files))


PARTS = st.sampled_from(
    ["a", "b", "A", "é", "e\N{COMBINING ACUTE ACCENT}", "..", ".", "", ".git", ".GIT", "c\\d"]
)
PLAIN = st.sampled_from(["a", "b", "d", "A"])
NAMES = st.one_of(
    st.lists(PLAIN, min_size=1, max_size=3).map("/".join),
    st.lists(PARTS, min_size=1, max_size=4).map("/".join),
    st.sampled_from(
        ["@/victim/.bashrc", "../file", "a/../../file", "target", "a\0b", "b/.bashrc", "x" * 300]
    ),
)
TARGETS = st.one_of(
    st.sampled_from(
        ["@/victim", "@/victim/.bashrc", "..", "../..", "../../victim", ".", "/", "", "a/..", "b/../.."]
    ),
    st.lists(st.sampled_from(["a", "b", "A", "..", "."]), min_size=1, max_size=4).map("/".join),
)


def entries_of(
    kind: str, names: st.SearchStrategy[str], texts: st.SearchStrategy[str]
) -> st.SearchStrategy[Entry]:
    return st.builds(Entry, names, st.just(kind), texts, st.sampled_from([0o644, 0o755, 0o6777, 0]))


ENTRIES = st.lists(
    st.one_of(
        entries_of("file", NAMES, st.text("xy", max_size=3)),
        entries_of("directory", NAMES, st.just("")),
        entries_of("link", NAMES, TARGETS),
        entries_of("same", NAMES, st.one_of(NAMES, TARGETS)),
        entries_of("device", NAMES, st.just("")),
        entries_of("pipe", NAMES, st.just("")),
    ),
    min_size=1,
    max_size=6,
)
PLAIN_NAMES = st.lists(PLAIN, min_size=1, max_size=3).map("/".join)
LINKS = st.lists(
    st.one_of(entries_of("file", PLAIN_NAMES, st.just("x")), entries_of("link", PLAIN_NAMES, TARGETS)),
    min_size=2,
    max_size=6,
)
"""Few of these are refused by name alone, so links are checked against each other."""


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(entries=st.one_of(ENTRIES, LINKS), form=st.sampled_from(["zip", "tar"]), strict=st.booleans())
def test_nothing_outside_changes(
    entries: list[Entry], form: str, strict: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    top = tmp_path_factory.mktemp("property")
    try:
        watched = Watched(top)
        if form == "zip":
            entries = [entry for entry in entries if entry.kind != "same"]
        watched.write(form, entries)
        if not watched.refused(STRICT if strict else LENIENT):
            assert_no_odd_files(watched.target)
            if strict:
                assert_nothing_leads_out(watched.target)
    finally:
        shutil.rmtree(top)


REMOVED = st.lists(
    st.one_of(NAMES, st.sampled_from(["../../../../victim/.bashrc", "@/file", "", "a/", ".git/config", "a"])),
    max_size=3,
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(entries=st.one_of(ENTRIES, LINKS), removed=REMOVED)
def test_nothing_outside_changes_when_a_record_is_restored(
    entries: list[Entry], removed: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    top = tmp_path_factory.mktemp("property")
    try:
        watched = Watched(top)
        listed = Entry("removed", text="".join(f"{watched.placed(name)}\0" for name in removed))
        watched.write("tar", [listed, *(entry._replace(name=f"tree/{entry.name}") for entry in entries)])
        watched.restore_refused(removed)
    finally:
        shutil.rmtree(top)


# by name

LINK = "link"
THROUGH_A_LINK = [Entry("p/a", LINK, "@/victim"), Entry("p/a/.bashrc", LINK, "anything")]
REFUSED_ALWAYS = {
    "a link below a link": THROUGH_A_LINK,
    "the same, the other way round": THROUGH_A_LINK[::-1],
    "a file below a link": [Entry("a", LINK, "@/victim"), Entry("a/.bashrc", text="evil")],
    "a directory below a link": [Entry("a", LINK, "@/victim"), Entry("a/deep", "directory")],
    "a link in the place of a directory": [Entry("a/.bashrc", text="x"), Entry("a", LINK, "@/victim")],
    "a directory, then a link": [Entry("a", "directory"), Entry("a", LINK, "@/victim")],
    "a file below a file": [Entry("a", text="x"), Entry("a/b", text="x")],
    "a link twice": [Entry("a", LINK, "b"), Entry("a", LINK, "@/victim")],
    "a link, then a file": [Entry("a", LINK, "@/victim/.bashrc"), Entry("a", text="evil")],
    "a name with ..": [Entry("a/../../file", text="evil")],
    "an absolute name": [Entry("@/file", text="evil")],
    "a device": [Entry("a", "device")],
    "a pipe": [Entry("a", "pipe")],
    "a link to nothing": [Entry("a", LINK, "")],
    "a long part": [Entry("a" * 256, text="x")],
    "a long name": [Entry("/".join(["a" * 200] * 20), text="x")],
    "a deep name": [Entry("/".join("a" * 201), text="x")],
    "a deep directory": [Entry("/".join("a" * 201), "directory")],
}
REFUSED_WHEN_STRICT = {
    "out through another link": [Entry("a", LINK, "b/.."), Entry("b", LINK, "d"), Entry("d", LINK, "..")],
    "out through the parent of a link": [Entry("s/d/f"), Entry("b", LINK, "s"), Entry("c", LINK, "b/../..")],
    "out through a link to the top": [Entry("s/top", LINK, ".."), Entry("x", LINK, "s/top/..")],
    "out of what is missing": [Entry("x", LINK, "no/../../y")],
    "out where names are folded": [Entry("d", LINK, "."), Entry("x", LINK, "D/..")],
    "an absolute link": [Entry("x", LINK, "@/victim")],
    "a link to itself": [Entry("x", LINK, "x")],
    "a circle of links": [Entry("x", LINK, "y/z"), Entry("y", LINK, "x")],
    "a long chain of links": [Entry(f"l{n}", LINK, f"l{n + 1}") for n in range(60)],
    "names that differ in case": [Entry("a/B"), Entry("A/b")],
    "a link and a directory that differ in case": [Entry("a", LINK, "b"), Entry("A/x")],
    "names that differ in normalisation": [Entry("é"), Entry("e\N{COMBINING ACUTE ACCENT}")],
}


@pytest.mark.parametrize("limits", [STRICT, LENIENT], ids=["strict", "lenient"])
@pytest.mark.parametrize("form", ["zip", "tar"])
@pytest.mark.parametrize("attack", REFUSED_ALWAYS)
def test_an_attack_is_refused(watched: Watched, attack: str, form: str, limits: ArchiveLimits) -> None:
    watched.write(form, REFUSED_ALWAYS[attack])
    assert watched.refused(limits)


@pytest.mark.parametrize("attack", [name for name in REFUSED_ALWAYS if name != "an absolute name"])
def test_an_attack_in_a_record_is_refused(watched: Watched, attack: str) -> None:
    watched.write("tar", [e._replace(name=f"tree/{e.name}") for e in REFUSED_ALWAYS[attack]])
    assert watched.restore_refused([])


@pytest.mark.parametrize("form", ["zip", "tar"])
@pytest.mark.parametrize("attack", REFUSED_WHEN_STRICT)
def test_an_attack_is_harmless_when_it_is_not_refused(watched: Watched, attack: str, form: str) -> None:
    watched.write(form, REFUSED_WHEN_STRICT[attack])
    assert watched.refused(STRICT)
    assert not watched.refused(LENIENT)


@pytest.mark.parametrize("target", ["a", "../../file", "@/file", "link", ".git/config", "b"])
def test_a_hard_link_leads_only_to_an_earlier_file(watched: Watched, target: str) -> None:
    entries = [Entry("link", LINK, "x"), Entry(".git/config"), Entry("a", "same", target), Entry("b")]
    watched.write("tar", entries)
    assert watched.refused(LENIENT)


@pytest.mark.parametrize("name", ["../../x", "/x", "a/../x", "a//x", "", ".git/config", "a/.GIT/x", "."])
def test_a_record_may_not_remove_what_is_no_file_of_a_tree(watched: Watched, name: str) -> None:
    watched.write("tar", [Entry("removed", text=f"{name}\0"), Entry("tree/a/b", text="x")])
    assert watched.restore_refused([name])


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_names_of_extended_headers_are_checked_like_others(watched: Watched, form: int) -> None:
    long = "/".join(["d" * 60] * 3)
    for name in (f"{long}/../../../../../file", f"{watched.top}/{long}"):
        write_tar(watched.archive, [Entry(name, text="evil")], form=form)
        assert watched.refused(LENIENT)
    write_tar(watched.archive, [Entry(f"{long}/file", text="good")], form=form)
    assert not watched.refused(STRICT)
    assert (watched.target / long / "file").read_text() == "good"


def test_a_pax_header_that_overrides_a_harmless_name(watched: Watched) -> None:
    with tarfile.open(watched.archive, "w", format=tarfile.PAX_FORMAT) as archive:
        info = tarfile.TarInfo("harmless")
        info.pax_headers = {"path": "../file"}
        archive.addfile(info)
    assert watched.refused(LENIENT)


@pytest.mark.parametrize("size", [-512, 50_000_000])
@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.REGTYPE])
def test_a_header_with_a_bad_size(watched: Watched, kind: bytes, size: int) -> None:
    info = tarfile.TarInfo("x")
    info.type, info.size = kind, size
    watched.archive.write_bytes(info.tobuf(tarfile.GNU_FORMAT) + bytes(10240))
    assert watched.refused(STRICT)


def test_headers_without_end(watched: Watched) -> None:
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, 0
    watched.archive.write_bytes(info.tobuf() * 20_000)
    assert watched.refused(STRICT)


def test_a_sparse_member_is_counted_in_full(watched: Watched) -> None:
    sparse = "GNU.sparse.major 1 GNU.sparse.minor 0 GNU.sparse.name x GNU.sparse.realsize 90000000000"
    words = sparse.split()
    with tarfile.open(watched.archive, "w", format=tarfile.PAX_FORMAT) as archive:
        info = tarfile.TarInfo("x")
        info.pax_headers = dict(zip(words[::2], words[1::2]))
        content = b"1\n0\n0\n".ljust(512, b"\0")
        info.size = len(content)
        archive.addfile(info, io.BytesIO(content))
    assert watched.refused(STRICT)


def test_links_that_stay_inside_are_kept(watched: Watched) -> None:
    entries = [
        Entry("p/bin/run", text="x", mode=0o755),
        Entry("p/empty/deeper", "directory"),
        Entry("p/up", LINK, "bin/../bin/run"),
        Entry("p/bin/back", LINK, "../up"),
        Entry("p/bin/top", LINK, ".."),
        Entry("p/to-come", LINK, "build/result"),
    ]
    for form in ("zip", "tar"):
        watched.write(form, entries)
        assert not watched.refused(STRICT)
        assert (watched.target / "p/bin/back").read_text() == "x"
        assert os.access(watched.target / "p/up", os.X_OK)
        assert list((watched.target / "p/empty/deeper").iterdir()) == []
        assert os.readlink(watched.target / "p/to-come") == "build/result"
        shutil.rmtree(watched.target)
        watched.target.mkdir()


def test_a_link_must_stay_in_the_directory_that_becomes_the_top(watched: Watched, home: Home) -> None:
    for target in ("..", "../../../..", "../q"):
        archive = write_tar(watched.top / "p.tar.gz", [Entry("p/MLproject"), Entry("p/x", LINK, target)])
        with pytest.raises(SourceError, match="leads out"):
            sources.fetch(str(archive), "", home)


def test_what_git_on_macos_takes_for_its_directory_is_left_out(watched: Watched) -> None:
    watched.write("zip", [Entry(".g\N{ZERO WIDTH NON-JOINER}it/config", text="x"), Entry("a")])
    assert not watched.refused(STRICT)
    assert [path.name for path in watched.target.iterdir()] == ["a"]


def test_a_zip_member_without_a_name_is_left_out(watched: Watched) -> None:
    with zipfile.ZipFile(watched.archive, "w") as archive:
        archive.writestr(zipfile.ZipInfo("?"), "x")
        archive.writestr("a", "x")
    content = watched.archive.read_bytes()
    watched.archive.write_bytes(content.replace(b"?", b"\0"))  # zipfile cuts names at a null byte
    assert not watched.refused(STRICT)
    assert [path.name for path in watched.target.iterdir()] == ["a"]
