"""Servers that break off, hang, or speak an old protocol; and people who can be asked."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from projrun.disk import Home
from projrun.errors import ProjrunError, SourceError
from tests.conftest import Projrun
from tests.sources.conftest import Fetcher
from tests.support.git_server import GitServer, Upstream, run_git
from tests.support.waiting import PATIENCE_S, eventually


def test_a_connection_that_breaks_off_once_is_tried_again(
    fetch: Fetcher, git_server: GitServer, capsys: pytest.CaptureFixture[str]
) -> None:
    upstream = git_server.upstream()
    git_server.drops = 1
    assert fetch(f"{git_server.url}/project.git").source.commit == upstream.head
    said = capsys.readouterr().err
    assert said.count("broke off") == 1
    assert "trying again in 0.5 s" in said


def test_a_connection_that_always_breaks_off(fetch: Fetcher, git_server: GitServer, home: Home) -> None:
    upstream = git_server.upstream()
    url = f"{git_server.url_with('user:s3cr3t')}/project.git"
    git_server.drops = 99
    with pytest.raises(SourceError, match="cannot be reached") as caught:
        fetch(url)
    assert "\n" not in str(caught.value)
    assert "s3cr3t" not in str(caught.value)
    assert git_server.drops == 96
    git_server.drops = 0
    assert fetch(url).source.commit == upstream.head
    (bare,) = home.git.glob("*.git")
    assert run_git("fsck", "--connectivity-only", cwd=bare) == ""


def test_what_is_not_there_or_closed_is_asked_once(fetch: Fetcher, git_server: GitServer) -> None:
    with pytest.raises(SourceError, match="not a Git repository"):
        fetch(f"{git_server.url}/nothing.git")
    assert len(git_server.requests) == 1


def test_a_server_that_never_answers(
    fetch: Fetcher, git_server: GitServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    git_server.upstream()
    go_on = threading.Event()

    def hang() -> None:
        go_on.wait(PATIENCE_S)

    git_server.on_request = hang
    monkeypatch.setenv("PROJRUN_GIT_TIMEOUT", "0.3")
    try:
        with pytest.raises(SourceError, match=r"did not answer within 0\.3 s") as caught:
            fetch(f"{git_server.url}/project.git")
    finally:
        go_on.set()
    assert "PROJRUN_GIT_TIMEOUT" in caught.value.hint


def test_a_time_out_that_is_no_number(
    fetch: Fetcher, git_server: GitServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROJRUN_GIT_TIMEOUT", "soon")
    with pytest.raises(ProjrunError, match="PROJRUN_GIT_TIMEOUT=soon is not a number of seconds"):
        fetch(f"{git_server.url}/project.git")


class _Silent(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def dumb_url(git_server: GitServer) -> Iterator[str]:
    """The same repositories as plain files: the protocol that knows neither depth nor single commits."""
    handler = partial(_Silent, directory=str(git_server.root))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_dumb_http(fetch: Fetcher, git_server: GitServer, dumb_url: str) -> None:
    upstream = git_server.upstream()
    first = upstream.head
    upstream.commit("second")
    run_git("update-server-info", cwd=upstream.bare)
    url = f"{dumb_url}/project.git"
    assert fetch(url, "main").source.commit == upstream.head
    assert fetch(url, first).source.commit == first
    assert fetch(url, "main~1").source.commit == first


@pytest.fixture
def daemon_url(git_server: GitServer, unused_port: int) -> Iterator[str]:
    command = ["git", "daemon", "--listen=127.0.0.1", f"--port={unused_port}", "--export-all", "--reuseaddr"]
    child = subprocess.Popen(
        [*command, f"--base-path={git_server.root}", str(git_server.root)], start_new_session=True
    )

    def listens() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", unused_port)) == 0

    assert eventually(listens)
    yield f"git://127.0.0.1:{unused_port}"
    os.killpg(child.pid, 15)
    child.wait()


def test_git_daemon(fetch: Fetcher, git_server: GitServer, daemon_url: str) -> None:
    upstream = git_server.upstream()
    first = upstream.head
    upstream.git("tag", "-a", "-m", "words", "v1")
    upstream.git("update-ref", "refs/merge-requests/3/head", first)
    upstream.commit("second")
    url = f"{daemon_url}/project.git"
    assert fetch(url).source.commit == upstream.head
    for version in ("v1", "merge-requests/3/head", "refs/merge-requests/3/head", first, first[:9], "HEAD~1"):
        assert fetch(url, version).source.commit == first
    with pytest.raises(SourceError):
        fetch(f"{daemon_url}/nothing.git")


PROMPT = re.compile(rb"(?:Username|Password) for '[^']*': ")


def _on_a_terminal(url: str, answers: bytes, **environ: str) -> tuple[int, str]:
    """`projrun describe URL` with somebody at the terminal who types `answers`; exit code, what it showed."""
    pid, terminal = pty.fork()
    if pid == 0:
        command = [sys.executable, "-m", "projrun", "describe", url]
        os.execvpe(command[0], command, {**os.environ, "PYTHONPATH": os.getcwd(), **environ})
    shown = b""
    for number, answer in enumerate(answers.splitlines(keepends=True)):
        # Git's own prompts are counted: other lines end with a colon too, and may be shown behind a prompt.
        while len(PROMPT.findall(shown)) <= number and (chunk := _read(terminal)):
            shown += chunk
        if len(PROMPT.findall(shown)) > number:
            os.write(terminal, answer)
    while chunk := _read(terminal):
        shown += chunk
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), shown.decode()


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:
        return b""


@pytest.fixture
def closed(git_server: GitServer, monkeypatch: pytest.MonkeyPatch) -> Upstream:
    upstream = git_server.upstream()
    upstream.commit("runs", MLproject="name: served\nentry_points: {main: {command: 'true'}}\n")
    git_server.credentials = "user:s3cr3t"
    for name in ("GIT_ASKPASS", "SSH_ASKPASS", "CI", "GIT_TERMINAL_PROMPT"):
        monkeypatch.delenv(name, raising=False)
    return upstream


def test_on_a_terminal_git_may_ask_and_shows_progress(git_server: GitServer, closed: Upstream) -> None:
    run_git("config", "--global", "credential.helper", "cache-that-is-not-there")
    code, shown = _on_a_terminal(f"{git_server.url}/project.git", b"user\ns3cr3t\nuser\ns3cr3t\n")
    assert code == 0, shown
    assert "Username for" in shown
    assert "objects" in shown, "no progress was shown"
    assert "s3cr3t" not in shown


@pytest.mark.parametrize("silence", [{"CI": "true"}, {"GIT_TERMINAL_PROMPT": "0"}])
def test_in_ci_nothing_asks(git_server: GitServer, closed: Upstream, silence: dict[str, str]) -> None:
    code, shown = _on_a_terminal(f"{git_server.url}/project.git", b"", **silence)
    assert code == 125
    assert "does not let us in" in shown
    assert "Username for 'http" not in shown.replace("could not read Username for 'http", "")


def test_a_credential_helper_of_the_users_is_asked(
    fetch: Fetcher, git_server: GitServer, closed: Upstream, tmp_path: Path
) -> None:
    store = tmp_path / "credentials"
    store.write_text(f"{git_server.url_with('user:s3cr3t')}\n")
    run_git("config", "--global", "credential.helper", f"store --file={store}")
    assert fetch(f"{git_server.url}/project.git").source.commit == closed.head


@pytest.fixture(params=["before the headers", "in the pack"])
def stalling_url(request: pytest.FixtureRequest, git_server: GitServer) -> Iterator[str]:
    """A server that answers no more at that moment, and keeps the connection."""
    upstream = git_server.upstream()
    upstream.commit("large", large=os.urandom(300_000).hex())
    git_server.stalls = request.param
    yield f"{git_server.url}/project.git"
    git_server.go_on.set()


def _of_home(home: Home) -> list[str]:
    """The command lines of programs that were started with this home, us apart."""
    mark = f"PROJRUN_HOME={home.data}".encode()
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        if int(place.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            if mark in (place / "environ").read_bytes().split(b"\0"):
                found.append((place / "cmdline").read_bytes().replace(b"\0", b" ").decode())
    return [line for line in found if "http-backend" not in line and "upload-pack" not in line]


def test_a_stalled_connection_ends_whole_on_a_terminal(
    stalling_url: str, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.delenv("GIT_TERMINAL_PROMPT", raising=False)
    code, shown = _on_a_terminal(stalling_url, b"", PROJRUN_GIT_TIMEOUT="4")
    assert code == 125
    assert "did not answer within 4 s" in shown
    assert _of_home(home) == []


def test_a_stalled_connection_ends_whole_without_a_terminal(
    stalling_url: str, home: Home, projrun: Projrun
) -> None:
    done = projrun("describe", stalling_url, environ={"PROJRUN_GIT_TIMEOUT": "4"})
    assert done.returncode == 125
    assert "did not answer within 4 s" in done.stderr
    assert _of_home(home) == []


@pytest.mark.parametrize("on_terminal", [True, False])
def test_an_interrupt_of_a_stalled_connection_leaves_nothing(
    git_server: GitServer, home: Home, monkeypatch: pytest.MonkeyPatch, on_terminal: bool
) -> None:
    git_server.upstream()
    git_server.stalls = "before the headers"
    monkeypatch.delenv("CI", raising=False)
    pid, terminal = pty.fork()
    if pid == 0:
        command = [sys.executable, "-m", "projrun", "describe", f"{git_server.url}/project.git"]
        if not on_terminal:
            os.dup2(os.open(os.devnull, os.O_RDWR), 0)
        os.execvpe(command[0], command, {**os.environ, "PYTHONPATH": os.getcwd()})
    try:
        assert git_server.stalled.wait(60)
        os.write(terminal, b"\x03")
        while _read(terminal):
            pass
        os.waitpid(pid, 0)
    finally:
        git_server.go_on.set()
        os.close(terminal)
    assert _of_home(home) == []
