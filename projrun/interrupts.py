"""Signals that end projrun, as exceptions; and what must not be cut in two by them."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

GRACE_S = 10.0
"""How long a process may take to end after it was asked to."""


class Terminated(KeyboardInterrupt):
    """SIGTERM or SIGHUP reached us; everything that cleans up after ^C cleans up after these."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


def signal_of(interrupt: KeyboardInterrupt) -> int:
    return interrupt.number if isinstance(interrupt, Terminated) else signal.SIGINT


def raise_on_termination() -> None:
    """From now on SIGTERM and SIGHUP unwind the stack as ^C does. For programs, not for libraries."""

    def handler(number: int, _frame: object) -> NoReturn:
        raise Terminated(number)

    signal.signal(signal.SIGTERM, handler)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup stays nohup
        signal.signal(signal.SIGHUP, handler)


def ends_by_signal() -> bool:
    """Whether SIGTERM ends this process in good order."""
    return callable(signal.getsignal(signal.SIGTERM))


@contextmanager
def uninterrupted() -> Iterator[None]:
    """What the block does is done whole: a signal that arrives meanwhile takes effect at its end.

    An exception between the start of a process and the line that remembers it would leave the process behind.
    Signals are not masked, because a process started here would inherit that.
    """
    if threading.current_thread() is not threading.main_thread():  # others get no signals
        yield
        return
    arrived: list[int] = []
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    deferred = {number: handler for number, handler in before.items() if callable(handler)}
    for number in deferred:
        signal.signal(number, lambda number, _frame: arrived.append(number))
    try:
        yield
    finally:
        for number, handler in deferred.items():
            signal.signal(number, handler)
        if arrived:
            os.kill(os.getpid(), arrived[0])
