"""The command line, and the one door that every error leaves by."""

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


def main() -> None:
    gc.set_threshold(50_000)  # importing makes many objects that live on: looking through them is wasted
    code = guarded(sys.argv[1:])
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)  # all is closed by now; taking the interpreter apart would cost a tenth of a no-op run


def guarded(arguments: list[str]) -> int:
    """Run the command line; the exit code. No error of the user's shows a traceback."""
    from projrun.processes import raise_on_termination, signal_number

    raise_on_termination()
    try:
        return _performed(arguments)
    except ProjrunError as error:
        print_error(str(error))
        return error.exit_code
    except KeyboardInterrupt as interrupt:
        if is_terminal(sys.stderr):
            sys.stderr.write("\n")  # what the terminal shows of the key has a line of its own
        say("interrupted")
        return 128 + signal_number(interrupt)
    except BrokenPipeError:
        return 141
    except Exception as error:
        if isinstance(error, OSError) and (told := _of_our_places(error)):
            print_error(told)
            return ProjrunError.exit_code
        print_error(
            f"a bug in projrun: {type(error).__name__}: {error}; please report it with {_bug_report()}"
        )
        return 3


def _performed(arguments: list[str]) -> int:
    """The exit code. A plain `run` does without click, which would be a sixth of what a no-op run costs."""
    from projrun.cli.run_options import options_of

    options = options_of(arguments, os.environ)
    if options is not None:
        import_lightly()
        from projrun.cli.run_request import run

        return run(**options)
    from projrun.cli.verbs import by_click

    return by_click(arguments)


def _of_our_places(error: OSError) -> str:
    """What to say of a directory of ours that cannot be written to; empty when that is not the trouble."""
    from pathlib import Path

    from projrun.disk import home_from

    home = home_from()
    path = Path(str(error.filename or ""))
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        hint = "make room there"
    elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        hint = "make it writable"
    else:
        return ""
    for place, variable in ((home.cache, "PROJRUN_CACHE_DIR"), (home.data, "PROJRUN_HOME")):
        if path.is_relative_to(place):
            return f"cannot write {path}: {error.strerror}; {hint}, or name another place: {variable}"
    return ""


def _bug_report() -> Path:
    """A file that can be pasted into a bug report, and its path."""
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


class _Late(ModuleType):
    """Stands for a module, which is imported when something of it is asked for."""

    def __init__(self, name: str, **known: Any) -> None:
        super().__init__(name)
        vars(self).update(known)

    def __getattr__(self, name: str) -> Any:
        _remove(self.__name__, self)  # or it would find itself
        return getattr(import_module(self.__name__), name)


def import_lightly() -> None:
    """msgspec, pathlib and what starts processes, in two thirds of the time.

    For programs, not for libraries: other threads would see what stands in. typing_extensions, which msgspec
    takes where it is installed, gives it nothing that our nouns use, and imports `inspect`; `textwrap` is for
    its schemas, `msgspec.inspect` for nobody here. `uuid` asks `platform` one question, whether this is AIX.
    `urllib.parse` and `ipaddress` are for paths as URLs, `locale` for processes whose output is text.
    """
    late = [_Late(name) for name in ("ipaddress", "locale", "msgspec.inspect", "textwrap")]
    late.append(_Late("platform", system=lambda: os.uname().sysname))
    late.append(_Late("urllib.parse", quote_from_bytes=_quote_from_bytes))
    stand_ins = {module.__name__: cast(ModuleType, module) for module in late}
    stand_ins["typing_extensions"] = cast(ModuleType, None)  # the import system's sign for: not there
    ours = {name: module for name, module in stand_ins.items() if name not in sys.modules}
    sys.modules.update(ours)
    try:
        import pathlib  # noqa: F401

        import msgspec  # noqa: F401

        from projrun import processes  # noqa: F401
    finally:
        for name, module in ours.items():
            _remove(name, module)


def _quote_from_bytes(text: bytes) -> str:
    from urllib.parse import quote_from_bytes

    return quote_from_bytes(text)


def _remove(name: str, module: ModuleType) -> None:
    if name in sys.modules and sys.modules[name] is module:
        del sys.modules[name]
