from __future__ import annotations


class SubmittedRun: ...


def run() -> SubmittedRun:
    return SubmittedRun()
