"""A package index on loopback that asks for a password, and wheels and sources made on the spot."""

from __future__ import annotations

import base64
import hashlib
import json
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.support.machine_settings import forget_index_settings
from tests.support.threaded_server import answering

HOST = "127.0.0.1"
USER, PASSWORD = "reader", "s3cret-of-the-index"
_JSON = "application/vnd.pypi.simple.v1+json"

BACKEND = """
import base64, hashlib, pathlib, zipfile

NAME, VERSION, MODULE, NEEDS, SCRIPTS = {name!r}, {version!r}, {module!r}, {needs!r}, {scripts!r}


def _wheel(directory, files):
    info = f"{{MODULE}}-{{VERSION}}.dist-info"
    metadata = f"Metadata-Version: 2.1\\nName: {{NAME}}\\nVersion: {{VERSION}}\\n"
    metadata += "".join(f"Requires-Dist: {{one}}\\n" for one in NEEDS)
    wheel = "Wheel-Version: 1.0\\nGenerator: test\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"
    files = {{**files, f"{{info}}/METADATA": metadata, f"{{info}}/WHEEL": wheel}}
    if SCRIPTS:
        files[f"{{info}}/entry_points.txt"] = "\\n".join(["[console_scripts]", *SCRIPTS, ""])
    name = f"{{MODULE}}-{{VERSION}}-py3-none-any.whl"
    rows = ""
    with zipfile.ZipFile(pathlib.Path(directory, name), "w") as archive:
        for path, text in files.items():
            digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
            rows += f"{{path}},sha256={{digest}},{{len(text.encode())}}\\n"
            archive.writestr(path, text)
        archive.writestr(f"{{info}}/RECORD", rows + f"{{info}}/RECORD,,\\n")
    return name


def build_wheel(directory, config_settings=None, metadata_directory=None):
    return _wheel(directory, {{f"{{MODULE}}.py": pathlib.Path(f"{{MODULE}}.py").read_text()}})


def build_editable(directory, config_settings=None, metadata_directory=None):
    return _wheel(directory, {{f"{{MODULE}}.pth": str(pathlib.Path.cwd()) + "\\n"}})
"""


def source_files(
    name: str,
    version: str = "1.0",
    code: str = "A = 1\n",
    needs: tuple[str, ...] = (),
    scripts: tuple[str, ...] = (),
) -> dict[str, str]:
    """The files of a package that is built by its own backend: nothing is downloaded for it.

    scripts: such as `name = module:function`.
    """
    module = name.replace("-", "_")
    dependencies = json.dumps(list(needs))
    return {
        "pyproject.toml": f'[project]\nname = "{name}"\nversion = "{version}"\n'
        f"dependencies = {dependencies}\n"
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n',
        "backend.py": BACKEND.format(
            name=name, version=version, module=module, needs=list(needs), scripts=list(scripts)
        ),
        f"{module}.py": code,
    }


def make_wheel(
    directory: Path,
    name: str,
    version: str = "1.0",
    needs: tuple[str, ...] = (),
    code: str = "",
    scripts: tuple[str, ...] = (),
) -> Path:
    """A wheel with one module, which says its version as `V`. scripts: such as `name = module:function`."""
    module = name.replace("-", "_")
    info = f"{module}-{version}.dist-info"
    files = {
        f"{module}.py": f"V = {version!r}\n{code}",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        + "".join(f"Requires-Dist: {one}\n" for one in needs),
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    if scripts:
        files[f"{info}/entry_points.txt"] = "\n".join(["[console_scripts]", *scripts, ""])
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{module}-{version}-py3-none-any.whl"
    rows = ""
    with zipfile.ZipFile(path, "w") as archive:
        for file, text in files.items():
            digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
            rows += f"{file},sha256={digest},{len(text.encode())}\n"
            archive.writestr(zipfile.ZipInfo(file, (2024, 1, 1, 0, 0, 0)), text)
        archive.writestr(
            zipfile.ZipInfo(f"{info}/RECORD", (2024, 1, 1, 0, 0, 0)), rows + f"{info}/RECORD,,\n"
        )
    return path


@dataclass
class PackageIndex:
    """Serves the wheels below `root` as PEP 503 and 691, to those who know the password."""

    root: Path
    port: int = 0
    uploaded: dict[str, str] = field(default_factory=dict)
    """File name -> upload time, where it is not the first day of 2024."""
    requests: list[tuple[str, bool]] = field(default_factory=list)
    """Path of every request so far, and whether it was let in."""

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}/simple"

    @property
    def url_with_password(self) -> str:
        return f"http://{USER}:{PASSWORD}@{HOST}:{self.port}/simple"

    def add(self, name: str, version: str = "1.0", needs: tuple[str, ...] = (), uploaded: str = "") -> Path:
        wheel = make_wheel(self.root, name, version, needs)
        if uploaded:
            self.uploaded[wheel.name] = uploaded
        return wheel

    def files(self, name: str) -> list[Path]:
        return sorted(self.root.glob(f"{name.replace('-', '_')}-*.whl"))

    @property
    def was_asked(self) -> bool:
        return any(let_in for _, let_in in self.requests)


@contextmanager
def serving(root: Path) -> Iterator[PackageIndex]:
    root.mkdir(parents=True, exist_ok=True)
    index = PackageIndex(root)
    server = ThreadingHTTPServer((HOST, 0), _handler_for(index))
    index.port = server.server_address[1]
    with answering(server):
        yield index


@contextmanager
def serving_alpha(directory: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PackageIndex]:
    """Serve `alpha` 1.0 and 2.0; no other index, no cache of uv and no setting is in reach."""
    forget_index_settings(monkeypatch)
    monkeypatch.setenv("UV_CACHE_DIR", str(directory / "uv-cache"))
    with serving(directory / "index") as index:
        index.add("alpha", "1.0", uploaded="2020-01-01T00:00:00Z")
        index.add("alpha", "2.0")
        yield index


def _handler_for(index: PackageIndex) -> type[BaseHTTPRequestHandler]:
    wanted = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *arguments: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            let_in = self.headers.get("Authorization") == wanted
            index.requests.append((self.path, let_in))
            if not let_in:
                self._send(401, "text/plain", b"", {"WWW-Authenticate": 'Basic realm="index"'})
            elif self.path.startswith("/files/"):
                self._send_file(index.root / self.path.removeprefix("/files/"))
            else:
                self._send_page(self.path.removeprefix("/simple").strip("/"))

        def _send_file(self, path: Path) -> None:
            if path.parent == index.root and path.is_file():
                self._send(200, "application/octet-stream", path.read_bytes())
            else:
                self._send(404, "text/plain", b"")

        def _send_page(self, name: str) -> None:
            files = index.files(name)
            if not files:
                self._send(404, "text/plain", b"")
            elif _JSON in self.headers.get("Accept", ""):
                entries = [_entry(index, file) for file in files]
                page = {"meta": {"api-version": "1.1"}, "name": name, "versions": [], "files": entries}
                self._send(200, _JSON, json.dumps(page).encode())
            else:
                links = (
                    f'<a href="/files/{file.name}#sha256={_sha256(file)}">{file.name}</a>' for file in files
                )
                self._send(200, "text/html", "\n".join(links).encode())

        def _send(self, code: int, kind: str, body: bytes, headers: dict[str, str] | None = None) -> None:
            self.send_response(code)
            for name, value in {
                "Content-Type": kind,
                "Content-Length": str(len(body)),
                **(headers or {}),
            }.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

    return Handler


def _entry(index: PackageIndex, file: Path) -> dict[str, object]:
    return {
        "filename": file.name,
        "url": f"/files/{file.name}",
        "hashes": {"sha256": _sha256(file)},
        "size": file.stat().st_size,
        "upload-time": index.uploaded.get(file.name, "2024-01-01T00:00:00Z"),
    }


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
