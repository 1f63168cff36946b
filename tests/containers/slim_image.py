"""A base image like python:X.Y-slim, out of what this machine has: there is no registry to pull one from.

`python -m tests.containers.slim_image TAG` makes one of the running interpreter.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

PROGRAMS = (
    "bash dash cat chmod chown cp date dirname env false getconf getent grep head id kill ls mkdir mv nproc "
    "printf pwd readlink rm sed sh sleep sort stat tail test touch tr true uname wc"
)
LINKS = {"bin": "usr/bin", "lib": "usr/lib", "lib64": "usr/lib64", "sbin": "usr/sbin"}
FILES = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false\n",
    "etc/group": "root:x:0:\nnogroup:x:65534:\n",
    "etc/nsswitch.conf": "hosts: files dns\npasswd: files\ngroup: files\n",
}
DIRECTORIES = ("tmp", "root", "proc", "sys", "dev", "run", "home", "opt", "usr/lib64", "usr/sbin")
EXTRA_LIBRARIES = (
    *("libnss_dns.so.2", "libnss_files.so.2", "libresolv.so.2", "libgcc_s.so.1", "librt.so.1"),
    *("libpthread.so.0", "libdl.so.2", "libm.so.6", "libutil.so.1", "libstdc++.so.6"),
)
CHANGES = ("ENV PATH=/usr/local/bin:/usr/bin:/bin", "ENV LANG=C.UTF-8", 'CMD ["python3"]')
AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"
NOT_PYTHONS = {"site-packages", "dist-packages", "EXTERNALLY-MANAGED"}
"""What a distribution puts beside the interpreter; the official images have none of it."""
LEFT_OUT = {*NOT_PYTHONS, "test", "tests", "idlelib", "tkinter"}
# Bytecode comes along: else each new container compiles what its Python imports, for up to a second.
IS_OPTIMIZED = re.compile(r"\.opt-[12]\.pyc$")


def make(tag: str, *, python: bool = True) -> None:
    """Have the engine import the image under `tag`, in a second or two; without Python it is small."""
    with tempfile.TemporaryFile() as archive:
        with tarfile.open(fileobj=archive, mode="w") as tar:
            _fill(tar, python)
        archive.seek(0)
        changes = [word for change in CHANGES for word in ("--change", change)]
        subprocess.run(
            ["docker", "import", *changes, "-", tag], stdin=archive, check=True, capture_output=True
        )


def _fill(tar: tarfile.TarFile, with_python: bool) -> None:
    for directory in DIRECTORIES:
        _add(tar, directory, tarfile.DIRTYPE, mode=0o1777 if directory == "tmp" else 0o755)
    for name, target in LINKS.items():
        _add(tar, name, tarfile.SYMTYPE, target=target)
    for name, text in FILES.items():
        _add(tar, name, tarfile.REGTYPE, content=text.encode())
    here = {name: shutil.which(name, path="/usr/bin:/bin") for name in PROGRAMS.split()}
    programs = {f"usr/bin/{name}": path for name, path in here.items() if path}
    if not with_python:
        _add_binaries(tar, programs)
        return
    python = Path(sys.executable).resolve()
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    programs[f"usr/local/bin/{version}"] = str(python)
    for name in ("python3", "python"):
        _add(tar, f"usr/local/bin/{name}", tarfile.SYMTYPE, target=version)
    stdlib = Path(sysconfig.get_path("stdlib"))
    tar.add(stdlib, f"usr/local/lib/{version}", filter=_owned_by_root)
    _add_pip(tar, f"usr/local/lib/{version}")
    extensions = [str(path) for path in stdlib.glob("lib-dynload/*.so")]
    _add_binaries(tar, programs, extensions)
    if os.path.exists(AUTHORITIES):
        tar.add(os.path.realpath(AUTHORITIES), AUTHORITIES[1:], filter=_owned_by_root)


def _add_binaries(tar: tarfile.TarFile, programs: dict[str, str], others: Sequence[str] = ()) -> None:
    """Programs, by their names in the image, and all that they and others load."""
    for name, path in {**programs, **_libraries([*programs.values(), *others])}.items():
        tar.add(os.path.realpath(path), name, filter=_owned_by_root)


def _add_pip(tar: tarfile.TarFile, place: str) -> None:
    """The pip that comes with the interpreter, if one does."""
    wheels = [*Path(sysconfig.get_path("stdlib")).glob("ensurepip/_bundled/pip-*.whl")]
    for wheel in [*wheels, *Path("/usr/share/python-wheels").glob("pip-*.whl")][:1]:
        with zipfile.ZipFile(wheel) as archive:
            for name in archive.namelist():
                _add(tar, f"{place}/{name}", tarfile.REGTYPE, content=archive.read(name))


def _libraries(binaries: list[str]) -> dict[str, str]:
    """Every shared library that they need, at the place where the loader looks without a cache."""
    said = subprocess.run(["ldd", *binaries], capture_output=True, text=True).stdout
    triplet = sysconfig.get_config_var("MULTIARCH") or f"{os.uname().machine}-linux-gnu"
    place = f"usr/lib/{triplet}"
    found = {f"{place}/{name}": path for name, path in re.findall(r"(\S+) => (/\S+)", said)}
    loaders = set(re.findall(r"^\s*(/\S*/ld-linux\S*)", said, re.MULTILINE))
    found |= {f"usr/{'/'.join(loader.split('/')[-2:])}": loader for loader in loaders}
    for name in EXTRA_LIBRARIES:
        if (library := Path("/", place, name)).exists():
            found.setdefault(f"{place}/{name}", str(library))
    return found


def _owned_by_root(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    name = member.name
    if LEFT_OUT & set(name.split("/")) or "/config-" in name or IS_OPTIMIZED.search(name):
        return None
    member.uid = member.gid = 0
    member.uname = member.gname = "root"
    member.mode |= 0o444
    return member


def _add(
    tar: tarfile.TarFile, name: str, kind: bytes, *, mode: int = 0o755, target: str = "", content: bytes = b""
) -> None:
    member = tarfile.TarInfo(name)
    member.type, member.mode, member.linkname, member.size = kind, mode, target, len(content)
    tar.addfile(member, io.BytesIO(content))


if __name__ == "__main__":
    make(sys.argv[1])
