"""What determined the results of two runs, as far as it is not the same."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from projrun.compare import Difference
from projrun.plan import Source
from projrun.record import Environment, Input, Platform, Record

_SEED = re.compile(r"(?:^|[._-])(seed|random[._-]?state)(?:$|[._-])|^PYTHONHASHSEED$", re.IGNORECASE)
_THREADS = re.compile(r".*_NUM_(\w+_)?THREADS|.*_THREADS|NUMBA_NUM_THREADS")


def differences(first: Record, second: Record) -> Iterator[Difference]:
    """In the order in which they are worth a look."""
    yield from _of_sources(first.plan.source, second.plan.source)
    yield from _plain("command", first.plan.entry_point, second.plan.entry_point, "entry point")
    yield from _of_mappings("parameters", first.plan.parameters, second.plan.parameters)
    yield from _of_mappings("inputs", _digests(first.inputs), _digests(second.inputs))
    yield from _of_environments(first.environment, second.environment)
    yield from _of_mappings("variables", first.platform.variables, second.platform.variables)
    yield from _of_platforms(first.platform, second.platform)


def _plain(determinant: str, first: str, second: str, name: str = "") -> Iterator[Difference]:
    if first != second:
        yield Difference(determinant=determinant, name=name, first=first or "none", second=second or "none")


def _of_mappings(
    determinant: str, first: Mapping[str, str], second: Mapping[str, str]
) -> Iterator[Difference]:
    for name in sorted({*first, *second}):
        special = "seed" if _SEED.search(name) else "threads" if _THREADS.fullmatch(name) else determinant
        a, b = (mapping.get(name, "not set") for mapping in (first, second))
        yield from _plain(special, a, b, name)


def _digests(inputs: tuple[Input, ...]) -> dict[str, str]:
    return {one.parameter: f"sha256 {one.sha256[:16]}, {one.size} bytes" for one in inputs}


def _of_sources(first: Source, second: Source) -> Iterator[Difference]:
    yield from _plain("source", first.commit, second.commit, "commit")
    yield from _plain("source", first.subdirectory, second.subdirectory, "subdirectory")
    if first.dirty != second.dirty:
        state = {True: "uncommitted changes", False: "clean", None: "not known"}
        yield Difference(
            determinant="source", name="tree", first=state[first.dirty], second=state[second.dirty]
        )


def _of_environments(first: Environment | None, second: Environment | None) -> Iterator[Difference]:
    if first is None or second is None:
        managers = ("none" if one is None else one.manager for one in (first, second))
        yield from _plain("environment", *managers)
        return
    yield from _plain("environment", first.manager, second.manager, "manager")
    yield from _plain("python", first.python, second.python)
    packages = ({package.name: package.version for package in one.packages} for one in (first, second))
    different = list(_of_mappings("lock", *packages))
    yield from different
    if not different:
        yield from _plain("lock", first.lock_sha256[:16], second.lock_sha256[:16], "sha256")


def _of_platforms(first: Platform, second: Platform) -> Iterator[Difference]:
    for name in ("system", "machine", "release", "distribution", "libc", "timezone", "umask"):
        yield from _plain("platform", getattr(first, name), getattr(second, name), name)
    yield from _plain("cpu", first.cpu, second.cpu, "model")
    yield from _plain("cpu", " ".join(first.simd), " ".join(second.simd), "instruction sets")
    yield from _plain("threads", str(first.cpus), str(second.cpus), "processors")
    yield from _plain("gpu", ", ".join(first.gpus), ", ".join(second.gpus), "models")
    yield from _plain("gpu", first.gpu_driver, second.gpu_driver, "driver")
    yield from _plain("projrun", first.projrun, second.projrun, "version")
