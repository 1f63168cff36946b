"""The Dockerfile of an environment, and the files that it copies. Owns the template engine.

Packages are installed in a stage of its own, which is removed after the build, so that index settings and
certificates are in no image that stays. Secret mounts would do that too, but only with BuildKit.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from projrun.console import one_line
from projrun.environments.docker.images import STAGE_LABEL
from projrun.environments.installer_settings import (
    KEPT_AWAY,
    names_of_variables,
    options_of_pip,
    variable_of_pip,
)
from projrun.environments.local_requirements import copy_local
from projrun.environments.package_files import copy_files
from projrun.environments.requirement_access import installable_pylock
from projrun.environments.user_settings import read_user_settings
from projrun.environments.uv.program import variables_for
from projrun.plan import Lock

VENV = "/opt/projrun"  # directory of the environment in its image
PYLOCK, CERTIFICATES, SETTINGS, UV = "pylock.toml", "certificates.pem", "settings.sh", "uv"
PREFIX = "prefix"  # directory of the context with a conda environment
WHEELS = "wheels"  # directory of the context with the lock's files that are on this machine
LOCAL = "local"  # directory of the context with the local requirements

_SETTING = re.compile(r"UV_(\w*INDEX\w*|FIND_LINKS|INSECURE_HOST|KEYRING_PROVIDER)")


def render_standalone(lock: Lock, program: str, labels: Mapping[str, str], workdir: str) -> str:
    """Return a Dockerfile that needs `pylock.toml` beside it and nothing of this machine."""
    return _render(lock, program, labels, files=[PYLOCK], workdir=workdir)


def write_context(
    lock: Lock, program: str, labels: Mapping[str, str], stage: Mapping[str, str], directory: Path
) -> None:
    """Write the Dockerfile and the files that building it here needs: our uv, certificates, settings.

    stage: labels of the intermediate images.
    """
    import shutil

    files = [PYLOCK]
    pylock = copy_files(installable_pylock(lock), lock.packages, directory / WHEELS) if lock.pylock else ""
    (directory / PYLOCK).write_text(pylock)
    if uv := _find_uv(lock):
        shutil.copy2(uv, directory / UV)
        files.append(UV)
    if certificates := _find_certificates():
        shutil.copyfile(certificates, directory / CERTIFICATES)
        files.append(CERTIFICATES)
    if settings := _index_settings(lock):
        (directory / SETTINGS).write_text(settings)
        files.append(SETTINGS)
    wheels = (directory / WHEELS).is_dir()
    local = copy_local(lock, directory / LOCAL)
    text = _render(lock, program, labels, files=files, wheels=wheels, local=local, stage=stage)
    (directory / "Dockerfile").write_text(text)


def _render(
    lock: Lock,
    program: str,
    labels: Mapping[str, str],
    *,
    files: list[str],
    wheels: bool = False,
    local: Sequence[str] = (),
    stage: Mapping[str, str] | None = None,
    workdir: str = "",
) -> str:
    from importlib.metadata import version

    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("projrun.environments.docker"),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701
    )
    environment.filters["quoted"] = _quote
    return environment.get_template("Dockerfile.j2").render(
        base=lock.facts["image"],
        python=program,
        prefix=PREFIX if lock.conda else "",
        packages=bool(lock.pylock or lock.local),
        pylock=bool(lock.pylock),
        local=[shlex.quote(f"./{LOCAL}/{path}") for path in local],
        local_directory=LOCAL,
        venv=VENV if lock.facts["platform"] else "",
        workdir=workdir,
        labels={**labels, STAGE_LABEL: ""} if stage else dict(labels),
        files=files,
        wheels=WHEELS if wheels else "",
        stage=dict(stage or {}),
        uv="./uv" if UV in files else "./uv/bin/uv",
        uv_here=UV in files,
        uv_version=version("uv"),
        unset_for_pip=[variable_of_pip(option) for option in sorted(options_of_pip(KEPT_AWAY))],
        unset_for_uv=names_of_variables(KEPT_AWAY),
        certificates=CERTIFICATES if CERTIFICATES in files else "",
        settings=SETTINGS if SETTINGS in files else "",
    )


def _quote(value: str) -> str:
    """Return the value as one word of a Dockerfile, in which nothing is expanded."""
    return '"' + re.sub(r'(["$\\])', r"\\\1", one_line(value)) + '"'


def _find_uv(lock: Lock) -> str:
    """Return the path of our uv if it runs in the image too, else '': the image's pip then installs one."""
    from uv import find_uv_bin

    machine = os.uname()
    alike = machine.sysname == "Linux" and lock.facts["platform"].startswith(f"{machine.machine}-manylinux")
    return os.fspath(find_uv_bin()) if alike else ""


def _find_certificates() -> str:
    """Return the file of certificate authorities that SSL_CERT_FILE names, or ''."""
    named = os.environ.get("SSL_CERT_FILE", "")
    return named if os.path.isfile(named) else ""


def _index_settings(lock: Lock) -> str:
    """Return the index settings of user and project, credentials included, as shell commands."""
    variables = variables_for(lock.access, read_user_settings())
    settings = {
        name: _without_local_paths(variables[name]) for name in sorted(variables) if _SETTING.fullmatch(name)
    }
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in settings.items() if value)


def _without_local_paths(value: str) -> str:
    """Return a setting without directories of this machine: the lock's files of them are in the context."""
    return "".join(
        part for part in re.split(r"(?<=[ ,])", value) if not re.match(r"(\w+=)?(file:|/|\.)", part)
    )
