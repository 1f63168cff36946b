from __future__ import annotations

import pytest

from projrun.errors import SourceError
from projrun.net import without_credentials
from projrun.sources.git import repository
from projrun.sources.git.address import Address, address_of, relative_to


@pytest.mark.parametrize(
    "uri",
    [
        "https://example.org/team/project",
        "HTTP://example.org/project.git",
        "git+https://example.org/project.git#sub",
        "ssh://git@example.org:2222/project.git",
        "git+ssh://git@example.org/project.git",
        "git://example.org/project",
        "git@example.org:team/project.git",
        "example.org:project.git",
        "file:///srv/project.git",
        "ext::sh -c true",
    ],
)
def test_git_claims_what_git_can_clone_and_what_must_be_refused(uri: str) -> None:
    assert repository.locate(uri)


@pytest.mark.parametrize("uri", ["", "project", "./a/b", "/srv/nothing", "a/b:c", "-v", "--upload-pack=x"])
def test_git_claims_nothing_else(uri: str) -> None:
    assert repository.locate(uri) is None


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://user:secret@example.org/p", "https://example.org/p"),
        ("https://token@example.org/p", "https://example.org/p"),
        ("https://user:p@ss@example.org/p@1", "https://example.org/p@1"),
        ("git+https://user:secret@example.org/p#sub", "git+https://example.org/p#sub"),
        ("ssh://git:secret@example.org/p", "ssh://git@example.org/p"),
        ("ssh://git@example.org/p", "ssh://git@example.org/p"),
        ("git@example.org:p", "git@example.org:p"),
        ("https://example.org/p@1", "https://example.org/p@1"),
        ("/srv/p@1", "/srv/p@1"),
    ],
)
def test_credentials_are_removed_and_addresses_stay(text: str, shown: str) -> None:
    assert without_credentials(text) == shown


def test_credentials_are_kept_apart_decoded_and_out_of_the_repr() -> None:
    address = address_of("git+https://us%40er:p%2Fw@example.org:8443/team/project.git/")
    assert address == Address("https://example.org:8443/team/project.git", "us@er", "p/w")
    assert "p/w" not in repr(address)
    assert "us@er" not in repr(address)
    assert address.origin == "https://example.org:8443"


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://example.org/team/project.git", "project"),
        ("git@example.org:project.git", "project"),
        ("/srv/.git", "project"),
        ("https://example.org/a b%20c", "a-b-20c"),
        ("https://example.org/..", "project"),
    ],
)
def test_a_repository_lends_its_name_to_the_directory(url: str, name: str) -> None:
    assert address_of(url).name == name


@pytest.mark.parametrize(
    "uri",
    [
        "ext::sh -c touch% /tmp/owned",
        "fd::17",
        "-uhttps://example.org/p",
        "--upload-pack=touch /tmp/owned",
        "ssh://-oProxyCommand=touch/p",
        "ssh://-oProxyCommand=touch@host/p",
        "https:///p",
        "https://example.org/p\n--upload-pack=x",
        "https://example.org/\x1b[31mp",
        "https://user:pass%0Aword@example.org/p",
        "https://user:secret/with/slash@example.org/p",
        "https://example.org/p?private_token=secret",
    ],
)
def test_what_could_mean_something_else_to_git_is_refused(uri: str) -> None:
    with pytest.raises(SourceError) as caught:
        address_of(uri)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("parent", "url", "expected"),
    [
        ("https://example.org/team/project.git", "../other.git", "https://example.org/team/other.git"),
        ("https://example.org/team/project.git/", "./inner", "https://example.org/team/project.git/inner"),
        ("https://example.org/a/b/c", "../../d", "https://example.org/a/d"),
        ("git@example.org:team/project.git", "../other.git", "git@example.org:team/other.git"),
        ("git@example.org:project.git", "../other.git", "git@example.org:other.git"),
        ("/srv/project.git", "../other.git", "/srv/other.git"),
        ("file:///srv/project.git", "../other.git", "file:///srv/other.git"),
        ("file:///srv/project.git", "/srv/other.git", "/srv/other.git"),
        ("https://example.org/p", "git@example.org:q", "git@example.org:q"),
    ],
)
def test_a_submodule_may_start_at_its_parent(parent: str, url: str, expected: str) -> None:
    assert relative_to(address_of(parent), url).url == expected


def test_a_submodule_has_its_parents_credentials_on_the_same_host_only() -> None:
    parent = Address("https://example.org/p", "user", "secret")
    assert relative_to(parent, "../q") == Address("https://example.org/q", "user", "secret")
    assert relative_to(parent, "https://example.org.evil.net/q") == Address("https://example.org.evil.net/q")
    assert relative_to(parent, "http://example.org/q") == Address("http://example.org/q")


@pytest.mark.parametrize("url", ["/etc", "file:///etc", "ext::sh -c true", "-x", "../../../../../etc"])
def test_a_submodule_of_a_remote_never_leads_to_this_machine(url: str) -> None:
    with pytest.raises(SourceError):
        relative_to(address_of("https://example.org/p"), url)
