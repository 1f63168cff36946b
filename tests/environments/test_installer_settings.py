"""Every setting of pip, uv and virtualenv has a place, and none changes what is installed from a lock."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
from uv import find_uv_bin

from projrun.documents import toml_file
from projrun.environments.installer_settings import (
    INSTALLING,
    SCOPES,
    SETTINGS,
    Setting,
    variable_of_pip,
    variables_of,
)
from tests.conftest import MakeProject, Projrun
from tests.support.hostile_settings import hostile
from tests.support.package_index import PackageIndex, serving_alpha
from tests.support.repository import ROOT

MANAGERS = ("uv", "virtualenv")
COMMAND = "entry_points: {main: {command: \"python -c 'import alpha; print(alpha.V)'\"}}\n"
CONSTRAINED = ("PIP_CONSTRAINT", "UV_CONSTRAINT", "pip.conf", "uv.toml", "pyproject.toml")
KEPT_AWAY = [one for one in SETTINGS if one.scope in ("resolve", "never")]
DOCUMENT = ROOT / "docs" / "environments-build.md"


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PackageIndex]:
    """With `alpha` 1.0 and 2.0, and nothing else in reach."""
    with serving_alpha(tmp_path, monkeypatch) as served:
        monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
        monkeypatch.setenv("UV_DEFAULT_INDEX", served.url_with_password)
        yield served


def ill_values(place: Path) -> dict[str, Any]:
    """Option, variable or key -> a value that ruins an installation; `1` and true for what is not here."""
    bounds = place / "bounds.txt"
    bounds.write_text("alpha==9\n")
    files = ("constraint", "build-constraint", "requirement", "requirements-from-script")
    variables = ("UV_CONSTRAINT", "UV_OVERRIDE", "UV_EXCLUDE", "UV_BUILD_CONSTRAINT")
    places = ("target", "prefix", "root", "src", "editable", "report", "log", "python", "output-file")
    elsewhere = ("UV_PROJECT", "UV_WORKING_DIR", "UV_PROJECT_ENVIRONMENT", "UV_CONFIG_FILE", "UV_ENV_FILE")
    all_of_them = ("no-binary", "all-releases", "only-final", "refresh-package", "UV_NO_BINARY_PACKAGE")
    return {
        **dict.fromkeys((*files, *variables), str(bounds)),
        **dict.fromkeys((*places, *elsewhere), str(place / "nowhere")),
        **dict.fromkeys(all_of_them, ":all:"),
        **dict.fromkeys(("uploaded-prior-to", "exclude-newer", "UV_EXCLUDE_NEWER"), "2001-01-01T00:00:00Z"),
        **dict.fromkeys(("platform", "python-platform"), "windows"),
        **dict.fromkeys(("python-version", "UV_PYTHON"), "2.7"),
        **{key: ["alpha==9"] for key in ("constraint-dependencies", "override-dependencies")},
        **{key: ["alpha"] for key in ("build-constraint-dependencies", "exclude-dependencies")},
        **{key: ["alpha"] for key in ("no-build-package", "no-binary-package", "no-emit-package")},
        "only-binary": ":none:",
        "required-version": "<0.1",
        "UV_RESOLUTION": "lowest",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
        "UV_PYTHON_SEARCH_PATH": "/nowhere",
        "VIRTUALENV_X": "1",
    }


@pytest.mark.parametrize("manager", MANAGERS)
@pytest.mark.parametrize("setting", KEPT_AWAY, ids=lambda one: f"{one.scope}: {one.about}")
def test_a_lock_is_installed_whatever_is_set(
    setting: Setting,
    manager: str,
    index: PackageIndex,
    make_project: MakeProject,
    projrun: Projrun,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The project brings its lock; variables, pip.conf, the user's uv.toml and `[tool.uv]` are against it."""
    project = make_project(MLproject=COMMAND, **{"requirements.txt": "alpha<2\n"})
    assert projrun("lock", cwd=project).returncode == 0
    values = ill_values(tmp_path)
    options = {option: values.get(option, "1") for option in setting.pip.split()}
    of_pip = "".join(f"{option} = {value}\n" for option, value in options.items() if option != "group")
    (tmp_path / "pip.conf").write_text(f"[global]\n{of_pip}[install]\n{of_pip}[download]\n{of_pip}")
    keys = {key: values.get(key, True) for key in setting.uv.split()}
    user = Path(os.environ["XDG_CONFIG_HOME"], "uv")
    user.mkdir(parents=True)
    (user / "uv.toml").write_text(toml_file.dump({**keys, "pip": keys}))
    (project / "pyproject.toml").write_text(
        "[tool.uv]\n" + toml_file.dump(keys) + "[tool.uv.pip]\n" + toml_file.dump(keys)
    )
    environ = {variable_of_pip(option): value for option, value in options.items()}
    environ |= {
        name: values.get(name, "1")
        for name in setting.variables.replace("*", "X").split()
        if name not in ("UV_CONFIG_FILE", "UV_NO_CONFIG")  # they say which files count
    }
    environ |= {"PIP_CONFIG_FILE": str(tmp_path / "pip.conf")}
    done = projrun("run", ".", "--env-manager", manager, cwd=project, environ=environ)
    assert done.stdout == "1.0\n", done.stderr
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("manager", MANAGERS)
@pytest.mark.parametrize(
    "where", ["PIP_CONSTRAINT", "UV_CONSTRAINT", "pip.conf", "uv.toml", "pyproject.toml"]
)
def test_constraints_count_when_a_lock_is_resolved(
    where: str,
    manager: str,
    index: PackageIndex,
    make_project: MakeProject,
    projrun: Projrun,
    tmp_path: Path,
) -> None:
    project = make_project(MLproject=COMMAND, **{"requirements.txt": "alpha\n"})
    bounds = tmp_path / "bounds.txt"
    bounds.write_text("alpha<2\n")
    environ = {where: str(bounds)} if where.endswith("CONSTRAINT") else {}
    if where == "pip.conf":
        (tmp_path / where).write_text(f"[install]\nconstraint = {bounds}\n")
        environ = {"PIP_CONFIG_FILE": str(tmp_path / where)}
    elif where == "uv.toml":
        place = Path(os.environ["XDG_CONFIG_HOME"], "uv")
        place.mkdir(parents=True)
        (place / where).write_text('constraint-dependencies = ["alpha<2"]\n')
    elif where == "pyproject.toml":
        (project / where).write_text('[tool.uv]\nconstraint-dependencies = ["alpha<2"]\n')
    run = ("run", ".", "--env-manager", manager)
    assert projrun(*run, cwd=project, environ=environ).stdout == "1.0\n"
    if environ:
        bounds.write_text("alpha<3\n")
        other = projrun(*run, cwd=project, environ=environ)
        assert other.stdout == "2.0\n", other.stderr


def test_the_newest_upload_and_versions_of_pip_count_when_a_lock_is_resolved(
    index: PackageIndex, make_project: MakeProject, projrun: Projrun
) -> None:
    project = make_project(MLproject=COMMAND, **{"requirements.txt": "alpha\n"})
    environ = {"PIP_UPLOADED_PRIOR_TO": "2021-01-01T00:00:00Z"}
    assert projrun("run", ".", cwd=project, environ=environ).stdout == "1.0\n"
    assert projrun("run", ".", cwd=project).stdout == "2.0\n"
    sources = projrun("run", ".", cwd=project, environ={"PIP_NO_BINARY": "alpha"})
    assert "no source distribution" in sources.stderr


def test_settings_that_never_count_do_not_reach_resolving(
    index: PackageIndex, make_project: MakeProject, projrun: Projrun
) -> None:
    hostile_settings = '[pip]\npython-version = "2.7"\nno-emit-package = ["alpha"]\nrequire-hashes = true\n'
    project = make_project(
        MLproject=COMMAND,
        **{"requirements.txt": "alpha\n", "uv.toml": f'required-version = "<0.1"\n{hostile_settings}'},
    )
    done = projrun("run", ".", cwd=project, environ={"UV_PYTHON": "2.7", "UV_WORKING_DIR": "/nowhere"})
    assert done.stdout == "2.0\n", done.stderr


@pytest.mark.parametrize("manager", MANAGERS)
@pytest.mark.parametrize("file", ["pip.conf", "uv.toml"])
def test_index_settings_in_files_count_for_installing(
    file: str,
    manager: str,
    index: PackageIndex,
    make_project: MakeProject,
    projrun: Projrun,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("UV_DEFAULT_INDEX")
    project = make_project(MLproject=COMMAND, **{"requirements.txt": "alpha\n"})
    url = index.url_with_password
    text = f"[global]\nindex-url = {url}\n" if file == "pip.conf" else f'[pip]\nindex-url = "{url}"\n'
    (tmp_path / file).write_text(text)
    name = "PIP_CONFIG_FILE" if file == "pip.conf" else "UV_CONFIG_FILE"
    done = projrun("run", ".", "--env-manager", manager, cwd=project, environ={name: str(tmp_path / file)})
    assert done.stdout == "2.0\n", done.stderr


@pytest.mark.parametrize("manager", MANAGERS)
def test_a_project_runs_under_hostile_settings(
    manager: str, make_project: MakeProject, projrun: Projrun, tmp_path: Path
) -> None:
    """The whole of a run, with a package of the real index."""
    command = "entry_points: {main: {command: \"python -c 'import six; print(six.__version__)'\"}}\n"
    project = make_project(MLproject=command, **{"requirements.txt": "six==1.17.0\n"})
    subprocess.run(["git", "init", "-q"], cwd=project, check=True)
    subprocess.run(["git", "add", "."], cwd=project, check=True)
    subprocess.run(["git", "commit", "-qm", "All"], cwd=project, check=True)
    settings = hostile(tmp_path / "settings")
    done = projrun("run", project, "--env-manager", manager, environ=settings)
    assert done.stdout == "1.17.0\n", done.stderr
    assert sorted(os.listdir(tmp_path / "settings")) == [
        "constraints.txt",
        "gitconfig",
        "pip.conf",
        "uv",
        "virtualenv.ini",
    ]


def test_each_option_of_pip_has_a_place() -> None:
    said = subprocess.run(
        [sys.executable, "-m", "pip", "install", "--help"], capture_output=True, text=True, check=True
    )
    options = set(re.findall(r"^  (?:-\w, )?--([a-z0-9-]+)", said.stdout, re.MULTILINE))
    assert len(options) > 50
    assert options - names("pip") <= _ABOUT_OUTPUT


# Options of pip 21.3 to 25.3: which of them this machine's pip has depends on who made its environment.
_ABOUT_OUTPUT = {
    "disable-pip-version-check",
    "help",
    "no-color",
    "no-python-version-warning",
    "no-warn-conflicts",
    "no-warn-script-location",
    "root-user-action",
    "version",
}


def test_each_key_of_uv_has_a_place(tmp_path: Path) -> None:
    """uv tells all that it knows when a key is unknown."""
    keys: set[str] = set()
    for text in ("unknown = 1\n", "[pip]\nunknown = 1\n"):
        (tmp_path / "uv.toml").write_text(text)
        command = [find_uv_bin(), "--config-file", str(tmp_path / "uv.toml"), "pip", "list"]
        said = subprocess.run(command, capture_output=True, text=True).stderr
        keys |= set(re.findall(r"`([a-z-]+)`", said.partition("expected one of")[2]))
    assert len(keys) > 80
    assert keys - names("uv") <= _OF_PROJECTS


_OF_PROJECTS = {
    *("publish-url", "trusted-publishing", "check-url", "add-bounds", "audit", "pip", "cache-keys"),
    *("environments", "required-environments", "minimum-libc-version", "conflicts", "workspace", "sources"),
    *("managed", "package", "default-groups", "dependency-groups", "dev-dependencies", "build-backend"),
    "pyodide-install-mirror",
}
"""Matters of publishing, and of uv's own projects: no settings of an installation."""


@pytest.mark.parametrize("command", ["venv", "pip sync", "pip install", "pip compile", "export"])
def test_each_variable_of_uv_has_a_place(command: str) -> None:
    said = subprocess.run([find_uv_bin(), *command.split(), "--help"], capture_output=True, text=True)
    variables = set(re.findall(r"\[env: (UV_[A-Z_]+)", said.stdout))
    assert len(variables) > 15
    patterns = names("variables")
    assert not [one for one in variables if not any(fnmatchcase(one, pattern) for pattern in patterns)]


def test_what_is_not_in_the_table_is_kept_away() -> None:
    environ = {"UV_SOMETHING_NEW": "1", "VIRTUALENV_COPIES": "1", "UV_INDEX_MINE_USERNAME": "me"}
    assert variables_of(environ, INSTALLING) == {"UV_INDEX_MINE_USERNAME": "me"}


def test_the_document_has_the_table() -> None:
    text = DOCUMENT.read_text()
    for scope, meaning in SCOPES.items():
        assert f"* `{scope}`: {meaning}" in text.replace("\n  ", " ")
    for one in SETTINGS:
        cells = (" ".join(f"`{name}`" for name in getattr(one, kind).split()) for kind in _KINDS)
        assert f"| {one.about} | `{one.scope}` | {' | '.join(cells)} |" in text


_KINDS = ("pip", "variables", "uv")


def names(kind: str) -> set[str]:
    return {name for one in SETTINGS for name in getattr(one, kind).split()}
