"""Index settings from everywhere that users put them, on an index that asks for a password.

Nobody may find the password afterwards: not in the lock, the record, a log or an error.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from projrun.disk import Home
from projrun.environments.environment_store import provide
from projrun.environments.requirement_access import access_of, with_credentials, without_access
from projrun.environments.user_settings import read_user_settings
from projrun.plan import Descriptor
from projrun.project import read_project
from tests.conftest import MakeProject, Projrun
from tests.support.package_index import HOST, PASSWORD, USER, PackageIndex, serving, serving_alpha

COMMAND = "entry_points: {main: {command: \"python -c 'import alpha; print(alpha.V)'\"}}\n"
MANAGERS = ("uv", "virtualenv")


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PackageIndex]:
    """With `alpha` 1.0 and 2.0, and no other index, cache or setting in reach."""
    with serving_alpha(tmp_path, monkeypatch) as served:
        monkeypatch.setenv("PIP_CACHE_DIR", str(tmp_path / "pip-cache"))
        yield served


def ran(projrun: Projrun, project: Path, home: Home, *options: str, **environ: str) -> str:
    """Return what the project's command printed, and check that the password is stored nowhere."""
    done = projrun("run", ".", *options, cwd=project, environ=environ)
    assert done.returncode == 0, done.stderr
    assert PASSWORD not in done.stdout + done.stderr
    assert_kept_nowhere(home)
    return done.stdout.strip()


def assert_kept_nowhere(home: Home) -> None:
    files = [path for place in (home.data, home.cache) for path in place.rglob("*") if path.is_file()]
    assert files
    assert not [path for path in files if PASSWORD.encode() in path.read_bytes()]


@pytest.mark.parametrize("manager", MANAGERS)
def test_credentials_in_a_requirements_file(
    manager: str, index: PackageIndex, make_project: MakeProject, projrun: Projrun, home: Home
) -> None:
    lines = f"--index-url {index.url_with_password}\nalpha\n"
    project = make_project(MLproject=COMMAND, **{"requirements.txt": lines})
    assert ran(projrun, project, home, "--env-manager", manager) == "2.0"
    described = projrun("describe", cwd=project)
    as_json = projrun("describe", "--json", cwd=project)
    assert f"--index-url {index.url}" in described.stdout
    assert PASSWORD not in described.stdout + described.stderr + as_json.stdout


@pytest.mark.parametrize("manager", MANAGERS)
def test_credentials_in_a_direct_reference(
    manager: str, index: PackageIndex, make_project: MakeProject, projrun: Projrun, home: Home
) -> None:
    url = index.url_with_password.replace("/simple", "/files/alpha-1.0-py3-none-any.whl")
    project = make_project(MLproject=COMMAND, **{"python_env.yaml": f"dependencies: ['alpha @ {url}']\n"})
    assert ran(projrun, project, home, "--env-manager", manager) == "1.0"


def test_credentials_in_a_variable_of_the_environment(
    index: PackageIndex, make_project: MakeProject, projrun: Projrun, home: Home
) -> None:
    url = f"http://{USER}:${{INDEX_TOKEN}}@{HOST}:{index.port}/simple"
    project = make_project(MLproject=COMMAND, **{"requirements.txt": f"--index-url {url}\nalpha\n"})
    assert ran(projrun, project, home, INDEX_TOKEN=PASSWORD) == "2.0"


@pytest.mark.parametrize("manager", MANAGERS)
def test_pip_conf_and_netrc(
    manager: str,
    index: PackageIndex,
    make_project: MakeProject,
    projrun: Projrun,
    home: Home,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    project = make_project(MLproject=COMMAND, **{"requirements.txt": "alpha<2\n"})
    monkeypatch.delenv("PIP_CONFIG_FILE")
    user = Path(os.environ["HOME"])
    (user / ".config" / "pip").mkdir(parents=True)
    (user / ".config" / "pip" / "pip.conf").write_text(f"[global]\nindex-url = {index.url}\n")
    (user / ".netrc").write_text(f"machine {HOST} login {USER} password {PASSWORD}\n")
    (user / ".netrc").chmod(0o600)
    assert ran(projrun, project, home, "--env-manager", manager) == "1.0"


@pytest.mark.parametrize(
    ("manager", "variable"),
    [
        ("uv", "PIP_INDEX_URL"),
        ("uv", "UV_INDEX_URL"),
        ("uv", "PIP_CONFIG_FILE"),
        ("uv", "UV_CONFIG_FILE"),
        ("virtualenv", "UV_DEFAULT_INDEX"),
    ],
)
def test_an_index_that_the_user_configured(
    manager: str, variable: str, index: PackageIndex, make_project: MakeProject, projrun: Projrun, home: Home
) -> None:
    project = make_project(MLproject=COMMAND, **{"requirements.txt": "alpha\n"})
    value = index.url_with_password
    if variable == "PIP_CONFIG_FILE":
        value = str(project.parent / "pip.conf")
        Path(value).write_text(f"[install]\nindex-url = {index.url_with_password}\n")
    elif variable == "UV_CONFIG_FILE":
        value = str(project.parent / "uv.toml")
        Path(value).write_text(f'index-url = "{index.url_with_password}"\n')
    assert ran(projrun, project, home, "--env-manager", manager, **{variable: value}) == "2.0"
    assert index.was_asked


def test_what_is_configured_for_uv_wins_over_pip(
    index: PackageIndex, make_project: MakeProject, projrun: Projrun, home: Home
) -> None:
    project = make_project(MLproject=COMMAND, **{"requirements.txt": "alpha\n"})
    elsewhere = f"http://{HOST}:9/simple"
    assert (
        ran(projrun, project, home, UV_DEFAULT_INDEX=index.url_with_password, PIP_INDEX_URL=elsewhere)
        == "2.0"
    )


def test_credentials_in_a_lock_of_another_tool(
    index: PackageIndex, make_project: MakeProject, projrun: Projrun, home: Home
) -> None:
    (wheel, _) = index.files("alpha")
    url = index.url_with_password.replace("/simple", f"/files/{wheel.name}")
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    file = f'{{name = "{wheel.name}", url = "{url}", hashes = {{sha256 = "{digest}"}}}}'
    package = f'[[packages]]\nname = "alpha"\nversion = "1.0"\nwheels = [{file}]\n'
    lock = f'lock-version = "1.0"\ncreated-by = "hand"\n{package}'
    project = make_project(MLproject=COMMAND, **{"pylock.toml": lock})
    assert ran(projrun, project, home) == "1.0"


def test_a_token_in_the_path_of_a_url(
    index: PackageIndex, make_project: MakeProject, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INDEX_TOKEN", "files")
    url = index.url_with_password.replace("/simple", "/${INDEX_TOKEN}/alpha-1.0-py3-none-any.whl")
    project = make_project(**{"requirements.txt": f"alpha @ {url}\n"})
    log = project.parent / "log"
    with provide("uv", read_project(project).descriptor, project, home, log) as provided:
        assert "${INDEX_TOKEN}/alpha-1.0" in provided.lock.pylock
        (package,) = provided.environment.packages
    assert "files" not in provided.lock.pylock + package.source


def test_a_refused_password_is_not_told(
    index: PackageIndex, make_project: MakeProject, projrun: Projrun, home: Home
) -> None:
    url = index.url_with_password.replace(USER, "other")
    project = make_project(MLproject=COMMAND, **{"requirements.txt": f"--index-url {url}\nalpha\n"})
    failed = projrun("run", ".", cwd=project)
    assert failed.returncode == 125
    assert PASSWORD not in failed.stdout + failed.stderr
    assert_kept_nowhere(home)


def test_another_index_is_another_lock_and_another_password_is_not(
    index: PackageIndex, make_project: MakeProject, projrun: Projrun, home: Home
) -> None:
    project = make_project(MLproject=COMMAND, **{"requirements.txt": "alpha\n"})
    ran(projrun, project, home, PIP_INDEX_URL=index.url_with_password)
    first = len(index.requests)
    ran(projrun, project, home, PIP_INDEX_URL=index.url_with_password.replace(PASSWORD, "changed"))
    assert len(index.requests) == first
    other = projrun("run", ".", cwd=project, environ={"PIP_INDEX_URL": f"http://{HOST}:9/simple"})
    assert other.returncode == 125


@pytest.mark.dates
def test_as_of_asks_for_what_was_there_then(
    index: PackageIndex, make_project: MakeProject, projrun: Projrun, home: Home
) -> None:
    project = make_project(MLproject=COMMAND, **{"requirements.txt": "alpha\n"})
    settings = {"PIP_INDEX_URL": index.url_with_password}
    assert ran(projrun, project, home, "--as-of", "2021-06-01", **settings) == "1.0"
    assert ran(projrun, project, home, **settings) == "2.0"


def test_offline_asks_nothing(
    index: PackageIndex, make_project: MakeProject, projrun: Projrun, home: Home
) -> None:
    project = make_project(MLproject=COMMAND, **{"requirements.txt": "alpha\n"})
    settings = {"PIP_INDEX_URL": index.url_with_password, "PROJRUN_OFFLINE": "1"}
    refused = projrun("run", ".", cwd=project, environ=settings)
    assert refused.returncode == 125
    assert "check the network" in refused.stderr
    assert not index.requests


def test_find_links_of_a_requirements_file(
    index: PackageIndex, make_project: MakeProject, projrun: Projrun, home: Home
) -> None:
    project = make_project(
        MLproject=COMMAND, **{"requirements.txt": "--no-index\n--find-links wheels\nalpha<2\n"}
    )
    (project / "wheels").mkdir()
    index.files("alpha")[0].rename(project / "wheels" / "alpha-1.0-py3-none-any.whl")
    for manager in MANAGERS:
        assert ran(projrun, project, home, "--env-manager", manager) == "1.0"


def test_pip_files_in_pips_order(tmp_path: Path) -> None:
    user, named = tmp_path / ".config" / "pip", tmp_path / "named.conf"
    user.mkdir(parents=True)
    (user / "pip.conf").write_text("[global]\nindex-url = http://user\n[install]\ntimeout = 5\n")
    environ = {
        "HOME": str(tmp_path),
        "VIRTUAL_ENV": str(tmp_path / "venv"),
        "XDG_CONFIG_DIRS": str(tmp_path / "xdg"),
    }
    assert read_user_settings(environ).for_pip()["index-url"] == "http://user"
    (tmp_path / "venv").mkdir()
    (tmp_path / "venv" / "pip.conf").write_text("[global]\nindex_url = http://venv\ntimeout = 7\n")
    assert read_user_settings(environ).for_pip()["index-url"] == "http://venv"
    assert read_user_settings(environ).for_pip()["timeout"] == "5"  # of [install], which wins over [global]
    named.write_text("[global]\nindex-url = http://named\n")
    assert (
        read_user_settings({**environ, "PIP_CONFIG_FILE": str(named)}).for_pip()["index-url"]
        == "http://named"
    )
    assert (
        read_user_settings({**environ, "PIP_INDEX_URL": "http://variable"}).for_pip()["index-url"]
        == "http://variable"
    )
    assert "index-url" not in read_user_settings({**environ, "PIP_CONFIG_FILE": os.devnull}).for_pip()


def test_pip_settings_become_uvs(tmp_path: Path) -> None:
    environ = {
        "HOME": str(tmp_path),
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_EXTRA_INDEX_URL": "http://one http://two",
        "PIP_FIND_LINKS": "/a /b",
        "PIP_CERT": "/roots.pem",
        "PIP_DEFAULT_TIMEOUT": "60",
        "PIP_PROXY": "http://proxy:3128",
        "PIP_PRE": "1",
        "PIP_KEYRING_PROVIDER": "subprocess",
        "UV_HTTP_TIMEOUT": "9",
    }
    assert read_user_settings(environ).for_uv() == {
        "UV_INDEX": "http://one http://two",
        "UV_FIND_LINKS": "/a,/b",
        "SSL_CERT_FILE": "/roots.pem",
        "ALL_PROXY": "http://proxy:3128",
        "UV_PRERELEASE": "allow",
        "UV_KEYRING_PROVIDER": "subprocess",
    }
    (tmp_path / ".config" / "uv").mkdir(parents=True)
    (tmp_path / ".config" / "uv" / "uv.toml").write_text('[[index]]\nurl = "http://three"\n')
    assert "UV_INDEX" not in read_user_settings(environ).for_uv()


def test_what_a_descriptor_loses_comes_back() -> None:
    lines = (
        "--index-url https://u:p@h/simple",
        "a @ https://h/a.whl?token=t",
        "b @ git+https://t@g/b.git",
        "c",
    )
    descriptor = Descriptor(kind="requirements", dependencies=lines)
    public = without_access(descriptor).dependencies
    assert public == (
        "--index-url https://h/simple",
        "a @ https://h/a.whl?token=…",
        "b @ git+https://g/b.git",
        "c",
    )
    lock = 'x = "https://h/files/x.whl"\na = "https://h/a.whl?token=…"\ny = "https://other/y.whl"'
    assert with_credentials(lock, access_of(descriptor, Path())) == (
        'x = "https://u:p@h/files/x.whl"\na = "https://u:p@h/a.whl?token=t"\ny = "https://other/y.whl"'
    )


@pytest.mark.parametrize("manager", MANAGERS)
def test_a_named_index_whose_credentials_are_in_variables(
    manager: str, index: PackageIndex, make_project: MakeProject, projrun: Projrun, home: Home
) -> None:
    """The user's uv.toml names two indexes; the first is open and has nothing of ours."""
    project = make_project(MLproject=COMMAND, **{"requirements.txt": "alpha\n"})
    settings = Path(os.environ["XDG_CONFIG_HOME"], "uv", "uv.toml")
    settings.parent.mkdir(parents=True)
    with serving(project.parent / "other") as other:
        other.add("beta")
        settings.write_text(
            f'[[index]]\nname = "other"\nurl = "{other.url}"\n'
            f'[[index]]\nname = "own-packages"\nurl = "{index.url}"\ndefault = true\n'
        )
        credentials = {
            f"UV_INDEX_{name}_{what}": value
            for name in ("OTHER", "OWN_PACKAGES")
            for what, value in (("USERNAME", USER), ("PASSWORD", PASSWORD))
        }
        assert ran(projrun, project, home, "--env-manager", manager, **credentials) == "2.0"
        assert other.requests
        asked = len(index.requests)
        changed = dict.fromkeys(credentials, "changed")
        assert ran(projrun, project, home, "--env-manager", manager, **changed) == "2.0"
        assert len(index.requests) == asked, "other credentials are no other lock"


@pytest.mark.parametrize("manager", MANAGERS)
def test_a_keyring(
    manager: str, index: PackageIndex, make_project: MakeProject, projrun: Projrun, home: Home, tmp_path: Path
) -> None:
    project = make_project(MLproject=COMMAND, **{"requirements.txt": "alpha\n"})
    keyring, asked = tmp_path / "bin" / "keyring", tmp_path / "asked"
    keyring.parent.mkdir()
    keyring.write_text(
        f'#!/bin/sh\necho "$*" >> {asked}\ncase "$*" in\n'
        f'--mode=creds*{USER}) echo \'{{"username": "{USER}", "password": "{PASSWORD}"}}\';;\n'
        f"get*{USER}) echo {PASSWORD};;\n*) exit 1;;\nesac\n"
    )
    keyring.chmod(0o755)
    environ = {
        "UV_KEYRING_PROVIDER": "subprocess",
        "UV_DEFAULT_INDEX": index.url.replace("//", f"//{USER}@"),
        "PATH": f"{keyring.parent}{os.pathsep}{os.environ['PATH']}",
    }
    assert ran(projrun, project, home, "--env-manager", manager, **environ) == "2.0"
    assert HOST in asked.read_text()


def test_a_version_that_only_a_later_index_has(
    index: PackageIndex, make_project: MakeProject, projrun: Projrun, home: Home
) -> None:
    project = make_project(MLproject=COMMAND, **{"requirements.txt": "alpha<2\n"})
    with serving(project.parent / "other") as first:
        first.add("alpha", "3.0")
        urls = {"UV_DEFAULT_INDEX": index.url_with_password, "UV_INDEX": first.url_with_password}
        refused = projrun("run", ".", cwd=project, environ=urls)
        assert refused.returncode == 125
        assert "UV_INDEX_STRATEGY=unsafe-best-match" in refused.stderr
        assert ran(projrun, project, home, UV_INDEX_STRATEGY="unsafe-best-match", **urls) == "1.0"


@pytest.mark.parametrize("file", ["pyproject.toml", "uv.toml"])
def test_an_index_that_the_project_names(
    file: str, index: PackageIndex, make_project: MakeProject, projrun: Projrun, home: Home, tmp_path: Path
) -> None:
    """uv finds it in the project's directory, from wherever projrun is called."""
    table = "tool.uv.index" if file == "pyproject.toml" else "index"
    text = f'[[{table}]]\nname = "own"\nurl = "{index.url}"\ndefault = true\n'
    project = make_project(MLproject=COMMAND, **{"requirements.txt": "alpha\n", file: text})
    login = {"UV_INDEX_OWN_USERNAME": USER, "UV_INDEX_OWN_PASSWORD": PASSWORD}
    done = projrun("run", project, cwd=tmp_path, environ=login)
    assert (done.returncode, done.stdout) == (0, "2.0\n"), done.stderr
    assert PASSWORD not in done.stderr
    assert_kept_nowhere(home)
    (project / file).write_text(text.replace(index.url, f"http://{HOST}:9/simple"))
    elsewhere = projrun("run", project, cwd=tmp_path, environ={**login, "UV_HTTP_RETRIES": "0"})
    assert elsewhere.returncode == 125, "another index is another lock"
