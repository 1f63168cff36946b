"""The settings of this machine for pip, uv and Git: the suite keeps those that reach an index alone."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from projrun.documents import toml_file
from projrun.environments.installer_settings import INSTALLING, options_of_pip, variables_of
from projrun.environments.user_settings import read_user_settings
from projrun.environments.uv.configuration import user_document

_OF_TOOLS = ("PIP_", "UV_", "VIRTUALENV_", "GIT_")
_KEPT_OF_GIT = ("GIT_SSL_", "GIT_EXEC_PATH")
_FURTHER = {"extra-index-url", "find-links"}
"""Of pip: uv asks an index that comes first alone for a package, and one with few files hides the others."""
UV_TOML = ""
"""The text of the uv.toml that each test has in its home."""


def keep_index_settings_alone() -> None:
    """Take all settings of the tools out of the environment but those that reach an index.

    Workers of pytest do it again with what is left, which changes nothing.
    """
    global UV_TOML
    counting = options_of_pip(INSTALLING) - _FURTHER
    user = read_user_settings()
    of_pip = {**user.pip_files, **user.pip_variables}
    of_pip = {name: value for name, value in of_pip.items() if name in counting}
    document = user_document(user, INSTALLING)
    UV_TOML = os.environ.get("PROJRUN_TEST_UV_TOML", "") or (toml_file.dump(document) if document else "")
    kept = variables_of(os.environ, INSTALLING)
    for name in [name for name in os.environ if name.startswith(_OF_TOOLS)]:
        if name not in kept and not name.startswith(_KEPT_OF_GIT):
            del os.environ[name]
    directory = Path(tempfile.mkdtemp(prefix="projrun-tests-"))
    pip_conf = "".join(f"{name} = {' '.join(value.split())}\n" for name, value in of_pip.items())
    (directory / "pip.conf").write_text(f"[global]\n{pip_conf}")
    os.environ["PIP_CONFIG_FILE"] = str(directory / "pip.conf")
    os.environ["PIP_DISABLE_PIP_VERSION_CHECK"] = "1"
    os.environ["PROJRUN_TEST_UV_TOML"] = UV_TOML
    os.environ["UV_NO_SYSTEM_CONFIG"] = "1"
    os.environ["XDG_CONFIG_HOME"] = os.environ["XDG_CONFIG_DIRS"] = str(directory)
    (directory / "uv").mkdir()
    if UV_TOML:  # an empty file would be parsed in every warm run
        (directory / "uv" / "uv.toml").write_text(UV_TOML)
    os.environ["GIT_CONFIG_SYSTEM"] = os.environ["GIT_CONFIG_GLOBAL"] = os.devnull


def forget_index_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave no setting of pip and uv at all: what a test does not name is not there."""
    for name in [name for name in os.environ if name.startswith(("UV_", "PIP_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("UV_NO_SYSTEM_CONFIG", "1")
    if config := os.environ.get("XDG_CONFIG_HOME"):
        Path(config, "uv", "uv.toml").unlink(missing_ok=True)
