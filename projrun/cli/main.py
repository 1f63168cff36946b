"""The entry point of the command line; every error is reported here."""

from __future__ import annotations

import errno
import gc
import os
import sys
from contextlib import suppress
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

from projrun.console import is_terminal, print_error, say
from projrun.errors import ProjrunError

if TYPE_CHECKING:
    from pathlib import Path


_replaced: set[int] = set()  # descriptors of standard streams that were closed when projrun started


def main() -> None:
    gc.set_threshold(50_000)  # imported objects live until the end: collecting them often only costs time
    _replace_closed_streams()
    code = guarded(sys.argv[1:])
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # `guarded` has told of what could not be written
            stream.flush()
    os._exit(code)  # all files are closed; finalizing the interpreter would take a tenth of a no-op run


def _replace_closed_streams() -> None:
    """Occupy the descriptors of closed standard streams, which the next opened file would get otherwise.

    A program that writes to its stdout would then write into, say, the database. The null device is opened
    for the wrong direction, so that using the stream still fails as it does for a closed one.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            null = os.open(os.devnull, os.O_RDONLY if number else os.O_WRONLY)
            os.set_inheritable(null, True)
            setattr(sys, name, os.fdopen(null, "w" if number else "r", closefd=False))
            _replaced.add(null)


def guarded(arguments: list[str]) -> int:
    """Run the command line and return its exit code. Errors that the user can mend show no traceback."""
    from projrun.processes import raise_on_termination, signal_number

    raise_on_termination()
    try:
        return _dispatch(arguments)
    except ProjrunError as error:
        print_error(str(error))
        return error.exit_code
    except KeyboardInterrupt as interrupt:
        if is_terminal(sys.stderr):
            sys.stderr.write("\n")  # the terminal has shown ^C: begin a new line after it
        say("interrupted")
        return 128 + signal_number(interrupt)
    except BrokenPipeError:
        return 141
    except Exception as error:
        if isinstance(error, OSError) and (message := _describe_unwritable(error)):
            print_error(message)
            return ProjrunError.exit_code
        report = _write_bug_report()
        print_error(f"a bug in projrun: {type(error).__name__}: {error}; please report it with {report}")
        return 3


def _dispatch(arguments: list[str]) -> int:
    """Run a plain `projrun run` without click, which would take a sixth of a no-op run; all else with it."""
    from projrun.cli.run_options import parse_run

    options = parse_run(arguments, os.environ)
    if options is not None:
        import_lightly()
        from projrun.cli.run_request import run

        return run(**options)
    from projrun.cli.verbs import run_with_click

    return run_with_click(arguments)


def _describe_unwritable(error: OSError) -> str:
    """Describe a full disk, a closed stdout, or a directory of projrun that cannot be written.

    Returns an empty text for other errors.
    """
    from pathlib import Path

    from projrun.disk import home_from

    home = home_from()
    path = Path(str(error.filename or ""))
    if error.errno == errno.EBADF and sys.stdout.fileno() in _replaced:
        return f"cannot write to stdout: {error.strerror}; do not close it"
    is_full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    is_refused = error.errno in (errno.EACCES, errno.EPERM, errno.EROFS)
    hint = "make room there" if is_full else "make it writable"
    for directory, variable in ((home.cache, "PROJRUN_CACHE_DIR"), (home.data, "PROJRUN_HOME")):
        if (is_full or is_refused) and path.is_relative_to(directory):
            return f"cannot write {path}: {error.strerror}; {hint}, or set {variable} to another directory"
    if is_full:
        # An error of writing to a file that is already open does not name it
        disk = path if error.filename else f"the disk of stdout, {home.cache} or {home.data}"
        return f"cannot write: {error.strerror}; make room on {disk}"
    return ""


def _write_bug_report() -> Path:
    """Write a file that can be pasted into a bug report, and return its path."""
    import platform
    import tempfile
    import traceback
    from pathlib import Path

    from projrun import version

    _, name = tempfile.mkstemp(prefix="projrun-bug-", suffix=".md")
    report = Path(name)
    report.write_text(
        f"projrun {version.__version__}, Python {platform.python_version()}, {platform.platform()}\n\n"
        f"    projrun {' '.join(sys.argv[1:2])}\n\n```\n{traceback.format_exc()}```\n"
    )
    return report


class _LazyModule(ModuleType):
    """A stand-in for a module, which is imported when one of its attributes is asked for."""

    def __init__(self, name: str, **attributes: Any) -> None:
        super().__init__(name)
        vars(self).update(attributes)

    def __getattr__(self, name: str) -> Any:
        _remove(self.__name__, self)  # otherwise the import below would return this stand-in
        return getattr(import_module(self.__name__), name)


def import_lightly() -> None:
    """Import msgspec, pathlib and projrun.processes without the modules that they need only in rare cases.

    This takes two thirds of the usual time. It is for programs, not for libraries: other threads would see
    the stand-ins. msgspec imports typing_extensions (and with it `inspect`) where it is installed, but our
    types do not need it; it uses `textwrap` for schemas only. `uuid` asks `platform` whether this is AIX.
    pathlib needs `urllib.parse` and `ipaddress` for paths as URLs, subprocess `locale` for output as text.
    """
    lazy = [_LazyModule(name) for name in ("ipaddress", "locale", "msgspec.inspect", "textwrap")]
    lazy.append(_LazyModule("platform", system=lambda: os.uname().sysname))
    lazy.append(_LazyModule("urllib.parse", quote_from_bytes=_quote_from_bytes))
    stand_ins = {module.__name__: cast(ModuleType, module) for module in lazy}
    stand_ins["typing_extensions"] = cast(ModuleType, None)  # None makes the import system raise ImportError
    added = {name: module for name, module in stand_ins.items() if name not in sys.modules}
    sys.modules.update(added)
    try:
        import pathlib  # noqa: F401

        import msgspec  # noqa: F401

        from projrun import processes  # noqa: F401
    finally:
        for name, module in added.items():
            _remove(name, module)


def _quote_from_bytes(text: bytes) -> str:
    from urllib.parse import quote_from_bytes

    return quote_from_bytes(text)


def _remove(name: str, module: ModuleType) -> None:
    if name in sys.modules and sys.modules[name] is module:
        del sys.modules[name]
