"""A Python that uv downloads: from a list and an archive made here of the Python that runs the tests."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import sys
import sysconfig
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import projrun
from projrun.disk import Home
from projrun.environments import interpreters
from projrun.environments.interpreters import Interpreter
from projrun.errors import BuildError
from projrun.net import offline
from tests.conftest import MakeProject, Projrun

MINOR = "{}.{}".format(*sys.version_info)
RELEASE = ".".join(map(str, sys.version_info[:3]))
NOT_NEEDED = {"site-packages", "dist-packages", "test", "__pycache__", "idlelib", "tkinter"}
SCRIPT = "import sys; print(sys.base_prefix)"

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the archive is one for Linux")


def needed(info: tarfile.TarInfo) -> tarfile.TarInfo | None:
    parts = info.name.split("/")
    unneeded = NOT_NEEDED & set(parts) or any(part.startswith("config-") for part in parts)
    outside = info.issym() and info.linkname.startswith("/")  # Debian's sitecustomize.py leads to /etc
    return None if unneeded or outside else info


@pytest.fixture(scope="module")
def offers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The list of what uv can download: the running Python, laid out as uv's own distributions are."""
    place = tmp_path_factory.mktemp("offers")
    archive = place / "python.tar.gz"
    with tarfile.open(archive, "w:gz", compresslevel=0) as tar:
        program = Path(sys.base_prefix, "bin", f"python{MINOR}").resolve()
        tar.add(program, f"python/bin/python{MINOR}")
        link = tarfile.TarInfo("python/bin/python3")
        link.type, link.linkname = tarfile.SYMTYPE, f"python{MINOR}"
        tar.addfile(link)
        tar.add(sysconfig.get_path("stdlib"), f"python/lib/python{MINOR}", filter=needed)
        for library in Path(sys.base_prefix, "lib").glob(f"libpython{MINOR}.so*"):
            tar.add(library, f"python/lib/{library.name}")
    major, minor, patch = sys.version_info[:3]
    offer = {
        "name": "cpython",
        "arch": {"family": platform.machine(), "variant": None},
        "os": "linux",
        "libc": "gnu",
        "major": major,
        "minor": minor,
        "patch": patch,
        "prerelease": "",
        "url": archive.as_uri(),
        "sha256": hashlib.sha256(archive.read_bytes()).hexdigest(),
        "variant": None,
        "build": "20240101",
    }
    listing = place / "offers.json"
    listing.write_text(json.dumps({f"cpython-{RELEASE}-linux-{platform.machine()}-gnu": offer}))
    return listing


@pytest.fixture
def managed(offers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """uv's directory of interpreters, on a machine that has no others."""
    installed = interpreters.installed

    def managed_alone() -> Iterator[Interpreter]:
        return (python for python in installed() if directory in python.path.parents)

    directory = tmp_path / "managed"
    for name in [name for name in os.environ if name.startswith("UV_PYTHON")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("UV_PYTHON_INSTALL_DIR", str(directory))
    monkeypatch.setenv("UV_PYTHON_DOWNLOADS_JSON_URL", str(offers))
    monkeypatch.setattr(interpreters, "installed", managed_alone)
    return directory


@pytest.fixture
def project(make_project: MakeProject) -> Path:
    return make_project(
        MLproject="python_env: python_env.yaml\n"
        f"entry_points: {{main: {{command: \"python -c '{SCRIPT}' > prefix\"}}}}\n",
        **{"python_env.yaml": f"python: '{MINOR}'\n"},
    )


def only_record(call: Projrun) -> dict[str, dict[str, str]]:
    (run,) = json.loads(call("runs", "list", "--json").stdout)
    record: dict[str, dict[str, str]] = json.loads(call("runs", "show", run["run_id"], "--json").stdout)[
        "record"
    ]
    return record


@pytest.mark.parametrize(
    ("manager", "variable"),
    [("uv", "PROJRUN_PYTHON_DOWNLOADS=1"), ("virtualenv", "UV_PYTHON_DOWNLOADS=automatic")],
)
def test_a_project_gets_the_python_that_uv_downloads(
    manager: str,
    variable: str,
    managed: Path,
    project: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(*variable.split("="))
    assert projrun.run(str(project), env_manager=manager).wait()
    (own,) = (one for one in managed.iterdir() if one.name.startswith("cpython") and not one.is_symlink())
    # not below the link `cpython-3.X`, which the next patch would take over
    assert (project / "prefix").read_text().strip() == str(own)
    environment = only_record(request.getfixturevalue("projrun"))["environment"]
    assert environment["python"] == RELEASE
    assert environment["interpreter"] == str(own / "bin" / "python3")


def test_what_uv_says_of_a_download_is_kept(
    managed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PROJRUN_PYTHON_DOWNLOADS", "1")
    python, notice = interpreters.choose(MINOR, tmp_path / "log")
    assert (python.version_text, notice) == (RELEASE, "")
    assert f"downloading Python {MINOR}" in capsys.readouterr().err
    assert f"Installed Python {RELEASE}" in (tmp_path / "log").read_text()
    assert interpreters.choose(MINOR)[0] == python
    assert "downloading" not in capsys.readouterr().err


def test_offline_fetches_no_python(managed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROJRUN_PYTHON_DOWNLOADS", "1")
    with offline(True), pytest.raises(BuildError, match=f"the project wants Python {MINOR}"):
        interpreters.choose(MINOR)


def test_an_archive_that_is_not_what_it_should_be_is_no_python(
    managed: Path, offers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    false = tmp_path / "false.json"
    false.write_text(offers.read_text().replace('"sha256": "', '"sha256": "00'))
    monkeypatch.setenv("UV_PYTHON_DOWNLOADS_JSON_URL", str(false))
    monkeypatch.setenv("PROJRUN_PYTHON_DOWNLOADS", "1")
    with pytest.raises(BuildError, match=rf"Python {MINOR} could not be downloaded: .*this machine has none"):
        interpreters.choose(MINOR)


@pytest.mark.parametrize("settings", [{}, {"PROJRUN_PYTHON_DOWNLOADS": "1", "PROJRUN_OFFLINE": "1"}])
def test_where_none_may_be_downloaded_the_error_says_how_to_have_it(
    settings: dict[str, str], managed: Path, monkeypatch: pytest.MonkeyPatch, home: Home
) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(BuildError) as caught:
        interpreters.choose(MINOR)
    assert caught.value.message == f"the project wants Python {MINOR}, and this machine has none"
    assert f"uv python install '{MINOR}'" in caught.value.hint
    assert not managed.exists() or not list(managed.glob("cpython*"))


@pytest.mark.parametrize("wanted", ["3.99", ">=3.99", "3.99.1"])
def test_a_python_that_nobody_has_names_what_uv_has(wanted: str, managed: Path) -> None:
    with pytest.raises(BuildError, match=rf"this machine has none; uv has {RELEASE} to download; name one"):
        interpreters.choose(wanted)
