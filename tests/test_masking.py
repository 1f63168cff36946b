from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from projrun.console import masking
from projrun.console.masking import MASK, StreamMask, hidden_in_output, hide, masked, output_mask


@pytest.fixture(autouse=True)
def nothing_hidden() -> Iterator[None]:
    yield
    masking._hidden.clear()


def through(values: list[bytes], chunks: list[bytes]) -> bytes:
    mask = StreamMask(values)
    return b"".join([*(mask.feed(chunk) for chunk in chunks), mask.rest()])


def test_values_are_masked_in_text() -> None:
    hide(["s3cret", "s3cret-longer"])
    assert masked("a s3cret-longer and a s3cret") == f"a {MASK} and a {MASK}"


def test_everyday_and_short_values_stay_readable() -> None:
    hide(["1", "true", "False", "prod"])
    assert masked("1 true False prod") == "1 true False prod"


def test_a_value_of_several_lines_is_masked_line_by_line() -> None:
    hide(["-----BEGIN\nabcdef\n"])
    assert masked("abcdef") == MASK


def test_output_is_not_masked_when_nothing_is_hidden() -> None:
    assert output_mask() is None
    hide(["s3cret"], in_output=False)
    assert output_mask() is None


def test_a_token_is_masked_in_output_alone_and_for_a_while() -> None:
    hide(["s3cret"], in_output=False)
    with hidden_in_output("token-of-a-run"), hidden_in_output(""), hidden_in_output("token-of-a-run"):
        mask = output_mask()
        assert mask is not None
        assert mask.feed(b"s3cret token-of-a-run\n") + mask.rest() == f"s3cret {MASK}\n".encode()
        assert masked("token-of-a-run") == "token-of-a-run"
    assert output_mask() is None


@pytest.mark.parametrize("seed", range(200))
def test_a_value_across_chunks_is_masked_as_if_it_came_at_once(seed: int) -> None:
    chance = random.Random(seed)
    values = [b"ababac", b"abab", b"zzzzz", b"abacus"]
    text = b"".join(chance.choice([*values, b"a", b"ab", b"z", b"\n", b"\xff"]) for _ in range(30))
    cuts = sorted(chance.randrange(len(text)) for _ in range(8))
    chunks = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)])]
    assert through(values, chunks) == through(values, [text])
    assert not any(value in through(values, chunks) for value in values)


def test_what_cannot_be_a_value_is_shown_at_once() -> None:
    mask = StreamMask([b"secret"])
    assert mask.feed(b"50%\r") == b"50%\r"
    assert mask.feed(b"no se") == b"no "
    assert mask.feed(b"t!") == b"set!"
