"""docs/cli.md, made from the commands themselves: `python -m tests.manual` writes it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from projrun.cli.main import VERBS, cli

FILE = Path(__file__).parent.parent / "docs" / "cli.md"
INTRODUCTION = """# The command line

Made from the commands' own help by `python -m tests.manual`; do not edit.

stdout is data (a run's own output, tables, JSON), stderr is talk. Exit codes: the command's own; 2 usage;
3 a bug in projrun; 125 the project could not be run; 130 or 143 interrupted.
"""


def manual() -> str:
    root = click.Context(cli, info_name="projrun", terminal_width=100)
    parts = [INTRODUCTION]
    for verb in VERBS:
        command = cli.get_command(root, verb)
        assert command is not None
        parts.append(f"## `projrun {verb}`\n")
        parts.extend(_sections(command, click.Context(command, root, verb, terminal_width=100)))
    return "\n".join(parts)


def _sections(command: click.Command, context: click.Context) -> Iterator[str]:
    yield f"```text\n{command.get_help(context)}\n```\n"
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            yield f"### `{context.command_path} {name}`\n"
            yield from _sections(inner, click.Context(inner, context, name, terminal_width=100))


if __name__ == "__main__":
    FILE.write_text(manual())
