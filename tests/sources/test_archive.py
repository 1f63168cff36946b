"""Projects in archives, and what an archive must not be able to do."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from projrun import sources
from projrun.disk import Home
from projrun.errors import SourceError
from tests.sources.conftest import Fetcher
from tests.support.threaded_server import answering

FILES = {"MLproject": "name: packed\n", "sub/dir/data": "deep\n"}
SECRET = "s3cr3t"


def make_zip(path: Path, files: dict[str, str] = FILES, prefix: str = "") -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(prefix + name, content)
    return path


def make_tar(path: Path, files: dict[str, str] = FILES, prefix: str = "", mode: str = "w:gz") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, content in files.items():
            archive.addfile(member(prefix + name, size=len(content)), io.BytesIO(content.encode()))
    return path


def member(name: str, **fields: object) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    for field, value in fields.items():
        setattr(info, field, value)
    return info


MAKERS: dict[str, Callable[[Path, str], Path]] = {
    "p.zip": lambda path, prefix: make_zip(path, prefix=prefix),
    "p.tar": lambda path, prefix: make_tar(path, prefix=prefix, mode="w"),
    "p.tar.gz": lambda path, prefix: make_tar(path, prefix=prefix),
    "p.TGZ": lambda path, prefix: make_tar(path, prefix=prefix),
    "p.tar.bz2": lambda path, prefix: make_tar(path, prefix=prefix, mode="w:bz2"),
    "p.tar.xz": lambda path, prefix: make_tar(path, prefix=prefix, mode="w:xz"),
}


def test_a_file_whose_name_begins_like_a_url_is_a_file(
    fetch: Fetcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_zip(tmp_path / "http-client.zip")
    monkeypatch.chdir(tmp_path)
    assert (fetch("http-client.zip").root / "MLproject").read_text() == "name: packed\n"


@pytest.mark.parametrize("prefix", ["", "packed-1.0/"])
@pytest.mark.parametrize("name", MAKERS)
def test_every_form_is_unpacked_for_one_run(
    fetch: Fetcher, tmp_path: Path, home: Home, name: str, prefix: str
) -> None:
    archive = MAKERS[name](tmp_path / name, prefix)
    checkout = fetch(f"{archive}#sub")
    assert (checkout.root / "MLproject").read_text() == "name: packed\n"
    assert checkout.directory == checkout.root / "sub"
    assert checkout.temporary
    source = checkout.source
    assert (source.kind, source.subdirectory, source.commit) == ("archive", "sub", "")
    assert source.sha256 == hashlib.sha256(archive.read_bytes()).hexdigest()
    assert checkout.root.name == (prefix.rstrip("/") or "p")
    assert fetch(f"file://{archive}").source.sha256 == source.sha256
    fetch.release_all()
    assert [entry for entry in home.checkouts.iterdir() if entry.is_dir()] == []


def test_its_tree_comes_back_without_it(fetch: Fetcher, tmp_path: Path, home: Home) -> None:
    archive = make_tar(tmp_path / "p.tgz", {**FILES, "__pycache__/x": "even this"})
    checkout = fetch(archive)
    captured = sources.capture(checkout, home)
    archive.unlink()
    assert captured.closure is not None
    restored = sources.restore(checkout.source, captured.closure, captured.file, home)
    try:
        assert {path.name for path in restored.root.rglob("*") if path.is_file()} == {
            "MLproject",
            "data",
            "x",
        }
    finally:
        sources.release(restored, home)


def test_executables_stay_so_and_nothing_more(fetch: Fetcher, tmp_path: Path) -> None:
    archive = tmp_path / "p.tar"
    with tarfile.open(archive, "w") as tar:
        tar.addfile(member("run.sh", mode=0o6777))
        tar.addfile(member("data", mode=0o000))
        tar.addfile(member("shared", type=tarfile.DIRTYPE, mode=0o3777))
        tar.addfile(member("again", type=tarfile.LNKTYPE, linkname="run.sh"))
        tar.addfile(member("link", type=tarfile.SYMTYPE, linkname="shared/../data"))
    root = fetch(archive).root
    umask = os.umask(0o022)
    os.umask(umask)
    modes = {
        name: stat.S_IMODE((root / name).stat().st_mode) for name in ("run.sh", "data", "shared", "again")
    }
    executable, plain = 0o777 & ~umask, 0o666 & ~umask
    assert modes == {"run.sh": executable, "data": plain, "shared": executable, "again": executable}
    assert (root / "again").stat().st_nlink == 1
    assert os.readlink(root / "link") == "shared/../data"


def test_the_digest_is_demanded_before_anything_is_unpacked(
    fetch: Fetcher, tmp_path: Path, home: Home
) -> None:
    archive = make_zip(tmp_path / "p.zip")
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    checkout = sources.fetch(str(archive), "", home, sha256=digest.upper())
    sources.release(checkout, home)
    archive.write_bytes(b"no archive at all")
    with pytest.raises(SourceError, match=f"not {digest}"):
        sources.fetch(str(archive), "", home, sha256=digest)
    with pytest.raises(SourceError, match="is no archive"):
        sources.fetch(str(tmp_path), "", home, sha256=digest)


def test_a_version_is_a_clear_error(fetch: Fetcher, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="is an archive, which has no version 'v1'"):
        fetch(make_zip(tmp_path / "p.zip"), "v1")


@pytest.mark.parametrize("uri", ["gone.zip", "file:///no/such/p.tar.gz"])
def test_an_archive_that_is_not_there(fetch: Fetcher, uri: str) -> None:
    with pytest.raises(SourceError, match="there is no such file"):
        fetch(uri)


@pytest.mark.parametrize("cut", [0, 10, 60, -30])
@pytest.mark.parametrize("name", MAKERS)
def test_a_broken_archive_is_one_line(
    fetch: Fetcher, tmp_path: Path, home: Home, name: str, cut: int
) -> None:
    archive = MAKERS[name](tmp_path / name, "")
    archive.write_bytes(archive.read_bytes()[:cut])
    if name in ("p.tar", "p.tar.xz") and cut == -30:
        return  # the end of them is blank or an index: every file is there
    with pytest.raises(SourceError, match="archive") as caught:
        fetch(archive)
    assert str(caught.value).isprintable()
    assert [entry for entry in home.checkouts.iterdir() if entry.is_dir()] == []


def test_an_archive_with_a_password(fetch: Fetcher, tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "p.zip", {"a": "x"})
    data = bytearray(archive.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(signature) + offset] |= 1
    archive.write_bytes(data)
    with pytest.raises(SourceError, match="without a password"):
        fetch(archive)


# what it must not do

ESCAPES = ["../evil", "a/../../evil", "/tmp/evil-of-projrun", "./../evil"]


@pytest.mark.parametrize("name", ESCAPES)
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_a_path_that_leads_out(fetch: Fetcher, tmp_path: Path, home: Home, kind: str, name: str) -> None:
    archive = tmp_path / f"p.{kind}"
    if kind == "zip":
        make_zip(archive, {"good": "", name: "evil"})
    else:
        make_tar(archive, {"good": "", name: "evil"}, mode="w")
    with pytest.raises(SourceError, match="leads out"):
        fetch(archive)
    assert not list(home.cache.rglob("*evil*"))
    assert not Path("/tmp/evil-of-projrun").exists()


@pytest.mark.parametrize("target", ["/etc/passwd", "../../x", "sub/../../x", "chain/../../x"])
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_a_link_that_leads_out(fetch: Fetcher, tmp_path: Path, kind: str, target: str) -> None:
    archive = tmp_path / f"p.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(archive, "w") as zipped:
            zipped.writestr("sub/deep/x", "")
            for name, to in (("chain", "sub/deep"), ("link", target)):
                info = zipfile.ZipInfo(name)
                info.external_attr = (stat.S_IFLNK | 0o777) << 16
                zipped.writestr(info, to if name != "link" or target[:5] != "chain" else "chain/../../../x")
    else:
        with tarfile.open(archive, "w") as tar:
            tar.addfile(member("sub/deep/x"))
            tar.addfile(member("chain", type=tarfile.SYMTYPE, linkname="."))
            tar.addfile(member("link", type=tarfile.SYMTYPE, linkname=target))
    with pytest.raises(SourceError, match="leads out"):
        fetch(archive)


def test_nothing_is_written_through_a_link(fetch: Fetcher, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    archive = tmp_path / "p.tar"
    with tarfile.open(archive, "w") as tar:
        tar.addfile(member("d", type=tarfile.SYMTYPE, linkname=str(outside)))
        tar.addfile(member("d/evil", size=1), io.BytesIO(b"x"))
    with pytest.raises(SourceError):
        fetch(archive)
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize("target", ["/etc/passwd", "../outside", "not-in-it", "link"])
def test_a_hard_link_to_what_is_not_in_it(fetch: Fetcher, tmp_path: Path, target: str) -> None:
    archive = tmp_path / "p.tar"
    with tarfile.open(archive, "w") as tar:
        tar.addfile(member("link", type=tarfile.SYMTYPE, linkname="/etc/passwd"))
        tar.addfile(member("x", type=tarfile.LNKTYPE, linkname=target))
    with pytest.raises(SourceError, match=r"leads out|not in it"):
        fetch(archive)


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_devices_and_pipes(fetch: Fetcher, tmp_path: Path, kind: bytes) -> None:
    archive = tmp_path / "p.tar"
    with tarfile.open(archive, "w") as tar:
        tar.addfile(member("device", type=kind, devmajor=1, devminor=3))
    with pytest.raises(SourceError, match="a device or a pipe"):
        fetch(archive)


@pytest.mark.parametrize("second", ["a/File", "a//File", "./a/File", "a/file", "A/FILE"])
def test_the_same_name_twice(fetch: Fetcher, tmp_path: Path, second: str) -> None:
    with pytest.raises(SourceError, match=r"in it twice|differ in case alone"):
        fetch(
            make_tar(tmp_path / "p.tar", {"a/File": "1", second: "2"}, mode="w")
            if second != "a/File"
            else twice(tmp_path)
        )


def twice(tmp_path: Path) -> Path:
    archive = tmp_path / "p.tar"
    with tarfile.open(archive, "w") as tar:
        for _ in range(2):
            tar.addfile(member("a/File"))
    return archive


def test_a_file_where_a_directory_is_needed(fetch: Fetcher, tmp_path: Path) -> None:
    root = fetch(make_tar(tmp_path / "p.tar", {"b": "1", "a/c": "2"}, mode="w")).root
    assert (root / "a/c").read_text() == "2"
    with pytest.raises(SourceError):
        fetch(make_tar(tmp_path / "q.tar", {"a/c": "2", "a": "1"}, mode="w"))


def test_settings_of_git_in_an_archive_stay_in_it(fetch: Fetcher, tmp_path: Path) -> None:
    names = (".git/config", "sub/.GIT/hooks/post-checkout", "keep")
    root = fetch(make_zip(tmp_path / "p.zip", dict.fromkeys(names, "x"))).root
    assert [str(path.relative_to(root)) for path in root.rglob("*")] == ["keep"]


def test_a_bomb_is_stopped(
    fetch: Fetcher, tmp_path: Path, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("projrun.disk.unpack.FREE_BYTES", 1000)
    zeros = "\0" * 3_000_000
    zipped = make_zip(tmp_path / "p.zip", {"zeros": zeros})
    packed = make_tar(tmp_path / "p.tar.gz", {"zeros": zeros})
    for archive in (zipped, packed):
        with pytest.raises(SourceError, match="unpacks to more than is allowed") as caught:
            fetch(archive)
        assert "PROJRUN_ARCHIVE_RATIO" in caught.value.hint
    monkeypatch.setenv("PROJRUN_ARCHIVE_RATIO", "5000")
    assert (fetch(zipped).root / "zeros").stat().st_size == 3_000_000
    monkeypatch.setenv("PROJRUN_ARCHIVE_LIMIT", "2")
    with pytest.raises(SourceError, match="more than is allowed"):
        fetch(zipped)


def test_a_bomb_that_lies_about_its_size_is_stopped(
    fetch: Fetcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("projrun.disk.unpack.FREE_BYTES", 1000)
    archive = make_zip(tmp_path / "p.zip", {"zeros": "\0" * 3_000_000})
    data = bytearray(archive.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        at = data.index(signature) + offset
        data[at : at + 4] = (10).to_bytes(4, "little")
    archive.write_bytes(data)
    with pytest.raises(SourceError):
        fetch(archive)


def test_a_bomb_of_names_is_stopped(fetch: Fetcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROJRUN_ARCHIVE_ENTRIES", "10")
    with pytest.raises(SourceError, match="more than 10 entries"):
        fetch(make_tar(tmp_path / "p.tar", {f"f{n}": "" for n in range(11)}, mode="w"))


def test_a_tar_that_does_not_end(fetch: Fetcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its header says 8 GB: that is refused before a byte is unpacked."""
    archive = tmp_path / "p.tar.gz"
    with gzip.open(archive, "wb") as file:
        file.write(member("big", size=8_000_000_000).tobuf())
    with pytest.raises(SourceError, match="more than is allowed"):
        fetch(archive)


# behind http


class Site:
    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.redirects: dict[str, str] = {}
        self.credentials = ""
        self.cut = False
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def serving(site: Site) -> Iterator[None]:
    import base64

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            wanted = f"Basic {base64.b64encode(site.credentials.encode()).decode()}"
            if path in site.redirects:
                self.send_response(302)
                self.send_header("Location", site.redirects[path])
                self.end_headers()
            elif path not in site.files:
                self.send_error(404)
            elif site.credentials and self.headers.get("Authorization") != wanted:
                self.send_error(401)
            else:
                content = site.files[path]
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content[: len(content) // 2] if site.cut else content)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    site.port = server.server_address[1]
    with answering(server):
        yield


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site()
    site.files["/p-1.0.tar.gz"] = make_tar(tmp_path / "served", prefix="p-1.0/").read_bytes()
    with serving(site):
        yield site


def test_a_url_is_downloaded_and_its_secrets_are_not_recorded(fetch: Fetcher, site: Site) -> None:
    site.credentials = f"user:{SECRET}"
    site.redirects["/latest.tar.gz"] = f"{site.url}/p-1.0.tar.gz"
    place = f"http://user:{SECRET}@127.0.0.1:{site.port}"
    checkout = fetch(f"{place}/p-1.0.tar.gz?token={SECRET}#sub")
    assert checkout.directory.name == "sub"
    assert checkout.source.uri == f"{site.url}/p-1.0.tar.gz?token=…#sub"
    assert SECRET not in repr(checkout)
    site.credentials = ""
    assert fetch(f"{site.url}/latest.tar.gz").root.name == "p-1.0"
    for bad in (f"{place}/gone.zip", f"{place}/gone.zip?key={SECRET}"):
        with pytest.raises(SourceError, match="answered 404") as caught:
            fetch(bad)
        assert SECRET not in str(caught.value)


def test_a_connection_that_breaks_off_leaves_nothing(fetch: Fetcher, site: Site, home: Home) -> None:
    site.cut = True
    with pytest.raises(SourceError, match="broke off"):
        fetch(f"{site.url}/p-1.0.tar.gz")
    assert [entry for entry in home.checkouts.iterdir() if entry.is_dir()] == []


def test_a_redirect_to_a_file_is_not_followed(fetch: Fetcher, site: Site, tmp_path: Path) -> None:
    site.redirects["/p.zip"] = f"file://{make_zip(tmp_path / 'here.zip')}"
    with pytest.raises(SourceError, match="does not follow"):
        fetch(f"{site.url}/p.zip")


def test_a_download_may_not_go_on_for_ever(
    fetch: Fetcher, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROJRUN_ARCHIVE_LIMIT", "1")
    site.files["/p.zip"] = os.urandom(1_100_000)
    with pytest.raises(SourceError, match="larger than is allowed"):
        fetch(f"{site.url}/p.zip")
