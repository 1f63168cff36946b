"""The text of a `sitecustomize.py` under which Python's directory listings come in the opposite order.

It works for every Python from 3.6 on, and hands over to the `sitecustomize` that it stands before.
"""

from __future__ import annotations

from projrun.runner.handover import HAND_OVER

SITECUSTOMIZE = (
    '''
import os
import sys


class Listing:
    """Not a function: pathlib of older Pythons keeps it as an attribute of a class."""

    def __init__(self, listed):
        self.listed = listed

    def __call__(self, *args, **kwargs):
        return self.listed(*args, **kwargs)[::-1]


class Entries:
    def __init__(self, entries):
        with entries:
            self._entries = iter(list(entries)[::-1])

    def __iter__(self):
        return self

    def __next__(self):
        return next(self._entries)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()

    def close(self):
        self._entries = iter(())


class Scan:
    def __init__(self, scanned):
        self.scanned = scanned

    def __call__(self, *args, **kwargs):
        return Entries(self.scanned(*args, **kwargs))


os.listdir, os.scandir = Listing(os.listdir), Scan(os.scandir)
os.supports_fd.update((os.listdir, os.scandir))
'''
    + HAND_OVER
)
