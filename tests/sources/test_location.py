"""The shapes of what people type and paste."""

from __future__ import annotations

import pytest

from projrun import sources
from projrun.disk import Home
from projrun.errors import SourceError
from projrun.sources.git import repository
from projrun.sources.location import Location
from tests.sources.conftest import Fetcher
from tests.support.git_server import GitServer, Upstream

G = "https://host.example/team/project"


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("gh:team/project", Location("https://github.com/team/project.git")),
        ("gh:team/project.git@v1/x#a/b", Location("https://github.com/team/project.git", "v1/x", "a/b")),
        ("gl:group/below/project", Location("https://gitlab.com/group/below/project.git")),
        ("bb:team/project@1f", Location("https://bitbucket.org/team/project.git", "1f")),
        ("git+https://h/p.git@v1#subdirectory=a/b", Location("git+https://h/p.git", "v1", "a/b")),
        ("git+https://h/p@x/y#egg=p&subdirectory=a", Location("git+https://h/p", "x/y", "a")),
        ("git+ssh://git@h/p.git", Location("git+ssh://git@h/p.git")),
        ("git+ssh://git@h/p.git@main", Location("git+ssh://git@h/p.git", "main")),
        ("https://h/p@1", Location("https://h/p@1")),
        (f"{G}/tree/a/b", Location(G, page="a/b")),
        (f"{G}/tree/main?tab=readme-ov-file#readme", Location(G, page="main")),
        (f"{G}/blob/main/a%20b/x.py#L3-L9", Location(G, page="main/a b/x.py", is_file=True)),
        (f"{G}/pull/7", Location(G, "refs/pull/7/head")),
        (f"{G}/pull/7/files", Location(G, "refs/pull/7/head")),
        (f"{G}/commit/{'a' * 40}#sub", Location(G, "a" * 40, "sub")),
        (f"{G}/releases/tag/v1", Location(G, "refs/tags/v1")),
        (f"{G}/-/tree/a/b?ref_type=heads", Location(G, page="a/b")),
        (f"{G}/deep/-/blob/a/MLproject", Location(f"{G}/deep", page="a/MLproject", is_file=True)),
        (f"{G}/-/merge_requests/3/diffs", Location(G, "refs/merge-requests/3/head")),
        (f"{G}/-/commit/{'b' * 40}", Location(G, "b" * 40)),
        (f"{G}/src/main/a/", Location(G, page="main/a")),
        (f"{G}/src/branch/main/a", Location(G, page="main/a")),
        (f"{G}/tree/main.git", Location(f"{G}/tree/main.git")),
        (G, Location(G)),
    ],
)
def test_what_is_understood(uri: str, expected: Location) -> None:
    assert repository.locate(uri) == expected._replace(uri=uri)


@pytest.mark.parametrize("uri", ["gh:team", "gh:team/", "gh:/etc/passwd", "gh:-x/-y z", "gl:a//b"])
def test_a_shorthand_that_names_nothing(uri: str) -> None:
    with pytest.raises(SourceError, match="names no repository"):
        repository.locate(uri)


def test_an_owner_and_a_name_alone_are_a_directory_or_an_error(home: Home) -> None:
    with pytest.raises(SourceError) as caught:
        sources.fetch("team/project#sub", "", home)
    assert "gh:team/project#sub" in caught.value.hint


@pytest.fixture
def pages(git_server: GitServer) -> Upstream:
    """Served without .git; branches `feature/one`, `feature` in the shape of a directory, pull request 7."""
    upstream = git_server.upstream("team/project")
    upstream.commit("more", feature__MLproject="name: inner\n", one__MLproject="name: one\n")
    upstream.git("branch", "feature/one")
    upstream.git("tag", "v1")
    upstream.git("update-ref", "refs/pull/7/head", "main~1")
    upstream.git("update-ref", "refs/merge-requests/3/head", "main~1")
    upstream.push()
    return upstream


@pytest.mark.parametrize(
    ("path", "version", "directory"),
    [
        ("tree/main", "main", ""),
        ("tree/main/sub/dir", "main", "sub/dir"),
        ("tree/main#sub", "main", "sub"),
        ("tree/feature/one", "feature/one", ""),
        ("tree/feature/one/sub/dir/", "feature/one", "sub/dir"),
        ("blob/main/one/MLproject", "main", "one"),
        ("blob/main/MLproject", "main", ""),
        ("-/tree/feature/one/one?ref_type=heads", "feature/one", "one"),
        ("src/v1/sub", "v1", "sub"),
        ("src/branch/main/sub", "main", "sub"),
    ],
)
def test_pages_pasted_from_a_browser(
    fetch: Fetcher, git_server: GitServer, pages: Upstream, path: str, version: str, directory: str
) -> None:
    checkout = fetch(f"{git_server.url}/team/project/{path}")
    source = checkout.source
    assert (source.version, source.subdirectory, source.commit) == (version, directory, pages.head)
    assert source.repository == f"{git_server.url}/team/project"


@pytest.mark.parametrize("path", ["pull/7", "pull/7/commits", "-/merge_requests/3"])
def test_pages_of_a_pull_request(fetch: Fetcher, git_server: GitServer, pages: Upstream, path: str) -> None:
    commit = fetch(f"{git_server.url}/team/project/{path}").source.commit
    assert commit == pages.git("rev-parse", "main~1")


def test_pages_of_a_commit(fetch: Fetcher, git_server: GitServer, pages: Upstream) -> None:
    first = pages.git("rev-parse", "main~1")
    base = f"{git_server.url}/team/project"
    for path in (f"commit/{first}", f"tree/{first}", f"tree/{first[:9]}", f"-/commit/{first}"):
        assert fetch(f"{base}/{path}").source.commit == first
    del git_server.requests[:]
    assert fetch(f"{base}/tree/{first}/sub/dir", offline=True).source.subdirectory == "sub/dir"
    assert git_server.requests == []


def test_two_versions_or_two_directories_are_an_error(
    fetch: Fetcher, git_server: GitServer, pages: Upstream
) -> None:
    base = f"{git_server.url}/team/project"
    for uri in (f"{base}/tree/main/sub", f"{base}/pull/7", f"git+{base}@main"):
        with pytest.raises(SourceError, match="already says which version"):
            fetch(uri, "v1")
    for uri in (f"{base}/tree/main/sub#dir", f"{base}/blob/main/MLproject#sub"):
        with pytest.raises(SourceError, match="names two directories"):
            fetch(uri)
    with pytest.raises(SourceError, match="no branch, tag or commit 'mian'"):
        fetch(f"{base}/tree/mian/sub")


def test_the_way_of_pip(fetch: Fetcher, git_server: GitServer, pages: Upstream) -> None:
    checkout = fetch(f"git+{git_server.url}/team/project@feature/one#subdirectory=sub/dir&egg=x")
    assert (checkout.source.version, checkout.source.subdirectory) == ("feature/one", "sub/dir")
    git_server.credentials = "user:s3cr3t"
    source = fetch(f"git+{git_server.url_with('user:s3cr3t')}/team/project@v1").source
    assert (source.version, source.commit) == ("v1", pages.head)
    assert "s3cr3t" not in repr(source)
