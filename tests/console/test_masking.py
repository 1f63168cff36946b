from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from projrun.console import masking
from projrun.console.masking import MASK, StreamMask, hide_in_output, hide_values, mask_text, output_secrets


@pytest.fixture(autouse=True)
def nothing_hidden() -> Iterator[None]:
    yield
    masking._hidden.clear()


def through(values: list[str], chunks: list[bytes]) -> bytes:
    mask = StreamMask(values)
    return b"".join([*(mask.feed(chunk) for chunk in chunks), mask.rest()])


def test_values_are_masked_in_text() -> None:
    hide_values(["s3cret", "s3cret-longer"])
    assert mask_text("a s3cret-longer and a s3cret") == f"a {MASK} and a {MASK}"


def test_everyday_and_short_values_stay_readable() -> None:
    hide_values(["1", "true", "False", "prod"])
    assert mask_text("1 true False prod") == "1 true False prod"


def test_a_value_of_several_lines_is_masked_line_by_line() -> None:
    hide_values(["-----BEGIN\nabcdef\n"])
    assert mask_text("abcdef") == MASK


def test_output_is_not_masked_when_nothing_is_hidden() -> None:
    assert not output_secrets()
    hide_values(["s3cret"], in_output=False)
    assert not output_secrets()


def test_a_token_is_masked_in_output_alone_and_for_a_while() -> None:
    hide_values(["s3cret"], in_output=False)
    with hide_in_output("token-of-a-run"), hide_in_output(""), hide_in_output("token-of-a-run"):
        mask = StreamMask(output_secrets())
        assert mask.feed(b"s3cret token-of-a-run\n") + mask.rest() == f"s3cret {MASK}\n".encode()
        assert mask_text("token-of-a-run") == "token-of-a-run"
    assert not output_secrets()


@pytest.mark.parametrize("seed", range(200))
def test_a_value_across_chunks_is_masked_as_if_it_came_at_once(seed: int) -> None:
    chance = random.Random(seed)
    values = ["ababac", "abab", "zzzzz", "abacus"]
    text = b"".join(
        chance.choice([*map(str.encode, values), b"a", b"ab", b"z", b"\n", b"\xff"]) for _ in range(30)
    )
    cuts = sorted(chance.randrange(len(text)) for _ in range(8))
    chunks = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)])]
    assert through(values, chunks) == through(values, [text])
    assert not any(value.encode() in through(values, chunks) for value in values)


def test_what_cannot_be_a_value_is_shown_at_once() -> None:
    mask = StreamMask(["secret"])
    assert mask.feed(b"50%\r") == b"50%\r"
    assert mask.feed(b"no se") == b"no "
    assert mask.feed(b"t!") == b"set!"
