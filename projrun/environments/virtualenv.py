"""Environments made by virtualenv and pip, from the same lock and with the same hashes as uv's.

Resolving is uv's; building asks uv nothing. virtualenv makes the environment without a seed, and the pip
that virtualenv brings for that Python installs into it: the environment holds what is locked and no more.
"""

from __future__ import annotations

import sys
from pathlib import Path

from projrun import environments
from projrun.console import is_terminal
from projrun.disk.file_operations import temporary_directory
from projrun.environments.package_files import holds_all
from projrun.environments.pip_program import find_pip, requirements, run_pip
from projrun.environments.requirement_access import installable_pylock
from projrun.environments.uv import uv_manager
from projrun.plan import Descriptor, Lock

BUILDS = True
IN_CONTAINERS = False
LOCK_ARTIFACTS: tuple[str, ...] = uv_manager.LOCK_ARTIFACTS
PYLOCK_IS_COMPLETE = True
LOCKS_ONE_PLATFORM = False
suits = environments.suits_none
container_images = environments.no_container_images
find_lock = uv_manager.find_lock
settings = uv_manager.settings
holds = uv_manager.holds
staleness = uv_manager.staleness
new_lock = uv_manager.new_lock
unfit = uv_manager.unfit
record = uv_manager.record
from_record = uv_manager.from_record
download_packages = uv_manager.download_packages
key = uv_manager.key
unhealthy = uv_manager.unhealthy
contents = uv_manager.contents
launch = uv_manager.launch

# Shell and Python both read it: a script starts the interpreter that lies beside it, wherever that is
_RELOCATABLE = b"""#!/bin/sh
'''exec' "$(dirname -- "$(realpath -- "$0")")/python" "$0" "$@"
' '''
"""


def lock(descriptor: Descriptor, directory: Path, log: Path, as_of: str = "") -> Lock:
    from projrun.environments.uv.resolution import resolve

    return resolve("virtualenv", descriptor, directory, log, as_of)


def build(lock: Lock, dest: Path, log: Path) -> None:
    # An activation script would hold the path of `dest`, which is renamed later.
    options = ["--quiet", "--no-seed", "--no-periodic-update", "--activators", "python"]
    make = [sys.executable, "-I", "-m", "virtualenv", *options, "--python", lock.interpreter, str(dest)]
    run_pip(make, log, lock.access)
    if not lock.pylock and not lock.local:
        return
    python = str(dest / "bin" / "python")
    pip = [python, "-I", str(find_pip(lock) / "pip"), "install", "--no-deps", "--no-input", "--no-compile"]
    pip += ["--disable-pip-version-check", "--no-warn-script-location"]
    if not is_terminal(sys.stderr):
        pip += ["--progress-bar", "off"]
    if holds_all(lock.pylock, lock.packages):
        pip += ["--no-index", "--find-links", lock.packages]
    options_of_index = lock.access.options if lock.access else ()
    hashed, unhashed = requirements(installable_pylock(lock))
    with temporary_directory() as temporary:
        for lines, option in ((hashed, ["--require-hashes"]), (unhashed, [])):
            if lines:
                file = temporary / "requirements.txt"
                file.write_text("\n".join([*options_of_index, *lines]) + "\n")
                run_pip([*pip, *option, "-r", str(file)], log, lock.access)
    for local in lock.local:
        run_pip([*pip, *(["--editable"] if local.editable else []), local.place], log, lock.access)
    _make_relocatable(dest)


def _make_relocatable(dest: Path) -> None:
    """Let scripts find their interpreter beside them, because the environment will be renamed."""
    ours = f"#!{dest}/bin/python".encode()
    for script in (dest / "bin").iterdir():
        if script.is_symlink() or not script.is_file():
            continue
        content = script.read_bytes()
        head, _, rest = content.partition(b"\n")
        if head.startswith(b"#!/bin/sh") and ours[2:] in rest.partition(b"\n' '''\n")[0]:
            rest = rest.partition(b"\n' '''\n")[2]  # pip's own form for a path that is too long
        elif not head.startswith(ours):
            continue
        script.write_bytes(_RELOCATABLE + rest)
