"""Looking at a local repository starts nothing that its settings name."""

from __future__ import annotations

import contextlib
import re
import subprocess
from pathlib import Path

import msgspec
import pytest

from projrun import sources
from projrun.disk import Home
from projrun.errors import SourceError
from tests.conftest import Projrun
from tests.sources.git_settings import (
    HARMLESS,
    PLACES,
    SETTINGS,
    SUSPICIOUS,
    UNDOCUMENTED,
    Setting,
    plant,
    tree,
)
from tests.support.git_server import run_git

ALL = (*SETTINGS, *UNDOCUMENTED)
MISSING = "1234567890123456789012345678901234567890"


@pytest.fixture
def canaries(tmp_path: Path) -> Path:
    (tmp_path / "canaries").mkdir()
    return tmp_path / "canaries"


def look(uri: str, home: Home) -> None:
    for version in ("", "HEAD", MISSING):
        with contextlib.suppress(SourceError), sources.fetched(uri, version, home) as checkout:
            assert (checkout.directory / "MLproject").exists()


@pytest.mark.parametrize("setting", ALL, ids=lambda setting: setting.documented)
def test_a_setting_starts_nothing(setting: Setting, tmp_path: Path, canaries: Path, home: Home) -> None:
    place, file = PLACES["config"](tmp_path / "project")
    plant(setting, file, canaries)
    look(str(place), home)
    look(f"file://{place}/.git", home)
    assert list(canaries.iterdir()) == []


@pytest.mark.parametrize("place", PLACES)
def test_the_verbs_that_look_start_nothing_wherever_the_settings_stand(
    place: str, tmp_path: Path, canaries: Path, projrun: Projrun
) -> None:
    project, file = PLACES[place](tmp_path / "project")
    for setting in ALL:
        if setting.documented not in ("core.worktree", "extensions.worktreeConfig"):
            plant(setting, file, canaries)
    for verb in (
        ("describe", project),
        ("validate", project),
        ("run", project, "--env-manager", "local", "--dry-run"),
        ("run", project, "-e", "main", "--help"),
        ("describe", project, "-v", "HEAD"),
    ):
        done = projrun(*verb)
        assert done.returncode == 0, done.stderr
        assert "is not recorded" not in done.stderr
    assert list(canaries.iterdir()) == []


@pytest.mark.parametrize("place", PLACES)
def test_git_itself_starts_what_is_planted(place: str, tmp_path: Path, canaries: Path) -> None:
    """Else the other tests could not fail."""
    project, file = PLACES[place](tmp_path / "project")
    plant(Setting("filter.<driver>.clean"), file, canaries)
    plant(Setting("core.fsmonitor"), file, canaries)
    subprocess.run(["git", "status"], cwd=project, capture_output=True)
    assert {canary.name for canary in canaries.iterdir()} == {"filter.driver.clean", "core.fsmonitor"}


def test_the_table_has_every_documented_setting_that_may_name_a_program() -> None:
    if "version 2.39." not in run_git("--version"):
        pytest.skip("the table was made from the documentation of Git 2.39")
    documented = {key for key in run_git("help", "-c").splitlines() if re.search(SUSPICIOUS, key)}
    assert documented - {setting.documented for setting in SETTINGS} - HARMLESS == set()


def test_what_only_a_filter_could_tell_is_not_known(tmp_path: Path, home: Home) -> None:
    project = tree(tmp_path / "project")
    run_git("config", "filter.evil.clean", "cat", cwd=project)
    with sources.fetched(str(project), "", home) as checkout:
        assert checkout.source.dirty is None
        assert "filter.evil.clean" in checkout.notices[0]
    (project / "new").write_text("")
    with sources.fetched(str(project), "", home) as checkout:
        assert checkout.source.dirty is True
    run_git("add", "--all", cwd=project)
    run_git("commit", "--quiet", "-m", "second", cwd=project)
    with sources.fetched(str(project), "", home) as checkout:
        assert (checkout.source.dirty, checkout.notices) == (False, ())


@pytest.mark.parametrize("place", PLACES)
def test_a_look_sees_what_a_run_sees(place: str, tmp_path: Path, home: Home) -> None:
    project, _ = PLACES[place](tmp_path / "project")
    run_git("config", "remote.origin.url", "https://example.org/project.git", cwd=project)
    checkout = sources.fetch(str(project), "", home)
    with sources.fetched(str(project), "", home) as seen:
        assert seen.source.commit
        expected = None if place == "include" else True
        assert seen.source == msgspec.structs.replace(checkout.source, dirty=expected)
    sources.release(checkout, home)
