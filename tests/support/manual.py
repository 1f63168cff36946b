"""docs/cli.md, made from the commands themselves, and docs/validate.md, from the rules and their examples.

`python -m tests.support.manual` writes both.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import click

from projrun.cli.verbs import VERBS, cli
from projrun.project.validate import check_project
from projrun.project.validate.findings import RULES
from tests.project.rule_examples import EXAMPLES, WITHOUT_EXAMPLE, complete

FILE = Path(__file__).parents[2] / "docs" / "cli.md"
RULES_FILE = FILE.with_name("validate.md")
INTRODUCTION = """# The command line

Made from the commands' own help by `python -m tests.support.manual`; do not edit.

stdout has data (a run's own output, tables, JSON), stderr has messages. Exit codes: the command's own;
2 usage; 3 a bug in projrun; 125 the project could not be run; 130 or 143 interrupted.

On a terminal projrun uses colours and progress bars, and fits tables to the width; in a pipe it prints plain,
complete text. `NO_COLOR=1` turns colours off everywhere, `FORCE_COLOR=1` on. `--quiet` and `--verbose` go
before the verb, or after `run`.

A run ends as its command does, even if nobody can read its output: stdout or stderr may be closed or
full, and the log has all of it. For other verbs, an answer that cannot be written is an error (125).
"""


def manual() -> str:
    root = click.Context(cli, info_name="projrun", terminal_width=100, **cli.context_settings)
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


RULES_INTRODUCTION = """# What `projrun validate` finds

Made from the rules and their examples by `python -m tests.support.manual`; do not edit.

`projrun validate [URI]` reads the MLproject file and the environment's file of a directory or a Git URL. It
prints every finding with its place, the problem, the reason and the fix. Errors make the exit code 1;
warnings and notes leave it 0; a URI that cannot be fetched is 125. The ids of the rules are stable.

| `--format` | for |
| --- | --- |
| `text` | people; the first line of each finding is `file:line:column: severity: message [rule]` |
| `json` | programs: an array of objects: `rule`, `severity`, `message`, `fix`, `explanation`, `file`, … |
| `sarif` | code scanning (SARIF 2.1.0) |
| `github` | annotations in GitHub Actions |

In GitHub Actions, `projrun validate --format github` marks the lines in a pull request. To upload the output
of `--format sarif`, write it to a file and give that to `github/codeql-action/upload-sarif`.
"""


def rules() -> str:
    return "\n".join([RULES_INTRODUCTION, *(_rule(rule) for rule in RULES)])


def _rule(rule: str) -> str:
    severity, explanation = RULES[rule].severity, RULES[rule].explanation
    head = f"## `{rule}`\n\n{severity}: {explanation}.\n"
    if rule in WITHOUT_EXAMPLE:
        return f"{head}\n{WITHOUT_EXAMPLE[rule]}\n"
    files = "\n".join(f"# {name}\n{text}" for name, text in EXAMPLES[rule][0].items() if text)
    example = f"```yaml\n{files}```\n\n" if files else ""
    return f"{head}\n{example}```text\n{_found(rule)}\n```\n"


def _found(rule: str) -> str:
    with tempfile.TemporaryDirectory() as directory:
        for name, text in complete(rule).items():
            Path(directory, name).write_text(text)
        (found,) = check_project(Path(directory))
    return f"{found.file}:{found.line}:{found.column}: {found.severity}: {found.message}\nfix: {found.fix}"


if __name__ == "__main__":
    FILE.write_text(manual())
    RULES_FILE.write_text(rules())
