from __future__ import annotations

import pytest

from projrun.net import without_credentials, without_secrets


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://user:pw@host/a.git", "https://host/a.git"),
        ("https://token@host/a.git", "https://host/a.git"),
        ("https://u:p@ss@host/a", "https://host/a"),
        ("https://u:p/w@host/a", "https://host/a"),
        ("https://host:8080/@scope/a@v1", "https://host:8080/@scope/a@v1"),
        ("https://host/a@v1#b", "https://host/a@v1#b"),
        ("ssh://git@host/a", "ssh://git@host/a"),
        ("ssh://git:pw@host/a", "ssh://git@host/a"),
        ("git@host:a/b.git", "git@host:a/b.git"),
        ("two: https://a:b@x/1 and http://c@y/2", "two: https://x/1 and http://y/2"),
        ("/a/path@x", "/a/path@x"),
    ],
)
def test_credentials_are_not_shown(text: str, shown: str) -> None:
    assert without_credentials(text) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://u:p@h/a?X-Amz-Signature=ab%2F&v=1", "https://h/a?X-Amz-Signature=…&v=1"),
        ("https://h/a?sv=1&sig=abc", "https://h/a?sv=1&sig=…"),
        ("https://h/a" + "?key" * 30_000, "https://h/a" + "?key" * 30_000),
        ("https://h/a?api_key=x&design=1#token=1", "https://h/a?api_key=…&design=1#token=1"),
    ],
)
def test_signatures_are_not_shown(text: str, shown: str) -> None:
    assert without_secrets(text) == shown
