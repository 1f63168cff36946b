"""Settings of a user that ruin installations, for every tool, beside those that reach the machine's index.

`python -m tests.support.hostile_settings DIRECTORY` writes the files and prints the variables for a shell.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from projrun.environments.installer_settings import INSTALLING, options_of_pip
from projrun.environments.user_settings import read_user_settings

_UV_TOML = """
constraint-dependencies = ["torch<1"]
required-version = "<0.1"
[pip]
target = "{0}/target"
prefix = "{0}/prefix"
python-version = "3.7"
no-deps = true
require-hashes = true
no-emit-package = ["six"]
"""
_PIP_CONF = """
constraint = {0}/constraints.txt
require-virtualenv = true
[install]
target = {0}/target
root = {0}/root
dry-run = true
no-deps = true
require-hashes = true
[download]
platform = win32
"""
_GITCONFIG = """
[core]
    autocrlf = true
    hooksPath = {0}/hooks
[commit]
    gpgSign = true
[url "https://nowhere.invalid/"]
    insteadOf = file://
[user]
    useConfigOnly = true
"""


def hostile(directory: Path) -> dict[str, str]:
    """Write the files below `directory`; the variables that make them and others count."""
    place = str(directory)
    counting = options_of_pip(INSTALLING)
    index = {name: value for name, value in read_user_settings().pip_files.items() if name in counting}
    files = {
        "constraints.txt": "torch<1\n",
        "pip.conf": "[global]\n"
        + "".join(f"{name} = {' '.join(value.split())}\n" for name, value in index.items())
        + _PIP_CONF.format(place),
        "uv/uv.toml": _UV_TOML.format(place),
        "gitconfig": _GITCONFIG.format(place),
        "virtualenv.ini": "[virtualenv]\ncopies = true\nsystem-site-packages = true\nseeder = none-such\n",
    }
    for name, text in files.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(text)
    constraints = str(directory / "constraints.txt")
    return {
        "PIP_CONFIG_FILE": f"{place}/pip.conf",
        "PIP_CONSTRAINT": constraints,
        "PIP_PREFIX": f"{place}/prefix",
        "PIP_PYTHON": f"{place}/python",
        "PIP_REPORT": f"{place}/report.json",
        "UV_CONSTRAINT": constraints,
        "UV_BUILD_CONSTRAINT": constraints,
        "UV_REQUIRE_HASHES": "1",
        "UV_SYSTEM_PYTHON": "1",
        "UV_PYTHON": "2.7",
        "UV_NO_BINARY": "1",
        "UV_PROJECT_ENVIRONMENT": f"{place}/environment",
        "UV_WORKING_DIR": f"{place}/nowhere",
        "UV_FROZEN": "1",
        "VIRTUALENV_CONFIG_FILE": f"{place}/virtualenv.ini",
        "VIRTUALENV_SYSTEM_SITE_PACKAGES": "1",
        "VIRTUALENV_PYTHON": "2.7",
        "GIT_CONFIG_GLOBAL": f"{place}/gitconfig",
        "XDG_CONFIG_HOME": place,
    }


if __name__ == "__main__":
    for name, value in hostile(Path(sys.argv[1]).absolute()).items():
        print(f"export {name}={shlex.quote(value)}")
