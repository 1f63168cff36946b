"""Test that a URL, a version or a repository cannot do harm."""

from __future__ import annotations

import contextlib
import os
import subprocess
from pathlib import Path
from urllib.parse import unquote

import pytest

from projrun.disk import Home
from projrun.errors import SourceError
from tests.sources.conftest import Fetcher
from tests.support.git_server import GitServer, Upstream, run_git

SECRET = "s3cr3t"


def processes() -> str:
    """Every command line of this machine."""
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            continue
    return "\n".join(lines)


def text_below(directory: Path) -> str:
    return "\n".join(path.read_text(errors="replace") for path in directory.rglob("*") if path.is_file())


@pytest.mark.parametrize("userinfo", [f"user:{SECRET}", f"{SECRET}:", SECRET, f"us%40er:{SECRET}%2F%40"])
def test_credentials_open_the_door_and_are_seen_nowhere(
    fetch: Fetcher, git_server: GitServer, home: Home, userinfo: str
) -> None:
    user, _, password = userinfo.partition(":")
    git_server.credentials = f"{unquote(user)}:{unquote(password)}"
    upstream = git_server.upstream()
    seen: list[str] = []
    git_server.on_request = lambda: seen.append(processes())
    uri = f"{git_server.url_with(userinfo)}/project.git"
    checkout = fetch(f"{uri}#sub", "main")
    assert checkout.source.commit == upstream.head
    assert "git-remote-http" in "\n".join(seen)
    assert SECRET not in "\n".join(seen)
    assert SECRET not in repr(checkout)
    assert SECRET not in text_below(home.cache)
    assert fetch(uri, upstream.head[:7]).source.repository == f"{git_server.url}/project.git"


def test_wrong_credentials_are_told_but_not_shown(fetch: Fetcher, git_server: GitServer) -> None:
    git_server.credentials = "user:right"
    git_server.upstream()
    with pytest.raises(SourceError, match="does not let us in") as caught:
        fetch(f"{git_server.url_with(f'user:{SECRET}')}/project.git")
    assert SECRET not in str(caught.value)


def test_without_credentials_nobody_is_asked(
    fetch: Fetcher, git_server: GitServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git_server.credentials = "user:right"
    git_server.upstream()
    asking = tmp_path / "askpass"
    asking.write_text(f"#!/bin/sh\ntouch {tmp_path}/asked\n")
    asking.chmod(0o755)
    run_git("config", "--global", "core.askPass", str(asking))
    monkeypatch.setenv("SSH_ASKPASS", str(asking))
    monkeypatch.delenv("GIT_ASKPASS", raising=False)
    with pytest.raises(SourceError, match="does not let us in") as caught:
        fetch(f"{git_server.url}/project.git")
    assert "credential helper" in caught.value.hint
    assert not (tmp_path / "asked").exists()


def test_the_users_own_credential_helper_is_asked(fetch: Fetcher, git_server: GitServer) -> None:
    git_server.credentials = "user:right"
    upstream = git_server.upstream()
    helper = "!f() { echo username=user; echo password=right; }; f"
    run_git("config", "--global", "credential.helper", helper)
    for uri in (f"{git_server.url}/project.git", f"{git_server.url_with('user')}/project.git"):
        assert fetch(uri).source.commit == upstream.head


def test_settings_in_the_callers_environment_stay(
    fetch: Fetcher, git_server: GitServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CI systems hand credentials over like this."""
    upstream = git_server.upstream()
    git_server.credentials = "user:right"
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", f"url.{git_server.url}/.insteadOf")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "https://nowhere.example/")
    uri = "https://user:right@nowhere.example/project.git"
    with pytest.raises(SourceError):  # the password is good for the host that it was given for, and no other
        fetch(uri)
    git_server.credentials = ""
    assert fetch(uri).source.commit == upstream.head


@pytest.mark.parametrize("uri", ["ext::sh -c 'touch {}/owned'", "fd::1", "--upload-pack=touch {}/owned"])
def test_a_uri_that_runs_a_command(fetch: Fetcher, tmp_path: Path, uri: str) -> None:
    with pytest.raises(SourceError):
        fetch(uri.format(tmp_path))
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("version", ["--upload-pack=touch {}/owned", "-x", "main\n--x", "a\0b", "\x1b[2J"])
def test_a_version_that_is_an_option_or_holds_control_characters(
    fetch: Fetcher, upstream: Upstream, tmp_path: Path, version: str
) -> None:
    with pytest.raises(SourceError, match="cannot be a version") as caught:
        fetch(f"file://{upstream.bare}", version.format(tmp_path))
    assert str(caught.value).isprintable()
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize(
    "version", ["*", "ma?n", "main main", "refs/*", "..", "main:MLproject", ":/first", "@{1}"]
)
def test_a_version_that_is_no_single_name(fetch: Fetcher, upstream: Upstream, version: str) -> None:
    with pytest.raises(SourceError, match="no branch, tag or commit"):
        fetch(upstream.bare, version)


@pytest.mark.parametrize("below", ["..", "sub/../..", "/etc", ".git", "sub/../.git", "a\nb"])
def test_a_subdirectory_that_leads_out(fetch: Fetcher, upstream: Upstream, below: str) -> None:
    with pytest.raises(SourceError) as caught:
        fetch(f"{upstream.bare}#{below}")
    assert str(caught.value).isprintable()


def test_a_link_in_the_repository_leads_out(fetch: Fetcher, upstream: Upstream) -> None:
    (upstream.tree / "out").symlink_to("/etc")
    upstream.commit("link")
    with pytest.raises(SourceError, match="leads out"):
        fetch(f"{upstream.bare}#out")


def test_a_transport_that_the_user_forbids(
    fetch: Fetcher, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_ALLOW_PROTOCOL", "https")
    with pytest.raises(SourceError, match="transport that is not allowed"):
        fetch(f"file://{upstream.bare}")


def test_hooks_do_not_run(fetch: Fetcher, upstream: Upstream, tmp_path: Path) -> None:
    """Neither those of a repository on this machine, nor those of the user's templates and settings."""
    hooks = tmp_path / "hooks"
    template = tmp_path / "template/hooks"
    for directory in (hooks, template, upstream.bare / "hooks"):
        directory.mkdir(parents=True, exist_ok=True)
        for name in ("post-checkout", "post-index-change", "reference-transaction", "post-merge"):
            (directory / name).write_text(f"#!/bin/sh\ntouch {tmp_path}/owned\n")
            (directory / name).chmod(0o755)
    run_git("config", "--global", "core.hooksPath", str(hooks))
    run_git("config", "--global", "init.templateDir", str(template.parent))
    checkout = fetch(upstream.bare)
    fetch(upstream.bare, "main~0")
    fetch(upstream.tree)
    assert not (tmp_path / "owned").exists()
    assert not (checkout.root / ".git/hooks").exists()


def test_filters_that_only_the_repository_asks_for_do_not_run(fetch: Fetcher, upstream: Upstream) -> None:
    upstream.commit("filter", **{".gitattributes": "* filter=evil\n", ".gitconfig": "[filter]\n"})
    assert (fetch(upstream.bare).root / "MLproject").read_text() == "name: served\n"


def test_a_branch_name_of_a_hostile_server_writes_no_file(
    fetch: Fetcher, upstream: Upstream, tmp_path: Path
) -> None:
    head = upstream.git("rev-parse", "HEAD")
    evil = "refs/heads/../../../evil"
    with (upstream.bare / "packed-refs").open("a") as file:
        file.write(f"{head} {evil}\n")
    (upstream.bare / "HEAD").write_text(f"ref: {evil}\n")
    with contextlib.suppress(SourceError):
        fetch(upstream.bare, evil)
    assert list(tmp_path.rglob("evil*")) == []


def test_the_cache_is_the_users_alone(fetch: Fetcher, upstream: Upstream, home: Home) -> None:
    fetch(upstream.bare)
    assert {path.stat().st_mode & 0o777 for path in (home.git, home.checkouts)} == {0o700}
    assert (home.cache / "CACHEDIR.TAG").exists()


def test_git_is_needed_for_urls(fetch: Fetcher, upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SourceError, match="git not found") as caught:
        fetch(f"file://{upstream.bare}")
    assert caught.value.hint.startswith("install git")


def test_other_users_repositories(fetch: Fetcher, upstream: Upstream) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can give a directory away")
    subprocess.run(["chown", "-R", "12345:12345", str(upstream.bare)], check=True)
    try:
        assert fetch(upstream.bare).source.commit == upstream.head
    except SourceError as error:  # newer git refuses
        assert "safe.directory" in error.hint


@pytest.mark.parametrize("name", [".git", ".GIT", "git~1", ".git\u200c"])
def test_a_tree_that_holds_a_repository_of_its_own(
    fetch: Fetcher, upstream: Upstream, tmp_path: Path, name: str
) -> None:
    """`sub/.git/config` with a program in it, made with plumbing because `git add` refuses."""

    def tree(*lines: str) -> str:
        done = subprocess.run(
            ["git", "mktree", "-z"],
            cwd=upstream.tree,
            input="\0".join(lines).encode() + b"\0",
            capture_output=True,
            check=True,
        )
        return done.stdout.decode().strip()

    config = upstream.tree / "config"
    config.write_text(f"[core]\n\tfsmonitor = touch {tmp_path}/owned\n\tbare = false\n")
    blob = upstream.git("hash-object", "-w", "--", str(config))
    inner = tree(f"040000 tree {tree(f'100644 blob {blob}{chr(9)}config')}\t{name}")
    outer = tree(f"040000 tree {inner}\tsub")
    commit = upstream.git("commit-tree", "-m", "evil", outer)
    run_git("update-ref", "refs/heads/evil", commit, cwd=upstream.tree)
    run_git(
        "-c",
        "protocol.file.allow=always",
        "fetch",
        "--quiet",
        str(upstream.tree),
        "evil:evil",
        cwd=upstream.bare,
    )
    with contextlib.suppress(SourceError):
        root = fetch(f"file://{upstream.bare}", "evil").root
        assert name != ".git"
        assert not (root / "sub/.git").exists()
    assert not (tmp_path / "owned").exists()


def test_programs_in_attributes_and_settings_of_the_tree_do_not_run(
    fetch: Fetcher, upstream: Upstream, tmp_path: Path
) -> None:
    evil = f"touch {tmp_path}/owned"
    config = f'[core]\n\tfsmonitor = {evil}\n[filter "evil"]\n\tsmudge = {evil}\n'
    attributes = "* filter=evil diff=evil merge=evil ident\n"
    upstream.commit("evil", **{".gitattributes": attributes, ".gitconfig": config, "config": config})
    root = fetch(f"file://{upstream.bare}").root
    assert run_git("status", "--porcelain", cwd=root) == ""
    assert not (tmp_path / "owned").exists()


def test_a_pasted_url_hides_no_option(fetch: Fetcher, git_server: GitServer, tmp_path: Path) -> None:
    git_server.upstream("team/project")
    base = f"{git_server.url}/team/project"
    for uri in (
        f"git+{base}@--upload-pack=touch%20{tmp_path}/owned",
        f"git+{base}@-x",
        f"{base}/tree/--upload-pack=touch/x",
        f"{base}/tree/main%0A--x",
        f"{base}/tree/main/..%2F..%2Fetc",
        f"{base}/tree/main/.git",
    ):
        with pytest.raises(SourceError) as caught:
            fetch(uri)
        assert str(caught.value).isprintable()
    assert not (tmp_path / "owned").exists()
