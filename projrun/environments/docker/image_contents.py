"""The contents of an image, read by starting a container of it once."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from projrun import engine
from projrun.environments.contents import normal
from projrun.environments.docker.images import Image
from projrun.errors import BuildError
from projrun.plan import Container
from projrun.record import Package


class ImageContents(msgspec.Struct, frozen=True):
    shell: str
    libc: str = ""  # `glibc 2.36`, or `glibc` if its version is unknown; empty for another libc
    python: str = ""  # exact version of the first Python on the PATH; empty without one
    program: str = ""  # name of that Python's program: python3 or python
    platform: str = ""  # uv's name of the platform, such as `x86_64-manylinux_2_36`; empty without Python
    packages: tuple[Package, ...] = ()  # packages of that Python
    by_uv: tuple[str, ...] = ()  # names of the packages that uv installed


def inspect_contents(image: Image) -> ImageContents:
    """Read the contents in a container of the image. Raises EngineError or BuildError."""
    options = ["--rm", "--network", "none", "--pull", "never", "--entrypoint", "sh"]
    answer = engine.run_docker("run", *options, image.id, "-c", _SHELL_PROBE, "sh", _PYTHON_PROBE)
    if re.search(r'exec: "sh"|executable file.*not found', answer.stderr):
        raise BuildError(
            f"the image {image.name} has no shell, which runs the project's command",
            "use an image that has sh or bash",
        )
    if not answer.ok:
        raise engine.engine_error(answer.stderr or answer.stdout)
    shell, libc, program, report = (*answer.stdout.split("\n", 3), "", "", "")[:4]
    if not report.strip():
        return ImageContents(shell=shell, libc=libc)
    facts = msgspec.json.decode(report)
    rows = {normal(name): (version, installer) for name, version, installer in facts.pop("packages")}
    packages = tuple(Package(name, version) for name, (version, _) in sorted(rows.items()))
    by_uv = tuple(name for name, (_, installer) in sorted(rows.items()) if installer == "uv")
    return ImageContents(shell=shell, libc=libc, program=program, packages=packages, by_uv=by_uv, **facts)


_SHELL_PROBE = """
command -v bash >/dev/null && echo bash || echo sh
loader() { for file in /lib*/ld-linux*; do [ -e "$file" ] && echo glibc; break; done; }
getconf GNU_LIBC_VERSION 2>/dev/null || { libc=$(loader); echo "$libc"; }
for program in python3 python; do
    if command -v $program >/dev/null; then echo $program; $program -I -c "$1"; exit 0; fi
done
"""
_PYTHON_PROBE = """
import json, platform, sys
try:
    from importlib.metadata import distributions
    packages = [(d.metadata["Name"], d.version, (d.read_text("INSTALLER") or "").strip())
             for d in distributions() if d.metadata["Name"]]
except ImportError:
    packages = []
name, version = platform.libc_ver()
libc = "manylinux_" + version.replace(".", "_") if name == "glibc" else "unknown-linux-musl"
print(json.dumps({"python": "%d.%d.%d" % sys.version_info[:3], "packages": packages,
                  "platform": platform.machine().replace("arm64", "aarch64") + "-" + libc}))
"""


_FILE = "image.json"


class ImageEnvironment(msgspec.Struct, frozen=True, kw_only=True):
    """An environment that is an image."""

    engine: str
    container: Container
    packages: tuple[Package, ...]
    variables: dict[str, str] = {}  # variables to set for a process in a container of it


def read_environment(dest: Path) -> ImageEnvironment:
    return msgspec.json.decode((dest / _FILE).read_bytes(), type=ImageEnvironment)


def write_environment(dest: Path, environment: ImageEnvironment) -> None:
    (dest / _FILE).write_bytes(msgspec.json.encode(environment))
