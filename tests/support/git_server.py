"""Real Git over loopback: a smart HTTP server, a stand-in for ssh, and repositories to serve."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.support.threaded_server import answering

HOST = "127.0.0.1"


@pytest.fixture
def git_server(tmp_path: Path) -> Iterator[GitServer]:
    root = tmp_path / "served"
    root.mkdir()
    with serving(root) as server:
        yield server


@dataclass(frozen=True)
class Upstream:
    """A bare repository with a working tree to commit from."""

    bare: Path
    tree: Path

    def git(self, *arguments: str) -> str:
        return run_git(*arguments, cwd=self.tree)

    def commit(self, message: str = "change", **contents: str) -> str:
        """Write files (`__` in a name stands for `/`), commit them, push. Returns the full id."""
        for name, content in contents.items():
            path = self.tree / name.replace("__", "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "-m", message)
        self.push()
        return self.head

    def push(self) -> None:
        self.git("push", "--quiet", "--mirror", "--force", "--", str(self.bare))

    @property
    def head(self) -> str:
        return self.git("rev-parse", "HEAD")


def make_upstream(directory: Path, branch: str = "main") -> Upstream:
    """An upstream called like `directory`, which becomes its bare repository, with one commit."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    upstream = Upstream(directory, directory.with_name(f"{directory.name}-tree"))
    run_git("init", "--quiet", "--bare", f"--initial-branch={branch}", "--", str(upstream.bare))
    run_git("init", "--quiet", f"--initial-branch={branch}", "--", str(upstream.tree))
    upstream.commit("first", MLproject="name: served\n", sub__dir__data="deep\n")
    return upstream


def run_git(*arguments: str, cwd: Path | None = None) -> str:
    environ = {**os.environ, "GIT_CONFIG_NOSYSTEM": "1"}  # where Debian's git-lfs puts its filters
    done = subprocess.run(["git", *arguments], cwd=cwd, capture_output=True, text=True, env=environ)
    assert done.returncode == 0, f"git {' '.join(arguments)}: {done.stderr}"
    return done.stdout.strip()


@dataclass
class GitServer:
    """Serves every bare repository below `root` at `url`/NAME, read-only."""

    root: Path
    port: int = 0
    credentials: str = ""
    """`user:password` to ask for; empty: open to all."""
    newest_protocol: int = 2
    """0 makes it a server that refuses commits that no branch or tag stands at."""
    requests: list[str] = field(default_factory=list)
    """The path and query of every request so far."""
    on_request: Callable[[], None] = lambda: None
    drops: int = 0
    """How many of the next packs break off half-way."""
    stalls: str = ""
    """When the server stops to answer: "before the headers" or "in the pack", until `go_on` is set."""
    go_on: threading.Event = field(default_factory=threading.Event)
    stalled: threading.Event = field(default_factory=threading.Event)
    large: dict[str, bytes] = field(default_factory=dict)
    """What the LFS server has, by sha256."""

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    def url_with(self, userinfo: str) -> str:
        return f"http://{userinfo}@{HOST}:{self.port}"

    def upstream(self, name: str = "project.git", branch: str = "main") -> Upstream:
        return make_upstream(self.root / name, branch)


@contextmanager
def serving(root: Path) -> Iterator[GitServer]:
    served = GitServer(root)
    server = ThreadingHTTPServer((HOST, 0), _handler_for(served))
    server.daemon_threads = False
    served.port = server.server_address[1]
    with answering(server):
        yield served


def _handler_for(served: GitServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer()

        def do_POST(self) -> None:
            self._answer()

        def log_message(self, format: str, *args: object) -> None:
            pass

        def _answer(self) -> None:
            served.requests.append(self.path)
            served.on_request()
            if served.stalls == "before the headers":
                self._stall()
                return
            if not _lets_in(served, self.headers.get("Authorization", "")):
                self.send_response(401)
                self.send_header("WWW-Authenticate", 'Basic realm="test"')
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            if "/lfs/" in self.path:
                self._answer_lfs()
                return
            head, _, body = self._backend().partition(b"\r\n\r\n")
            lines = [line.partition(": ")[::2] for line in head.decode().splitlines()]
            self.send_response(int(dict(lines).get("Status", "200").split()[0]))
            for name, value in lines:
                if name != "Status":
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if served.stalls and b"PACK" in body:
                self.wfile.write(body[: len(body) // 2])
                self._stall()
                return
            if served.drops and b"PACK" in body:
                served.drops -= 1
                self.wfile.write(body[: len(body) // 2])
                self.close_connection = True
                return
            self.wfile.write(body)

        def _stall(self) -> None:
            served.stalled.set()
            served.go_on.wait(120)
            self.close_connection = True

        def _answer_lfs(self) -> None:
            """The batch API's `basic` transfer, for downloads."""
            if self.command == "GET":
                self._send(served.large[self.path.rpartition("/")[2]], "application/octet-stream")
                return
            wanted = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["objects"]
            base = f"{served.url}{self.path.removesuffix('objects/batch')}"
            objects = [
                {**one, "actions": {"download": {"href": f"{base}{one['oid']}"}}}
                if one["oid"] in served.large
                else {**one, "error": {"code": 404, "message": "no such object"}}
                for one in wanted
            ]
            self._send(json.dumps({"objects": objects}).encode(), "application/vnd.git-lfs+json")

        def _send(self, body: bytes, kind: str) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def _backend(self) -> bytes:
            content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            done = subprocess.run(
                ["git", "http-backend"], input=content, env=self._environ(), capture_output=True
            )
            return done.stdout

        def _environ(self) -> dict[str, str]:
            path, _, query = self.path.partition("?")
            protocol = self.headers.get("Git-Protocol", "") if served.newest_protocol else ""
            return {
                "PATH": os.environ["PATH"],
                "GIT_CONFIG_NOSYSTEM": "1",
                "GIT_PROJECT_ROOT": str(served.root),
                "GIT_HTTP_EXPORT_ALL": "1",
                "GIT_PROTOCOL": protocol,
                "REQUEST_METHOD": self.command,
                "PATH_INFO": path,
                "QUERY_STRING": query,
                "CONTENT_TYPE": self.headers.get("Content-Type", ""),
                "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            }

    return Handler


def _lets_in(served: GitServer, authorization: str) -> bool:
    wanted = base64.b64encode(served.credentials.encode()).decode()
    return not served.credentials or authorization == f"Basic {wanted}"


def stand_in_for_ssh(directory: Path) -> str:
    """A GIT_SSH_COMMAND that runs the remote command here: git's own ssh code, another transport.

    Every call is a line in `directory`/ssh.log.
    """
    script = directory / "ssh"
    script.write_text(
        "#!/bin/sh\n"
        f'echo "$*" >> {directory}/ssh.log\n'
        "while [ $# -gt 2 ]; do shift; done  # options; then: host command\n"
        'exec sh -c "$2"\n'
    )
    script.chmod(0o755)
    return str(script)
