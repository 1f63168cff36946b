"""Importing what every run needs without what that takes along and a plain run has no use for."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from types import ModuleType
from typing import Any, cast


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

        from projrun import starting  # noqa: F401
    finally:
        for name, module in ours.items():
            _remove(name, module)


def _quote_from_bytes(text: bytes) -> str:
    from urllib.parse import quote_from_bytes

    return quote_from_bytes(text)


def _remove(name: str, module: ModuleType) -> None:
    if name in sys.modules and sys.modules[name] is module:
        del sys.modules[name]
