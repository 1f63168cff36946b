from __future__ import annotations

import pytest

from projrun.console.tables import Printable


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        (b"plain \xc3\xbc\ttext\r\n", "plain ü\ttext\r\n"),
        (b"\x1b[1;31mred\x1b[0m 50%\x1b[K\r", "\x1b[1;31mred\x1b[0m 50%\x1b[K\r"),
        (b"\x1b]0;title\x07", "␛]0;title␇"),
        (b"\x1b[2J\x1b[6n", "␛[2J␛[6n"),
        (b"\xff\x00\x7f\xc2\x9b", "�␀␡�"),
        (b"cut \xc3", "cut �"),
        (b"cut \x1b[3", "cut ␛[3"),
    ],
)
def test_only_text_and_colours_reach_a_terminal(written: bytes, shown: str) -> None:
    at_once = Printable()
    assert at_once.feed(written) + at_once.feed(b"", last=True) == shown
    by_byte = Printable()
    pieces = [by_byte.feed(written[at : at + 1]) for at in range(len(written))]
    assert "".join(pieces) + by_byte.feed(b"", last=True) == shown
