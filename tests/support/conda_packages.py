"""Conda channels on this machine, of real packages: written here, without conda and without rattler."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import re
import tarfile
import threading
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal

from projrun.environments.interpreters import Interpreter
from projrun.project.environment.conda_file import platform_name

PLACEHOLDER = "/opt/placeholder" + "_placeholder" * 18
Link = tuple[Literal["link"], str]
Files = Mapping[str, "bytes | Path | Link"]
Kind = Literal["python", "generic"]


class Channel:
    """A directory of packages; `index` makes it a channel."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._records: dict[str, dict[str, dict[str, Any]]] = {platform_name(): {}, "noarch": {}}

    @property
    def url(self) -> str:
        return self.directory.as_uri()

    def add(
        self,
        name: str,
        version: str,
        files: Files,
        *,
        build: str = "0",
        depends: tuple[str, ...] = (),
        noarch: Kind | None = None,
        prefixes: Mapping[str, Literal["text", "binary"]] | None = None,
        entry_points: tuple[str, ...] = (),
        format: Literal["conda", "tar.bz2"] = "conda",
        subdir: str = "",
        **index: Any,
    ) -> Path:
        """Write a package. prefixes: files that hold PLACEHOLDER where the prefix is to stand."""
        subdir = subdir or ("noarch" if noarch else platform_name())
        record: dict[str, Any] = {"name": name, "version": version, "build": build, "build_number": 0}
        record |= {"depends": list(depends), "subdir": subdir, "timestamp": 1700000000000, **index}
        if noarch:
            record["noarch"] = noarch
        info = _info(record, files, prefixes or {}, entry_points)
        stem = f"{name}-{version}-{build}"
        path = self.directory / subdir / f"{stem}.{format}"
        path.parent.mkdir(parents=True, exist_ok=True)
        if format == "conda":
            _write_conda(path, stem, _tar(files), _tar(info))
        else:
            path.write_bytes(_tar({**info, **files}, ":bz2"))
        content = path.read_bytes()
        digests = {"sha256": hashlib.sha256(content).hexdigest(), "md5": hashlib.md5(content).hexdigest()}
        self._records.setdefault(subdir, {})[path.name] = {**record, **digests, "size": len(content)}
        return path

    def index(self) -> Channel:
        for subdir, records in self._records.items():
            packages = {name: record for name, record in records.items() if name.endswith(".tar.bz2")}
            condas = {name: record for name, record in records.items() if name.endswith(".conda")}
            repodata = {"info": {"subdir": subdir}, "packages": packages, "packages.conda": condas}
            (self.directory / subdir).mkdir(parents=True, exist_ok=True)
            (self.directory / subdir / "repodata.json").write_text(
                json.dumps({**repodata, "repodata_version": 1})
            )
        return self

    def record(self, file: str) -> dict[str, Any]:
        return next(records[file] for records in self._records.values() if file in records)


def _info(
    record: Mapping[str, Any], files: Files, prefixes: Mapping[str, str], entry_points: tuple[str, ...]
) -> dict[str, bytes]:
    paths = []
    for name, content in files.items():
        data = b"" if isinstance(content, tuple) else _bytes(content)
        kind = "softlink" if isinstance(content, tuple) else "hardlink"
        entry: dict[str, Any] = {"_path": name, "path_type": kind, "size_in_bytes": len(data)}
        entry["sha256"] = hashlib.sha256(data).hexdigest()
        if name in prefixes:
            entry |= {"prefix_placeholder": PLACEHOLDER, "file_mode": prefixes[name]}
        paths.append(entry)
    info = {
        "info/index.json": json.dumps(record).encode(),
        "info/paths.json": json.dumps({"paths": paths, "paths_version": 1}).encode(),
        "info/files": "".join(f"{name}\n" for name in files).encode(),
        "info/about.json": b"{}",
    }
    if record.get("noarch") == "python":
        noarch = {"type": "python", "entry_points": list(entry_points)}
        link = {"noarch": noarch, "package_metadata_version": 1}
        info["info/link.json"] = json.dumps(link).encode()
    return info


def _bytes(content: bytes | Path) -> bytes:
    return content if isinstance(content, bytes) else content.read_bytes()


def _tar(files: Files, compression: str = "") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=f"w{compression}") as archive:  # type: ignore[call-overload]
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.mtime = 1700000000
            if isinstance(content, tuple):
                entry.type, entry.linkname = tarfile.SYMTYPE, content[1]
                archive.addfile(entry)
                continue
            data = _bytes(content)
            entry.size, entry.mode = (
                len(data),
                0o755 if "bin/" in name or "exec/" in name or ".so" in name else 0o644,
            )
            archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def _write_conda(path: Path, stem: str, package: bytes, info: bytes) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("metadata.json", '{"conda_pkg_format_version": 2}')
        archive.writestr(f"pkg-{stem}.tar.zst", _zstd(package))
        archive.writestr(f"info-{stem}.tar.zst", _zstd(info))


def _zstd(data: bytes) -> bytes:
    """A frame of RFC 8878 that compresses nothing: raw blocks of 128 KiB at most."""
    size = 1 << 17
    blocks = [data[at : at + size] for at in range(0, len(data), size)] or [b""]
    last = len(blocks) - 1
    framed = (
        (len(block) << 3 | (number == last)).to_bytes(3, "little") + block
        for number, block in enumerate(blocks)
    )
    return b"\x28\xb5\x2f\xfd\x80" + b"\x58" + len(data).to_bytes(4, "little") + b"".join(framed)


# packages


def add_python(channel: Channel, python: Interpreter) -> None:
    """The interpreter by links to where it is installed, as a virtual environment has it: small and quick."""
    minor = ".".join(map(str, python.version[:2]))
    home = python.path.resolve().parent
    real = python.path.resolve().name
    config = f"home = {home}\ninclude-system-site-packages = false\nversion = {python.version_text}\n"
    files: Files = {
        "pyvenv.cfg": config.encode(),
        f"bin/python{minor}": ("link", str(home / real)),
        "bin/python3": ("link", f"python{minor}"),
        "bin/python": ("link", f"python{minor}"),
        f"lib/python{minor}/site-packages/README": b"here\n",
    }
    _add_interpreter(channel, python, minor, files, {})


def relocatable(python: Interpreter) -> bool:
    """Tell whether the installation can be moved as a whole: Debian's is spread over /usr."""
    root = python.path.resolve().parent.parent
    return root not in (Path("/usr"), Path("/usr/local")) and (root / "lib").is_dir()


_LEFT_OUT = re.compile(
    r"/(site-packages|test|tests|idlelib|tkinter|turtledemo|ensurepip|lib2to3|__pycache__|config-[^/]*"
    r"|pkgconfig)(/|$)|\.a$"
)


def add_whole_python(channel: Channel, python: Interpreter) -> None:
    """The interpreter itself with its library, its prefix a placeholder, as a real channel has it."""
    root = python.path.resolve().parent.parent
    minor = ".".join(map(str, python.version[:2]))
    run_path = f"{root}/lib".encode() + b"\0"
    relative = b"$ORIGIN/../lib".ljust(len(run_path) - 1, b"\0") + b"\0"
    files: dict[str, bytes | Path | Link] = {}
    prefixes: dict[str, Literal["text", "binary"]] = {}
    for directory, _, names in os.walk(root / "lib"):
        for name in names:
            path = Path(directory, name)
            relation = path.relative_to(root).as_posix()
            if _LEFT_OUT.search(f"/{relation}"):
                continue
            if path.is_symlink():
                files[relation] = ("link", os.readlink(path))
                continue
            data = path.read_bytes().replace(run_path, relative)
            if str(root).encode() in data and b"\0" not in data[:4096]:
                data = data.replace(str(root).encode(), PLACEHOLDER.encode())
                prefixes[relation] = "text"
            files[relation] = data
    program = (root / "bin" / f"python{minor}").read_bytes()
    files[f"bin/python{minor}"] = program.replace(run_path, relative)
    files["bin/python3"] = files["bin/python"] = ("link", f"python{minor}")
    _add_interpreter(channel, python, minor, files, prefixes)


def _add_interpreter(
    channel: Channel,
    python: Interpreter,
    minor: str,
    files: Files,
    prefixes: Mapping[str, Literal["text", "binary"]],
) -> None:
    tag = f"cp{minor.replace('.', '')}"
    channel.add(
        "python",
        python.version_text,
        files,
        build="0_cpython",
        depends=(f"python_abi {minor}.* *_{tag}",),
        prefixes=prefixes,
        python_site_packages_path=f"lib/python{minor}/site-packages",
    )
    constrains = [f"python {minor}.*"]
    channel.add("python_abi", minor, {}, build=f"0_{tag}", noarch="generic", constrains=constrains)


def add_library(channel: Channel, version: str, **more: Any) -> Path:
    """`tinylib`: a library of Python for every platform, with the command `tiny`."""
    code = f"__version__ = {version!r}\ndef main(): print('tinylib', __version__)\n"
    metadata = f"Metadata-Version: 2.1\nName: tinylib\nVersion: {version}\n"
    info = f"site-packages/tinylib-{version}.dist-info"
    files = {
        "site-packages/tinylib/__init__.py": code.encode(),
        f"{info}/METADATA": metadata.encode(),
        f"{info}/INSTALLER": b"conda\n",
        f"{info}/RECORD": b"",
    }
    points = ("tiny = tinylib:main",)
    settings: dict[str, Any] = {"build": "py_0", "depends": ("python",), **more}
    return channel.add("tinylib", version, files, noarch="python", entry_points=points, **settings)


# servers


@contextmanager
def served(channel: Channel, *, user: str = "", token: str = "") -> Iterator[str]:
    """The channel over http, for whoever says `user` (name:password) or has `t/TOKEN/` in the URL."""
    basic = f"Basic {base64.b64encode(user.encode()).decode()}"

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments, directory=str(channel.directory))

        def do_GET(self) -> None:
            if (user and self.headers.get("Authorization") != basic) or not self.path.startswith(prefix):
                self.send_error(401)
                return
            self.path = "/" + self.path.removeprefix(prefix)
            super().do_GET()

        def do_HEAD(self) -> None:
            self.send_error(405)

        def log_message(self, *_: object) -> None:
            pass

    prefix = f"/t/{token}/" if token else "/"
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
