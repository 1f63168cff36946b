"""Stories of `projrun run` with paths that are somewhere else."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from projrun.disk import Home
from tests.conftest import MakeProject, Projrun
from tests.inputs.conftest import PASSWORD, Web

READS = """
entry_points:
  main:
    parameters:
      data: path
      more: {type: path, required: false}
      result: {type: path, output: true, default: result.txt}
    command: "echo {data} && ls -d {data} && cat {data} {more}"
  list:
    parameters: {data: path}
    command: "cd {data} && find . -type f | LC_ALL=C sort"
"""


@pytest.fixture
def reads(make_project: MakeProject) -> Path:
    return make_project(MLproject=READS)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def last_run(projrun: Projrun) -> dict[str, Any]:
    listed = json.loads(projrun("runs", "list", "--json").stdout)
    shown: dict[str, Any] = json.loads(projrun("runs", "show", listed[0]["run_id"], "--json").stdout)
    return shown


def run(projrun: Projrun, project: Path, *values: str, **options: Any) -> subprocess.CompletedProcess[str]:
    parameters = [word for value in values for word in ("-P", value)]
    return projrun("run", project, "--env-manager", "local", *parameters, **options)


def downloads(home: Home) -> list[str]:
    return sorted(path.name for path in home.inputs.iterdir()) if home.inputs.exists() else []


def test_a_web_address_is_downloaded_read_recorded_and_goes(
    projrun: Projrun, reads: Path, web: Web, home: Home
) -> None:
    web.files["/sets/iris%20small.csv"] = b"a,b\n1,2\n"
    url = f"{web.address}/sets/iris%20small.csv?version=3"
    done = run(projrun, reads, f"data={url}")
    assert done.returncode == 0, done.stderr
    path, _, *content = done.stdout.splitlines()
    assert path.endswith("/iris small.csv") and path.startswith(str(home.inputs))
    assert content == ["a,b", "1,2"]
    assert not Path(path).exists()
    assert downloads(home) == ["gate"]
    shown = last_run(projrun)
    assert shown["params"]["data"] == url
    assert shown["record"]["inputs"] == [
        {
            "parameter": "data",
            "value": url,
            "path": path,
            "size": 8,
            "sha256": sha256(b"a,b\n1,2\n"),
            "files": None,
        }
    ]
    recorded = sha256(b"a,b\n1,2\n")
    described = projrun("runs", "show", shown["run_id"]).stdout
    assert f"data  8 bytes, sha256 {recorded[:16]}, {url}" in described
    assert "downloading" not in done.stderr  # no terminal


def test_a_storage_directory_is_kept_and_two_runs_share_nothing(
    projrun: Projrun, reads: Path, web: Web, tmp_path: Path
) -> None:
    web.files["/a.csv"], web.files["/b/a.csv"] = b"one\n", b"two\n"
    values = (f"data={web.address}/a.csv", f"more={web.address}/b/a.csv")
    for _ in range(2):
        parameters = [word for value in values for word in ("-P", value)]
        options = ("--env-manager", "local", "--storage-dir", "here/downloads")
        done = projrun("run", reads, *options, *parameters, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert done.stdout.endswith("one\ntwo\n")
    stored = sorted((tmp_path / "here" / "downloads").glob("*/*/*"))
    assert [file.read_text() for file in stored] == ["one\n", "two\n"] * 2
    assert {file.name for file in stored} == {"a.csv"}


def test_a_large_file_in_pieces_arrives_whole(projrun: Projrun, reads: Path, web: Web) -> None:
    content = os.urandom(1 << 19).hex().encode() * 5
    web.files["/chunked/large.bin"] = content
    assert run(projrun, reads, f"data={web.address}/chunked/large.bin").returncode == 0
    (recorded,) = last_run(projrun)["record"]["inputs"]
    assert (recorded["size"], recorded["sha256"]) == (len(content), sha256(content))


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("/missing.csv", "the server answered 404"),
        ("/private/a.csv", "the server answered 404"),
        ("/broken/a.csv", "the connection broke off after 4 of 5 bytes"),
        ("/chunked/broken.csv", "the connection broke off"),
        ("/to-a-file", "redirects to file:///etc/passwd, where projrun does not follow"),
        ("/to-ftp", "redirects to ftp://127.0.0.1/x, where projrun does not follow"),
        ("/in-circles", "302"),
    ],
)
def test_a_download_that_fails_is_a_failed_run_and_leaves_nothing(
    projrun: Projrun, reads: Path, web: Web, tmp_path: Path, home: Home, path: str, told: str
) -> None:
    storage = "kept" if "broken" in path else ""
    web.files = dict.fromkeys(("/broken/a.csv", "/chunked/broken.csv", "/private/a.csv"), b"a,b,\n")
    web.redirects = {
        "/to-a-file": "file:///etc/passwd",
        "/to-ftp": "ftp://127.0.0.1/x",
        "/in-circles": "/in-circles",
    }
    options = ("--storage-dir", str(tmp_path / storage)) if storage else ()
    done = projrun("run", reads, "--env-manager", "local", "-P", f"data={web.address}{path}", *options)
    assert done.returncode == 125
    assert len(done.stderr.splitlines()) == 1
    assert "parameter 'data'" in done.stderr and told in done.stderr, done.stderr
    shown = last_run(projrun)
    assert (shown["status"], shown["record"]["inputs"]) == ("FAILED", [])
    assert told in shown["record"]["outcome"]["reason"]
    assert downloads(home) in ([], ["gate"])
    assert not storage or list((tmp_path / storage).iterdir()) == []


def test_a_server_that_is_not_there(projrun: Projrun, reads: Path) -> None:
    done = run(projrun, reads, "data=http://127.0.0.1:9/x.csv")
    assert done.returncode == 125
    assert "Connection refused" in done.stderr and len(done.stderr.splitlines()) == 1


def test_credentials_are_used_recorded_nowhere_and_not_carried_on(
    projrun: Projrun, reads: Path, web: Web, home: Home
) -> None:
    web.files["/private/a.csv"], web.files["/b.csv"] = b"a\n", b"b\n"
    web.redirects["/elsewhere"] = "/b.csv"
    host = web.address.removeprefix("http://")
    values = (
        f"data=http://me:s3cret@{host}/private/a.csv?X-Amz-Signature=51gned",
        f"more=http://me:s3cret@{host}/elsewhere",
    )
    done = run(projrun, reads, *values)
    assert done.returncode == 0, done.stderr
    assert web.asked == [("/private/a.csv", PASSWORD), ("/elsewhere", PASSWORD), ("/b.csv", "")]
    assert last_run(projrun)["params"]["data"] == f"http://{host}/private/a.csv?X-Amz-Signature=…"
    kept = [file.read_bytes() for file in home.data.rglob("*") if file.is_file()]
    for secret in (b"s3cret", b"51gned"):
        assert not any(secret in content for content in kept)
        assert secret.decode() not in done.stderr


def test_nothing_is_downloaded_before_every_parameter_is_checked(
    projrun: Projrun, reads: Path, web: Web
) -> None:
    web.files["/a.csv"] = b""
    for more in ("missing.csv", "nonsense://b/k", "file://elsewhere/a", "runs:/"):
        done = run(projrun, reads, f"data={web.address}/a.csv", f"more={more}")
        assert done.returncode == 125
        assert "parameter 'more'" in done.stderr and len(done.stderr.splitlines()) == 1, done.stderr
    assert web.asked == []
    assert projrun("runs", "list", "--json").stdout == "[]\n"


def test_what_a_run_makes_cannot_be_remote(projrun: Projrun, reads: Path, web: Web) -> None:
    done = run(projrun, reads, f"data={reads}/MLproject", f"result={web.address}/result.txt")
    assert done.returncode == 125
    assert "what a run makes must be a local path" in done.stderr


def test_an_artifact_of_another_run_is_an_input(
    projrun: Projrun, reads: Path, make_project: MakeProject
) -> None:
    run(projrun, reads, f"data={reads}/MLproject")
    earlier = last_run(projrun)["run_id"]
    done = run(projrun, reads, f"data=runs:/{earlier}/projrun/record.json")
    assert done.returncode == 0, done.stderr
    assert json.loads("\n".join(done.stdout.splitlines()[2:]))["run_id"] == earlier
    listed = projrun(
        "run", reads, "--env-manager", "local", "-e", "list", "-P", f"data=runs:/{earlier}/projrun"
    )
    assert {"./output.log", "./record.json", "./source.tar.gz"} <= set(listed.stdout.split())
    assert last_run(projrun)["record"]["inputs"][0]["files"] == len(listed.stdout.split())
    for missing in (f"runs:/{earlier}/nothing", f"runs:/{'0' * 32}/a"):
        failed = run(projrun, reads, f"data={missing}")
        assert failed.returncode == 125
        assert len(failed.stderr.splitlines()) == 1 and "could not be downloaded" in failed.stderr


def test_files_and_directories_of_this_machine_have_a_digest_too(
    projrun: Projrun, reads: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    (data / "sub").mkdir(parents=True)
    (data / "b.txt").write_text("b")
    (data / "sub" / "a.txt").write_text("aa")
    for value in ("data", data.as_uri()):
        done = projrun(
            "run", reads, "--env-manager", "local", "-e", "list", "-P", f"data={value}", cwd=tmp_path
        )
        assert done.stdout == "./b.txt\n./sub/a.txt\n"
        lines = f"{sha256(b'b')} b.txt\n{sha256(b'aa')} sub/a.txt\n"
        assert last_run(projrun)["record"]["inputs"] == [
            {
                "parameter": "data",
                "value": value,
                "path": str(data),
                "size": 3,
                "sha256": sha256(lines.encode()),
                "files": 2,
            }
        ]


def test_a_device_and_a_link_to_nothing_hang_nobody(projrun: Projrun, reads: Path, tmp_path: Path) -> None:
    (tmp_path / "gone").symlink_to("nowhere")
    done = projrun(
        "run", reads, "--env-manager", "local", "-e", "list", "-P", f"data={tmp_path}", cwd=tmp_path
    )
    assert done.returncode == 0
    assert run(projrun, reads, "data=/dev/null").returncode == 0
    (recorded,) = last_run(projrun)["record"]["inputs"]
    assert (recorded["size"], recorded["sha256"]) == (0, "")


def test_progress_is_shown_on_a_terminal(reads: Path, web: Web) -> None:
    web.files["/big.csv"] = b"x" * 3_000_000
    terminal, other_end = pty.openpty()
    arguments = ["run", str(reads), "--env-manager", "local", "-P", f"data={web.address}/big.csv"]
    with subprocess.Popen(
        [sys.executable, "-m", "projrun", *arguments], stdout=subprocess.DEVNULL, stderr=other_end
    ) as child:
        os.close(other_end)
        shown = b""
        while chunk := read_from(terminal):
            shown += chunk
    os.close(terminal)
    assert child.returncode == 0
    assert b"downloading big.csv: " in shown and b" of 3.0 MB" in shown


def read_from(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # its other end is closed
        return b""


def test_an_interrupted_download_leaves_nothing(
    projrun: Projrun, reads: Path, tmp_path: Path, home: Home
) -> None:
    """The server is a program that answers with half a file and then says nothing."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/half.csv"
        arguments = ["run", str(reads), "--env-manager", "local", "-P", f"data={url}"]
        child = subprocess.Popen([sys.executable, "-m", "projrun", *arguments], stderr=subprocess.DEVNULL)
        connection, _ = server.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
            child.send_signal(signal.SIGTERM)
            assert child.wait() == 143
    assert downloads(home) == ["gate"]
    assert last_run(projrun)["status"] == "KILLED"


needs_fsspec = pytest.mark.skipif(
    importlib.util.find_spec("fsspec") is None and not os.environ.get("PROJRUN_TEST_ENGINES"),
    reason="fsspec is not installed",
)


@needs_fsspec
def test_whatever_fsspec_reads_is_an_input(projrun: Projrun, reads: Path, tmp_path: Path) -> None:
    (tmp_path / "set" / "deep").mkdir(parents=True)
    (tmp_path / "set" / "a.csv").write_text("a\n")
    (tmp_path / "set" / "deep" / "b.csv").write_text("b\n")
    done = run(projrun, reads, f"data=local://{tmp_path}/set/a.csv")
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("a\n")
    listed = projrun(
        "run", reads, "--env-manager", "local", "-e", "list", "-P", f"data=local://{tmp_path}/set"
    )
    assert listed.stdout == "./a.csv\n./deep/b.csv\n", listed.stderr
    assert last_run(projrun)["record"]["inputs"][0]["files"] == 2
    failed = run(projrun, reads, f"data=local://{tmp_path}/missing.csv")
    assert failed.returncode == 125 and "there is no such file" in failed.stderr


@needs_fsspec
def test_a_chain_of_file_systems_is_followed(projrun: Projrun, reads: Path, web: Web, tmp_path: Path) -> None:
    import zipfile

    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        archive.writestr("inside/a.csv", "zipped\n")
    done = run(projrun, reads, f"data=zip://inside/a.csv::local://{tmp_path}/set.zip")
    assert done.stdout.endswith("zipped\n"), done.stderr


@needs_fsspec
@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("s3://bucket/key", r"pip install 'projrun\[remote\]'"),
        ("models:/m/1", "nothing here can download from models:"),
    ],
)
def test_a_driver_that_is_missing_is_named(projrun: Projrun, reads: Path, url: str, told: str) -> None:
    import re

    if url.startswith("s3:") and importlib.util.find_spec("s3fs"):
        pytest.skip("s3fs is installed")
    done = run(projrun, reads, f"data={url}")
    assert done.returncode == 125
    assert re.search(told, done.stderr) and len(done.stderr.splitlines()) == 1, done.stderr


def test_without_fsspec_the_extra_is_named(projrun: Projrun, reads: Path, tmp_path: Path) -> None:
    (tmp_path / "fsspec").mkdir()
    (tmp_path / "fsspec" / "__init__.py").write_text("raise ImportError('not here')\n")
    done = run(projrun, reads, "data=gs://bucket/key", environ={"PYTHONPATH": str(tmp_path)})
    assert done.returncode == 125
    assert "needs fsspec, which is not installed; install it: pip install 'projrun[remote]'" in done.stderr


def test_runs_without_paths_load_nothing_for_them(reads: Path, make_project: MakeProject) -> None:
    project = make_project("plain", MLproject="entry_points: {main: {command: 'true'}}")
    script = (
        "import sys; from projrun import run; run(sys.argv[1], env_manager='local');"
        "print([name for name in sys.modules if name in ('urllib.request', 'fsspec', 'tomllib')"
        " or (name.startswith('projrun.inputs.') and name != 'projrun.inputs')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(project)], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"
