from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import pytest

from projrun.disk import Home
from projrun.disk.file_locks import hold_lock
from projrun.environments.environment_store import lock_of
from tests.conftest import MakeProject, Projrun

MLPROJECT = "name: shop\npython_env: python_env.yaml\nentry_points: {main: {command: 'true'}}\n"


@pytest.fixture
def shop(make_project: MakeProject) -> Path:
    files = {"python_env.yaml": "dependencies: [six==1.16.0]\n"}
    return make_project("shop", MLproject=MLPROJECT, **files)


@pytest.fixture
def place(projrun: Projrun, shop: Path) -> Path:
    """The built environment of the project."""
    return Path(projrun("env", "build", shop).stdout.strip())


def listed(projrun: Projrun) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(projrun("env", "list", "--json").stdout)
    return found


def test_build_makes_the_environment_and_records_no_run(projrun: Projrun, place: Path, shop: Path) -> None:
    assert (place / "bin" / "python").exists()
    assert json.loads(projrun("runs", "list", "--json").stdout) == []
    assert Path(projrun("env", "path", shop).stdout.strip()) == place


def test_an_environment_needs_no_entry_point(projrun: Projrun, make_project: MakeProject) -> None:
    project = make_project("bare", **{"requirements.txt": "six==1.16.0\n"})
    built = projrun("env", "build", project)
    assert built.returncode == 0, built.stderr
    done = projrun("shell", project, "--", "python", "-c", "import six; print(six.__version__)")
    assert done.stdout == "1.16.0\n", done.stderr
    assert projrun("env", "build", project, "-e", "other").returncode == 125


def test_list_says_what_each_was_built_from(projrun: Projrun, place: Path) -> None:
    (one,) = listed(projrun)
    assert (one["key"], one["path"], one["manager"]) == (place.name, str(place), "uv")
    assert (one["project"], one["descriptor"], one["packages"]) == ("shop", "python_env.yaml", 1)
    assert (one["complete"], one["in_use"]) == (True, False)
    text = projrun("env", "list").stdout
    assert place.name in text
    assert "shop/python_env.yaml" in text


def test_sizes_count_what_is_shared_with_a_cache_apart(projrun: Projrun, place: Path) -> None:
    (before,) = listed(projrun)
    (place / "own").write_bytes(b"x" * 4_000_000)
    (place / "same").hardlink_to(place / "own")
    (place.parent.parent / "elsewhere").hardlink_to(place / "own")
    (after,) = listed(projrun)
    assert int(str(after["size"])) - int(str(before["size"])) >= 4_000_000
    assert int(str(after["frees"])) - int(str(before["frees"])) < 1_000_000


def test_show_names_packages_and_verify_finds_an_edited_file(projrun: Projrun, place: Path) -> None:
    assert "six 1.16.0" in projrun("env", "show", place.name[:6]).stdout
    assert projrun("env", "show", place.name, "--verify").returncode == 0
    (six,) = place.glob("lib/python*/site-packages/six.py")
    text = six.read_text()
    six.unlink()  # it may be the cache's file too
    six.write_text(text + "# edited\n")
    shown = projrun("env", "show", place.name, "--verify")
    assert shown.returncode == 1
    assert "site-packages/six.py" in shown.stdout


def test_show_of_two_says_why_they_differ(projrun: Projrun, place: Path, make_project: MakeProject) -> None:
    files = {"python_env.yaml": "dependencies: [six==1.15.0, iniconfig]\n"}
    other = make_project("other", MLproject=MLPROJECT, **files)
    key = Path(projrun("env", "build", other).stdout.strip()).name
    difference = json.loads(projrun("env", "show", place.name, key, "--json").stdout)
    assert difference["six"] == ["six 1.16.0", "six 1.15.0"]
    assert difference["iniconfig"][0] == ""
    assert "python" not in difference
    assert projrun("env", "show", place.name, place.name).stdout == "they do not differ\n"


def test_a_key_that_is_not_there_is_one_line(projrun: Projrun) -> None:
    shown = projrun("env", "show", "nope")
    assert shown.returncode == 2
    assert "projrun env list" in shown.stderr


def test_remove_and_prune_leave_an_environment_in_use(projrun: Projrun, place: Path) -> None:
    with hold_lock(lock_of(place), shared=True):
        removed = projrun("env", "remove", place.name)
        assert removed.returncode == 1
        assert "is in use" in removed.stderr
        assert "is in use" in projrun("env", "prune", "--unused").stderr
        assert place.exists()
    assert projrun("env", "remove", place.name).returncode == 0
    assert not place.exists()


@pytest.mark.dates
def test_prune_takes_what_was_not_used_for_long(projrun: Projrun, place: Path, shop: Path) -> None:
    assert projrun("env", "prune", "--older-than", "1", "--max-size", "1").stdout == ""
    long_ago = time.time() - 3 * 86400
    os.utime(lock_of(place), (long_ago, long_ago))
    for age in ("1", "1d", "71h", "0.4w"):
        assert "would remove" in projrun("env", "prune", "--older-than", age, "--dry-run").stdout
    assert projrun("env", "prune", "--older-than", "73h", "--dry-run").stdout == ""
    assert projrun("env", "prune", "--older-than", "long").returncode == 2
    projrun("run", shop)
    assert projrun("env", "prune", "--older-than", "1").stdout == "", "a run is a use"
    os.utime(lock_of(place), (long_ago, long_ago))
    assert place.name in projrun("env", "prune", "--older-than", "1").stdout
    assert not place.exists()


def test_prune_brings_the_rest_down_to_a_size(projrun: Projrun, place: Path) -> None:
    for enough in ("1", "0.5", "1GB", "1 gib", "500MB"):
        assert projrun("env", "prune", "--max-size", enough, "--dry-run").stdout == ""
    for too_little in ("10", "10B", "1K", "0MB"):
        found = projrun("env", "prune", "--max-size", too_little, "--dry-run").stdout
        assert (place.name in found) == (too_little != "10"), "a bare number means GB"
    wrong = projrun("env", "prune", "--max-size", "large")
    assert (wrong.returncode, "such as 500MB or 5GB" in wrong.stderr) == (2, True)
    assert place.name in projrun("env", "prune", "--max-size", "0").stdout


def test_the_rest_of_a_killed_build_is_shown_as_such_and_pruned(projrun: Projrun, home: Home) -> None:
    rest = home.environments / "uv" / f".{'a' * 16}.{'b' * 16}.tmp"
    (rest / "bin").mkdir(parents=True)
    (one,) = listed(projrun)
    assert one["complete"] is False
    projrun("env", "prune")
    assert not rest.exists()


def test_the_local_manager_makes_no_environment(projrun: Projrun, shop: Path) -> None:
    assert projrun("env", "path", shop, "--env-manager", "local").returncode == 2


def test_shell_runs_a_command_in_the_environment_and_directory(projrun: Projrun, shop: Path) -> None:
    script = (
        "import os, six, sys; print(six.__version__, sys.prefix == os.environ['VIRTUAL_ENV'], os.getcwd())"
    )
    done = projrun("shell", shop, "--", "python", "-c", script)
    assert done.stdout == f"1.16.0 True {shop}\n", done.stderr
    assert json.loads(projrun("runs", "list", "--json").stdout) == []


def test_shell_opens_the_users_shell_and_exits_as_it_does(projrun: Projrun, shop: Path) -> None:
    shell = shop / "shell"
    shell.write_text("#!/bin/sh\nexit 7\n")
    shell.chmod(0o755)
    assert projrun("shell", shop, environ={"SHELL": str(shell)}).returncode == 7
    assert projrun("shell", shop, "--", "sh", "-c", "kill -9 $$").returncode == 137
    missing = projrun("shell", shop, "--", "no-such-program")
    assert missing.returncode == 125
    assert "no-such-program" in missing.stderr


def test_shell_has_the_terminal(shop: Path) -> None:
    import pty

    pid, terminal = pty.fork()
    if pid == 0:
        command = [sys.executable, "-m", "projrun", "shell", str(shop), "--env-manager", "local"]
        os.execv(sys.executable, [*command, "--", "sh", "-c", "test -t 0 && test -t 1 && echo a-terminal"])
    said = b""
    try:
        while chunk := os.read(terminal, 4096):
            said += chunk
    except OSError:  # its last holder closed it
        pass
    os.waitpid(pid, 0)
    assert b"a-terminal" in said
