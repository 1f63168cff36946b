"""Repeat a run under controlled changes, one at a time, to see which of them changes the results."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import msgspec

from projrun.compare import Comparison
from projrun.compare.results import compare
from projrun.compare.trials import NOTHING, Trial, Trials
from projrun.console import say
from projrun.disk import Home
from projrun.disk.file_operations import temporary_directory
from projrun.environments import manager_named
from projrun.errors import LaunchError, UsageError
from projrun.plan import VerifyRules
from projrun.processes import merge_environ
from projrun.processes.programs import run_program
from projrun.record import Record
from projrun.records.stored_runs import StoredRun, find_stored_run
from projrun.runner.reproduction import RepeatOptions, reproduce
from projrun.tracking.entities import VARIES_TAG

FIXED = "with a fixed hash seed"


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One change of a run; the members have the meaning that they have in `RepeatOptions`."""

    text: str = ""
    variables: Mapping[str, str | None] = {}
    prefix: tuple[str, ...] = ()
    elsewhere: bool = False
    impossible: str = ""  # the reason why this machine cannot make the change


class Scene(msgspec.Struct, frozen=True, kw_only=True):
    """The state that the changes start from."""

    record: Record
    environ: Mapping[str, str]  # the variables that the command gets when nothing is varied
    scratch: Path  # a directory of our own, for as long as the trials last


def run_trials(
    first: StoredRun, rules: VerifyRules, kinds: Collection[str], times: int, home: Home, stack: ExitStack
) -> Trials:
    """Compare `times` plain repetitions with the first run; then repeat the run once for each change.

    A change is compared with a repetition of this session that has a fixed hash seed, so that nothing but
    the change can be the reason for a difference. If even two such repetitions differ, changes are left out:
    they would be blamed for chance.
    """
    trials: list[Trial] = []
    for number in range(1, times + 1):
        last = _repeat(first, home, stack, f"repetition {number} of {times}")
        trials.append(Trial(varied=NOTHING, change="as recorded", comparison=_compare(first, last, rules)))
    if kinds:
        scratch = stack.enter_context(temporary_directory())
        environ = merge_environ(os.environ, first.record.platform.variables)
        scene = Scene(record=first.record, environ=environ, scratch=scratch)
        doubtful = any(trial.bad for trial in trials)
        fixed = "PYTHONHASHSEED" in first.record.platform.variables and not doubtful
        control = last if fixed else _repeat(first, home, stack, FIXED, _with_hash_seed(scene))
        trials += _vary(control, first, rules, kinds, doubtful, scene, home)
    return Trials(first=first.record.run_id, trials=tuple(trials))


def _vary(
    control: StoredRun,
    first: StoredRun,
    rules: VerifyRules,
    kinds: Collection[str],
    doubtful: bool,
    scene: Scene,
    home: Home,
) -> Iterator[Trial]:
    """doubtful: a plain repetition was not the same."""
    chance = ""
    if doubtful:
        with ExitStack() as stack:
            again = _repeat(first, home, stack, f"{FIXED}, once more", _with_hash_seed(scene))
            comparison = _compare(control, again, rules)
        yield Trial(varied=NOTHING, change=f"{FIXED}, twice", comparison=comparison)
        chance = "" if comparison.same else "the results differ each time, whatever is varied"
    pairs = [(kind, change) for kind in kinds for change in _list_changes(kind, scene)]
    for kind, change in pairs:
        if reason := change.impossible or chance:
            yield Trial(varied=kind, change=change.text, left_out=reason)
            continue
        with ExitStack() as stack:
            label = f"{kind}: {change.text}"
            second = _repeat(first, home, stack, label, _with_hash_seed(scene, change), {VARIES_TAG: kind})
            yield Trial(varied=kind, change=change.text, comparison=_compare(control, second, rules))


def _with_hash_seed(scene: Scene, change: Change | None = None) -> Change:
    change = change or Change()
    fixed = {"PYTHONHASHSEED": _hash_seed(scene)}
    return msgspec.structs.replace(change, variables={**fixed, **change.variables})


def _repeat(
    first: StoredRun,
    home: Home,
    stack: ExitStack,
    label: str,
    change: Change | None = None,
    tags: Mapping[str, str] = {},
) -> StoredRun:
    """Repeat the run. The tree that it ran in is removed when the stack ends."""
    change = change or Change()
    say(f"doing run {first.record.run_id[:8]} again, {label}")
    options = RepeatOptions(
        variables=change.variables, prefix=change.prefix, elsewhere=change.elsewhere, tags=tags
    )
    return find_stored_run(reproduce(first, home, options, stack).run_id, home, stack)


def _compare(first: StoredRun, second: StoredRun, rules: VerifyRules) -> Comparison:
    return compare(first.record, second.record, rules, (first.content, second.content))


def _list_changes(kind: str, scene: Scene) -> Iterator[Change]:
    in_container = manager_named(scene.record.plan.environment.manager).IN_CONTAINERS
    if in_container and kind not in IN_CONTAINERS:
        yield Change(impossible="the image says it")
        return
    yield from KINDS[kind](scene)


def _hash_seed(scene: Scene) -> str:
    recorded = scene.environ.get("PYTHONHASHSEED", "")
    return recorded if recorded.isdecimal() else "0"


def _other(values: tuple[str, ...], not_this: str) -> str:
    return next(value for value in values if value != not_this)


def _set(name: str, values: tuple[str, ...], before: str) -> Change:
    value = _other(values, before)
    return Change(text=f"{name}={value}", variables={name: value})


def _hash_seeds(scene: Scene) -> Iterator[Change]:
    yield _set("PYTHONHASHSEED", ("1", "2"), _hash_seed(scene))


def _time_zone(scene: Scene) -> Iterator[Change]:
    # The date is another one in the first (UTC+14), and the minutes are others in the second (UTC-3:30)
    zones = ("Pacific/Kiritimati", "America/St_Johns")
    known = [name for name in zones if Path("/usr/share/zoneinfo", name).exists()]
    yield _set("TZ", (*known, "UTC-13:45", "UTC+3:30"), scene.record.platform.timezone)


# Turkish comes first: besides the order of words and the decimal comma, it has other upper and lower cases
LOCALES = ("tr_TR.UTF-8", "de_DE.UTF-8", "fr_FR.UTF-8", "sv_SE.UTF-8", "en_US.UTF-8", "C.UTF-8", "C")


def _locale(scene: Scene) -> Iterator[Change]:
    now = scene.environ.get("LC_ALL") or scene.environ.get("LANG") or "C"
    try:
        installed = {_plain(name) for name in run_program(["locale", "-a"]).stdout.split()}
    except LaunchError:
        installed = set()
    available = [name for name in LOCALES if name == "C" or _plain(name) in installed]
    other = next((name for name in available if _plain(name) != _plain(now)), "")
    if other:
        variables = {"LC_ALL": other, "LANG": other, "LANGUAGE": None}
        yield Change(text=f"LC_ALL={other}", variables=variables)
    else:
        yield Change(impossible=f"no other locale than {now} is installed")


def _plain(name: str) -> str:
    # glibc lists C.UTF-8 as C.utf8
    return name.lower().replace("-", "")


def _clock(scene: Scene) -> Iterator[Change]:
    if (library := _find_libfaketime()) is None:
        yield Change(impossible="libfaketime is not installed (Debian: apt install faketime)")
    elif (faketime := month_later(scene.environ)) is None:
        yield Change(impossible="FAKETIME is set, and to something else than an offset")
    else:
        site = scene.scratch / "clock"
        site.mkdir()
        variables = _faketime_variables(library, faketime, site, scene.environ)
        yield Change(text="33.3 days later", variables=variables)


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
    # These would still point into the real home directory
    unset = dict.fromkeys(("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME"))
    yield Change(text="an empty home directory", variables={**unset, "HOME": str(home)})


def _user(scene: Scene) -> Iterator[Change]:
    name = _other(("somebody", "anybody"), os.environ.get("USER", ""))
    yield Change(text=f"USER={name}", variables=dict.fromkeys(("USER", "LOGNAME", "USERNAME"), name))


def _file_order(scene: Scene) -> Iterator[Change]:
    directory = scene.scratch / "site"
    directory.mkdir()
    (directory / "sitecustomize.py").write_text(FILE_ORDER_SITECUSTOMIZE)
    path = os.pathsep.join(filter(None, (str(directory), scene.environ.get("PYTHONPATH"))))
    yield Change(text="Python lists directories backwards", variables={"PYTHONPATH": path})


def _umask(scene: Scene) -> Iterator[Change]:
    mask = _other(("0077", "0022"), scene.record.platform.umask)
    yield Change(text=f"umask {mask}", prefix=("sh", "-c", f'umask {mask}; exec "$@"', "sh"))


def _network(scene: Scene) -> Iterator[Change]:
    prefix = (sys.executable, "-I", str(Path(__file__).with_name("without_network.py")))
    if os.environ.get("MLFLOW_TRACKING_URI", "").startswith("http"):
        yield Change(impossible="the run logs to a tracking server, which is on the network")
    elif not sys.platform.startswith("linux"):
        yield Change(impossible="it takes Linux")
    elif not (answer := run_program([*prefix, "true"])).ok:
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
# Changes of a process's variables; in a container, the image determines all else
IN_CONTAINERS = {"hash-seed", "time-zone", "locale", "threads", "user"}


def parse_kinds(text: str) -> tuple[str, ...]:
    """Parse the user's comma-separated names, or `all`. Raises UsageError."""
    names = tuple(dict.fromkeys(filter(None, (name.strip() for name in text.split(",")))))
    if "all" in names:
        return tuple(KINDS)
    for name in names:
        if name not in KINDS:
            raise UsageError(f"--vary: '{name}' cannot be varied", f"choose of {', '.join(KINDS)}, or all")
    return names


# Import the sitecustomize that the environment has itself, which ours has hidden
HAND_OVER = """
import os
import sys

here = os.path.dirname(os.path.abspath(__file__))
sys.path[:] = [path for path in sys.path if os.path.abspath(path) != here]
this = sys.modules.pop("sitecustomize")
try:
    import sitecustomize
except ImportError:
    sys.modules["sitecustomize"] = this
"""


FILE_ORDER_SITECUSTOMIZE = (
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


MONTH_S = 33.3 * 86400
UNITS_S = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "y": 365 * 86400}

# A real monotonic clock is needed: with a faked one, Event.wait(0.1) and its like wait for a month. Then,
# however, libfaketime 0.9.10 breaks the call that time.sleep makes since Python 3.11: "Invalid argument".
CLOCK_SITECUSTOMIZE = (
    '''
import sys

if sys.version_info >= (3, 11):
    import select
    import time

    def sleep(seconds):
        """Wait by a call that libfaketime leaves alone."""
        if seconds < 0:
            raise ValueError("sleep length must be non-negative")
        select.select((), (), (), seconds)

    sleep.__module__ = "time"
    time.sleep = sleep
'''
    + HAND_OVER
)


def _find_libfaketime() -> Path | None:
    for root in map(Path, ("/usr/lib", "/usr/lib64", "/usr/local/lib")):
        # Debian has it below the directory of the processor: /usr/lib/x86_64-linux-gnu/faketime
        for directory in (root / "faketime", *root.glob("*-linux-*/faketime")):
            for library in directory.glob("**/libfaketime.so.1"):
                return library
    return None


def month_later(environ: Mapping[str, str]) -> str | None:
    """Return the FAKETIME that is a month after that of `environ`; None if that is no offset."""
    offset = re.fullmatch(r"([+-]\d+(?:\.\d+)?)([smhdy]?)", environ.get("FAKETIME") or "+0")
    return f"{float(offset[1]) * UNITS_S[offset[2]] + MONTH_S:+.0f}" if offset else None


def _faketime_variables(
    library: Path, faketime: str, site: Path, environ: Mapping[str, str]
) -> dict[str, str]:
    """site: a directory of our own, which Python is to look for sitecustomize in."""
    (site / "sitecustomize.py").write_text(CLOCK_SITECUSTOMIZE)
    preloaded = environ.get("LD_PRELOAD", "")
    if "libfaketime" not in preloaded:  # loaded twice, it adds its offset twice
        preloaded = " ".join(filter(None, (str(library), preloaded)))
    return {
        "LD_PRELOAD": preloaded,
        "FAKETIME": faketime,
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "NO_FAKE_STAT": "1",
        "PYTHONPATH": os.pathsep.join(filter(None, (str(site), environ.get("PYTHONPATH")))),
    }
