"""Find the arguments that a Python program hands to argparse or click.

The program is parsed, never imported or run, so only constants are known.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import Any

import msgspec

_UNKNOWN: Any = object()  # the value of an expression that is no constant
_NAME = re.compile(r"[A-Za-z_][\w-]*")
# Names of paths that the program probably writes
_WRITTEN = re.compile(r"-*(out|save|dest|log|model|plot|report)", re.IGNORECASE)
_TYPES = {
    "int": "int",
    "float": "float",
    "Path": "path",
    "PurePath": "path",
    "FileType": "path",
    "INT": "int",
    "FLOAT": "float",
    "IntRange": "int",
    "FloatRange": "float",
}


class Argument(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    option: str = ""  # the option before the value, as `--alpha`; empty for a positional argument
    off_option: str = ""  # the option that turns a switch off, if it has one
    switch: bool = False  # True for an option without a value
    type: str = "string"  # one of string, int, float and path
    default: str | None = None
    choices: tuple[str, ...] = ()
    min: float | None = None
    max: float | None = None
    description: str = ""
    required: bool = False
    trouble: str = ""  # the reason why it cannot be a parameter, or ''


class Program(msgspec.Struct, frozen=True, kw_only=True):
    """The command line of a Python file."""

    is_main: bool  # True if it is made to be run, not only to be imported
    arguments: tuple[Argument, ...] = ()
    subcommands: bool = False  # True if the first argument chooses among commands with arguments of their own


def read_program(text: str) -> Program | None:
    """Read the program in a file; return None if it is not valid Python 3."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    return _Reader(tree).read()


class _Reader:
    def __init__(self, tree: ast.Module) -> None:
        self.tree = tree
        self.constants: dict[str, Any] = {}
        for node in tree.body:
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                self.constants[node.targets[0].id] = self.value(node.value)

    def read(self) -> Program:
        calls = [node for node in ast.walk(self.tree) if isinstance(node, ast.Call)]
        called = {_last_name(call.func) for call in calls}
        arguments: dict[str, Argument] = {}
        for argument in (*self._of_argparse(calls), *self._of_click()):
            arguments.setdefault(argument.name, argument)
        decorators = [each for node in ast.walk(self.tree) for each in getattr(node, "decorator_list", ())]
        subcommands = "add_subparsers" in called or "group" in map(_last_name, decorators)
        return Program(
            is_main=any(map(_is_guard, self.tree.body)) or "parse_args" in self._called_at_the_top(),
            arguments=() if subcommands else tuple(arguments.values()),
            subcommands=subcommands,
        )

    def _called_at_the_top(self) -> set[str]:
        definitions = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
        statements = [node for node in self.tree.body if not isinstance(node, definitions)]
        nodes = [node for statement in statements for node in ast.walk(statement)]
        return {_last_name(node.func) for node in nodes if isinstance(node, ast.Call)}

    def value(self, node: ast.expr | None) -> Any:
        """Return the value of a constant expression, else _UNKNOWN."""
        if isinstance(node, ast.Name) and node.id in self.constants:
            return self.constants[node.id]
        if isinstance(node, ast.Call) and len(node.args) == 1 and _last_name(node) in ("Path", "PurePath"):
            return self.value(node.args[0])
        try:
            return ast.literal_eval(node) if node is not None else None
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            return _UNKNOWN

    # argparse

    def _of_argparse(self, calls: list[ast.Call]) -> Iterator[Argument]:
        for call in sorted(calls, key=lambda call: (call.lineno, call.col_offset)):
            if _last_name(call.func) == "add_argument" and isinstance(call.func, ast.Attribute):
                yield from self._argparse_argument(call)

    def _argparse_argument(self, call: ast.Call) -> Iterator[Argument]:
        written = self._names(call)
        keywords = _keywords(call)
        action = self.value(keywords.get("action")) if "action" in keywords else "store"
        if not written or action in ("help", "version"):
            return
        option = _option(written)
        name = (option or written[0]).lstrip("-")
        facts: dict[str, Any] = {"name": name, "option": option, "description": self._help(keywords)}
        optional_action = action is _UNKNOWN and _last_name(keywords["action"]) == "BooleanOptionalAction"
        if action == "store_true" or optional_action:
            off = f"--no-{name}" if optional_action else ""
            yield self._switch(facts, off, self._default(keywords, default=False))
        elif action != "store":
            yield Argument(**facts, trouble=f"its action is {'its own' if action is _UNKNOWN else action}")
        else:
            nargs = self.value(keywords.get("nargs"))
            required = nargs != "?" if not option else self.value(keywords.get("required")) is True
            trouble = "it takes several values" if nargs not in (None, "?") else ""
            yield self._valued(facts, keywords, keywords.get("type"), required=required, trouble=trouble)

    # click

    def _of_click(self) -> Iterator[Argument]:
        for function in ast.walk(self.tree):
            if not isinstance(function, ast.FunctionDef):
                continue
            calls = [call for call in function.decorator_list if isinstance(call, ast.Call)]
            if "command" not in map(_last_name, function.decorator_list):
                continue
            for call in calls:
                if _last_name(call.func) == "option":
                    yield from self._click_option(call)
                elif _last_name(call.func) == "argument":
                    yield from self._click_argument(call)

    def _click_option(self, call: ast.Call) -> Iterator[Argument]:
        written, keywords = self._names(call), _keywords(call)
        on_off = next((name for name in written if "/" in name), "")
        option = on_off.partition("/")[0].strip() or _option(written)
        if not option:
            return
        facts = {"name": option.lstrip("-"), "option": option, "description": self._help(keywords)}
        if on_off or self.value(keywords.get("is_flag")) is True:
            off = on_off.partition("/")[2].strip()
            yield self._switch(facts, off, self._default(keywords, default=False))
            return
        several = any(self.value(keywords.get(key)) not in (None, False, 1) for key in ("multiple", "nargs"))
        trouble = "it takes several values" if several else ""
        if self.value(keywords.get("count")) is True:
            trouble = "it is counted"
        required = self.value(keywords.get("required")) is True
        yield self._valued(facts, keywords, keywords.get("type"), required=required, trouble=trouble)

    def _click_argument(self, call: ast.Call) -> Iterator[Argument]:
        written, keywords = self._names(call), _keywords(call)
        if not written:
            return
        several = self.value(keywords.get("nargs")) not in (None, 1)
        required = self.value(keywords.get("required")) is not False and "default" not in keywords
        trouble = "it takes several values" if several else ""
        facts = {"name": written[0].lower()}
        yield self._valued(facts, keywords, keywords.get("type"), required=required, trouble=trouble)

    # both

    def _names(self, call: ast.Call) -> list[str]:
        values = [self.value(argument) for argument in call.args]
        return [value for value in values if isinstance(value, str) and value]

    def _help(self, keywords: dict[str, ast.expr]) -> str:
        text = self.value(keywords.get("help"))
        line = " ".join(text.split()) if isinstance(text, str) else ""
        return line if len(line) <= 100 and "%" not in line and line.isprintable() else ""

    def _default(self, keywords: dict[str, ast.expr], *, default: Any = None) -> Any:
        return self.value(keywords["default"]) if "default" in keywords else default

    def _switch(self, facts: dict[str, Any], off: str, default: Any) -> Argument:
        known = isinstance(default, bool) and (not default or bool(off))
        trouble = "" if known else "it is a switch whose default is not plain"
        text = str(bool(default)).lower()
        return Argument(**facts, switch=True, off_option=off, default=text, trouble=trouble)

    def _valued(
        self,
        facts: dict[str, Any],
        keywords: dict[str, ast.expr],
        written_type: ast.expr | None,
        *,
        required: bool,
        trouble: str,
    ) -> Argument:
        default = self._default(keywords)
        choices = self.value(keywords.get("choices"))
        limits: dict[str, Any] = {}
        if isinstance(written_type, ast.Call):
            if _last_name(written_type.func) == "Choice" and written_type.args:
                choices = self.value(written_type.args[0])
            limits = self._limits(written_type)
        kind = _TYPES.get(_last_name(written_type), "")
        if not kind and written_type is None:
            kind = {int: "int", float: "float"}.get(type(default), "")
        if kind == "path" and (default is not None or not required or _WRITTEN.match(facts["name"])):
            # As `path` it would be looked for in the user's directory, and refused if it does not exist
            kind = ""
        if not _NAME.fullmatch(facts["name"]):
            trouble = "its name cannot stand in braces"
        elif default is _UNKNOWN:
            trouble = trouble or "its default is worked out when it runs"
        elif not trouble and default is None and not required:
            # mlflow would require it; without a parameter, both append it if it is given
            trouble = "it may be left out"
        elif not (default is None or isinstance(default, (str, int, float))):
            trouble = "its default is not plain"
        return Argument(
            **facts,
            **limits,
            type=kind or "string",
            default=None if default is None or default is _UNKNOWN else str(default),
            choices=tuple(map(str, choices)) if isinstance(choices, (list, tuple)) else (),
            required=required,
            trouble=trouble,
        )

    def _limits(self, call: ast.Call) -> dict[str, float]:
        """Return the limits of `click.IntRange(1, max=9)`, without an open one."""
        if _last_name(call.func) not in ("IntRange", "FloatRange"):
            return {}
        keywords = _keywords(call)
        given = {**dict(zip(("min", "max"), call.args)), **keywords}
        limits = {key: self.value(given.get(key)) for key in ("min", "max") if f"{key}_open" not in keywords}
        return {key: limit for key, limit in limits.items() if isinstance(limit, (int, float))}


def _is_guard(node: ast.stmt) -> bool:
    """Return True for `if __name__ == "__main__":`."""
    if not isinstance(node, ast.If) or not isinstance(node.test, ast.Compare):
        return False
    sides = [node.test.left, *node.test.comparators]
    names = {side.id for side in sides if isinstance(side, ast.Name)}
    return "__name__" in names and "__main__" in [getattr(side, "value", None) for side in sides]


def _option(written: list[str]) -> str:
    """Return the option to use of `-a`, `--alpha`: the first long one; '' for a positional argument."""
    options = [name for name in written if name.startswith("-")]
    return next((name for name in options if name.startswith("--")), options[0] if options else "")


def _last_name(node: ast.expr | None) -> str:
    """Return `c` of `a.b.c` and of `a.b.c(…)`."""
    if isinstance(node, ast.Call):
        node = node.func
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _keywords(call: ast.Call) -> dict[str, ast.expr]:
    return {keyword.arg: keyword.value for keyword in call.keywords if keyword.arg}
