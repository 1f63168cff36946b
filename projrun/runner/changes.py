"""What can be varied about a run, and how this machine does it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import msgspec

from projrun.errors import LaunchError, UsageError
from projrun.process import ask
from projrun.record import Record


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One way in which a run is not as the first was. `impossible`: why this machine cannot do it."""

    text: str = ""
    variables: Mapping[str, str | None] = {}
    prefix: tuple[str, ...] = ()
    elsewhere: bool = False
    impossible: str = ""


class Scene(msgspec.Struct, frozen=True, kw_only=True):
    """What the changes depart from."""

    record: Record
    environ: Mapping[str, str]
    """The variables that the command gets when nothing is varied."""
    scratch: Path
    """A directory of our own, for as long as the trials last."""


def changes(kind: str, scene: Scene) -> Iterator[Change]:
    if _is_in_container(scene.record) and kind not in IN_CONTAINERS:
        yield Change(impossible="the image says it")
        return
    yield from KINDS[kind](scene)


def _is_in_container(record: Record) -> bool:
    return record.plan.environment.manager == "docker"


# the changes


def hash_seed(scene: Scene) -> str:
    recorded = scene.environ.get("PYTHONHASHSEED", "")
    return recorded if recorded.isdecimal() else "0"


def _other(values: tuple[str, ...], not_this: str) -> str:
    return next(value for value in values if value != not_this)


def _set(name: str, values: tuple[str, ...], before: str) -> Change:
    value = _other(values, before)
    return Change(text=f"{name}={value}", variables={name: value})


def _hash_seeds(scene: Scene) -> Iterator[Change]:
    yield _set("PYTHONHASHSEED", ("1", "2"), hash_seed(scene))


def _time_zone(scene: Scene) -> Iterator[Change]:
    """Where dates and quarters of hours are not those of most places."""
    known = tuple(
        name
        for name in ("Pacific/Kiritimati", "America/St_Johns")
        if Path("/usr/share/zoneinfo", name).exists()
    )
    yield _set("TZ", (*known, "UTC-13:45", "UTC+3:30"), scene.record.platform.timezone)


def _locale(scene: Scene) -> Iterator[Change]:
    """One that sorts and writes numbers otherwise, where it is installed."""
    now = scene.environ.get("LC_ALL") or scene.environ.get("LANG") or "C"
    try:
        installed = {_plain(name) for name in ask(["locale", "-a"]).stdout.split()}
    except LaunchError:
        installed = set()
    wanted = (
        *("tr_TR.UTF-8", "de_DE.UTF-8", "fr_FR.UTF-8", "sv_SE.UTF-8", "en_US.UTF-8"),
        *("C.UTF-8", "C"),
    )
    there = tuple(name for name in wanted if name == "C" or _plain(name) in installed)
    other = next((name for name in there if _plain(name) != _plain(now)), "")
    if other:
        variables = {"LC_ALL": other, "LANG": other, "LANGUAGE": None}
        yield Change(text=f"LC_ALL={other}", variables=variables)
    else:
        yield Change(impossible=f"no other locale than {now} is installed")


def _plain(name: str) -> str:
    return name.lower().replace("-", "")


def _clock(scene: Scene) -> Iterator[Change]:
    from projrun.runner.fakedclock import library, month_later, variables

    if (found := library()) is None:
        yield Change(impossible="libfaketime is not installed (Debian: apt install faketime)")
    elif (faketime := month_later(scene.environ)) is None:
        yield Change(impossible="FAKETIME is set, and to something else than an offset")
    else:
        site = scene.scratch / "clock"
        site.mkdir()
        yield Change(text="33.3 days later", variables=variables(found, faketime, site, scene.environ))


THREADS = (
    *("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS"),
    *("VECLIB_MAXIMUM_THREADS", "NUMEXPR_NUM_THREADS", "RAYON_NUM_THREADS", "POLARS_MAX_THREADS"),
)


def _threads(scene: Scene) -> Iterator[Change]:
    now = scene.environ.get("OMP_NUM_THREADS") or str(scene.record.platform.cpus)
    for number in ("1", _other(("3", "2"), now)):
        if number != now:
            yield Change(
                text="1 thread" if number == "1" else f"{number} threads",
                variables=dict.fromkeys(THREADS, number),
            )


def _directory(scene: Scene) -> Iterator[Change]:
    yield Change(text="another path, with blanks", elsewhere=True)


def _home(scene: Scene) -> Iterator[Change]:
    home = scene.scratch / "another home"
    home.mkdir()
    kept = dict.fromkeys(("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME"))
    yield Change(text="an empty home directory", variables={**kept, "HOME": str(home)})


def _user(scene: Scene) -> Iterator[Change]:
    name = _other(("somebody", "anybody"), os.environ.get("USER", ""))
    yield Change(text=f"USER={name}", variables=dict.fromkeys(("USER", "LOGNAME", "USERNAME"), name))


def _file_order(scene: Scene) -> Iterator[Change]:
    from projrun.runner.fileorder import SITECUSTOMIZE

    directory = scene.scratch / "site"
    directory.mkdir()
    (directory / "sitecustomize.py").write_text(SITECUSTOMIZE)
    path = os.pathsep.join(filter(None, (str(directory), scene.environ.get("PYTHONPATH"))))
    yield Change(text="Python lists directories backwards", variables={"PYTHONPATH": path})


def _umask(scene: Scene) -> Iterator[Change]:
    mask = _other(("0077", "0022"), scene.record.platform.umask)
    yield Change(text=f"umask {mask}", prefix=("sh", "-c", f'umask {mask}; exec "$@"', "sh"))


def _network(scene: Scene) -> Iterator[Change]:
    from importlib.util import find_spec

    spec = find_spec("projrun.runner.withoutnetwork")
    assert spec is not None and spec.origin is not None
    prefix = (sys.executable, "-I", spec.origin)
    if os.environ.get("MLFLOW_TRACKING_URI", "").startswith("http"):
        yield Change(impossible="the run logs to a tracking server, which is on the network")
    elif not sys.platform.startswith("linux"):
        yield Change(impossible="it takes Linux")
    elif not (answer := ask([*prefix, "true"])).ok:
        yield Change(impossible=answer.stderr.strip() or "the network cannot be taken away")
    else:
        yield Change(text="no network", prefix=prefix)


KINDS: dict[str, Callable[[Scene], Iterator[Change]]] = {
    "hash-seed": _hash_seeds,
    "time-zone": _time_zone,
    "locale": _locale,
    "clock": _clock,
    "threads": _threads,
    "directory": _directory,
    "home": _home,
    "user": _user,
    "file-order": _file_order,
    "umask": _umask,
    "network": _network,
}
IN_CONTAINERS = {"hash-seed", "time-zone", "locale", "threads", "user"}
"""What the variables of a process say; all else is the image's."""


def kinds_of(text: str) -> tuple[str, ...]:
    """Of what the user wrote: names with commas between, or `all`. Raises UsageError."""
    names = tuple(dict.fromkeys(filter(None, (name.strip() for name in text.split(",")))))
    if "all" in names:
        return tuple(KINDS)
    for name in names:
        if name not in KINDS:
            raise UsageError(f"--vary: '{name}' cannot be varied", f"choose of {', '.join(KINDS)}, or all")
    return names
