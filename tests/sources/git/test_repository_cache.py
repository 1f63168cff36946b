"""Test uses of the cache without the network."""

from __future__ import annotations

import pytest

from projrun.errors import SourceError
from tests.conftest import Projrun
from tests.sources.conftest import Fetcher
from tests.support.git_server import GitServer, Upstream


def test_offline_a_branch_is_what_it_was_when_last_asked(
    fetch: Fetcher, git_server: GitServer, capsys: pytest.CaptureFixture[str]
) -> None:
    upstream = git_server.upstream(branch="trunk")
    upstream.git("tag", "-a", "-m", "words", "v1")
    upstream.push()
    url = f"{git_server.url}/project.git"
    for version in ("", "trunk", "v1"):
        fetch(url, version)
    upstream.commit("later")
    del git_server.requests[:]
    capsys.readouterr()
    old = upstream.git("rev-parse", "HEAD~1")
    for version, branch in (("", "trunk"), ("trunk", "trunk"), ("v1", ""), (old, ""), (old[:8], "")):
        source = fetch(url, version, offline=True).source
        assert (source.commit, source.branch) == (old, branch)
    said = capsys.readouterr().err
    assert f"offline: {url} is taken at {old[:12]}, where trunk was when it was last asked" in said
    assert git_server.requests == []


def test_offline_steps_back_from_a_branch(fetch: Fetcher, git_server: GitServer) -> None:
    upstream = git_server.upstream()
    first = upstream.head
    upstream.commit("second")
    url = f"{git_server.url}/project.git"
    fetch(url, "main")
    fetch(url, "main~1")
    del git_server.requests[:]
    for version in ("main~1", "HEAD^", "@~1", f"{upstream.head[:9]}~1"):
        assert fetch(url, version, offline=True).source.commit == first
    assert git_server.requests == []


@pytest.mark.parametrize("version", ["", "other", "1" * 40, "abcdef12", "main~7", "other~1"])
@pytest.mark.parametrize("known", [False, True])
def test_offline_what_the_cache_lacks_is_one_clear_line(
    fetch: Fetcher, git_server: GitServer, version: str, known: bool
) -> None:
    git_server.upstream()
    url = f"{git_server.url}/project.git"
    if known:
        fetch(url, "main")
    del git_server.requests[:]
    if known and not version:
        pytest.skip("main is the default branch")
    with pytest.raises(SourceError, match="offline, and the cache does not have") as caught:
        fetch(url, version, offline=True)
    assert "with the network" in caught.value.hint
    assert git_server.requests == []


def test_a_repository_on_this_machine_needs_no_network(fetch: Fetcher, upstream: Upstream) -> None:
    assert fetch(f"file://{upstream.bare}", "main", offline=True).source.commit == upstream.head


def test_the_option_and_the_variable(projrun: Projrun, git_server: GitServer) -> None:
    upstream = git_server.upstream()
    upstream.commit("runs", MLproject="name: p\nentry_points: {main: {command: 'true'}}\n")
    url = f"{git_server.url}/project.git"
    run = ("run", url, "--env-manager", "local")
    failed = projrun(*run, "--offline")
    assert failed.returncode == 125
    assert len(failed.stderr.splitlines()) == 1
    assert projrun(*run).returncode == 0
    del git_server.requests[:]
    assert projrun(*run, "--offline").returncode == 0
    for verb in ("run", "describe", "validate"):
        more = ("--env-manager", "local") if verb == "run" else ()
        done = projrun(verb, url, *more, environ={"PROJRUN_OFFLINE": "1"})
        assert (done.returncode, "offline: " in done.stderr) == (0, True)
    assert git_server.requests == []
