"""projrun completion, and the entry points and parameters that it offers for projects on this machine.

The scripts set the variable `_PROJRUN_COMPLETE`, as click's protocol wants it. Then `run_with_click` imports
this file, so that the class below replaces click's own for bash.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

import click
from click.shell_completion import (
    BashComplete,
    CompletionItem,
    add_completion_class,
    get_completion_class,
    split_arg_string,
)

from projrun.cli.verbs import Verb
from projrun.console import one_line, print_data
from projrun.errors import ProjrunError

if TYPE_CHECKING:
    from projrun.project.mlproject import Parameter, Project

VARIABLE = "_PROJRUN_COMPLETE"

# Words that no shell interprets: a stranger's project must not put `$( … )` on the user's command line
_HARMLESS = re.compile(r"\w[\w.,:+/@-]*")

_BASH = """\
%(complete_func)s() {
    local type value
    COMPREPLY=()
    while IFS=',' read -r type value; do
        case $type in
            dir) compopt -o dirnames ;;
            file) compopt -o default ;;
            plain)
                [[ $value == *= ]] && compopt -o nospace
                COMPREPLY+=("$value") ;;
        esac
    done < <(COMP_LINE="${COMP_LINE:0:COMP_POINT}" COMP_PROGRAM="$1" COMP_WORDBREAKS="$COMP_WORDBREAKS" \\
        %(complete_var)s=bash_complete "$1" 2>/dev/null)
}

complete -o nosort -F %(complete_func)s %(prog_name)s
"""


@click.command(cls=Verb)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print a script that completes projrun's commands, options, entry points and parameters in SHELL.

    \b
    bash:  echo 'eval "$(projrun completion bash)"' >> ~/.bashrc
    zsh:   echo 'eval "$(projrun completion zsh)"' >> ~/.zshrc
    fish:  projrun completion fish > ~/.config/fish/completions/projrun.fish
    """
    script_class = get_completion_class(shell)
    assert script_class is not None
    cli = click.get_current_context().find_root().command
    print_data(script_class(cli, {}, "projrun", VARIABLE).source().strip())


@add_completion_class
class _Bash(BashComplete):
    source_template = _BASH
    typed = ""

    def get_completion_args(self) -> tuple[list[str], str]:
        # click reads COMP_WORDS, in which bash has split `alpha=1` into three words
        line = os.environ["COMP_LINE"]
        words = split_arg_string(line)
        program = os.environ.get("COMP_PROGRAM", "")
        words = words[words.index(program) + 1 if program in words else 1 :]
        if not words or line[-1:].isspace():
            return words, ""
        self.typed = words[-1]
        return words[:-1], words[-1]

    def format_completion(self, item: CompletionItem) -> str:
        # bash keeps the word up to its last `=` or `:`, and replaces the rest
        breaks = [char for char in os.environ.get("COMP_WORDBREAKS", "=:") if char in "=:"]
        start = max((self.typed.rfind(char) + 1 for char in breaks), default=0)
        return f"{item.type},{item.value[start:]}"


def complete_entry_point(
    context: click.Context, _option: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Offer the declared entry points, or the scripts of a project that declares none."""
    project = _project(context)
    if project is None:
        return []
    names = list(project.entry_points) or [
        entry.name
        for entry in sorted(project.directory.iterdir())
        if entry.suffix in (".py", ".sh", ".R") and entry.is_file()
    ]
    return _matching(((name, "") for name in names), incomplete)


def complete_parameter(
    context: click.Context, _option: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Offer `NAME=` for parameters that are not given yet, and after it the possible values."""
    project = _project(context)
    if project is None:
        return []
    try:
        declared = project.entry_point(context.params.get("entry_point") or "main").parameters
    except ProjrunError:
        return []
    name, equals, _ = incomplete.partition("=")
    if equals:
        parameter = declared.get(name)
        values = _values(parameter) if parameter else ()
        return _matching(((f"{name}={value}", "") for value in values), incomplete)
    # Without a blank after `=`, so that the value can follow (the script sets nospace)
    given = {pair.partition("=")[0] for pair in context.params.get("param_list") or ()}
    offered = (
        (f"{parameter.name}=", one_line(f"{parameter.type} {parameter.description}", 80))
        for parameter in declared.values()
        if parameter.name not in given
    )
    return _matching(offered, incomplete)


def _values(parameter: Parameter) -> tuple[str, ...]:
    from projrun.project.parameters import kind_of

    return parameter.choices or (("true", "false") if kind_of(parameter) == "bool" else ())


def _matching(offered: Iterable[tuple[str, str]], incomplete: str) -> list[CompletionItem]:
    """Return the offered words, each with a description, that begin with the incomplete one."""
    return [
        CompletionItem(word, help=about or None)
        for word, about in offered
        if word.startswith(incomplete) and _HARMLESS.fullmatch(word.replace("=", "", 1))
    ]


def _project(context: click.Context) -> Project | None:
    """Return the project at the URI typed so far, or here; None for a remote one: no network is used."""
    from pathlib import Path

    from projrun.project import read_project
    from projrun.sources.location import directory_within, split_off

    # While an option lacks its value, click leaves the arguments before it unparsed
    uri = context.params.get("uri") or next(iter(context.args), ".")
    root, inside = split_off(os.path.expanduser(uri))
    if not os.path.isdir(root):
        return None
    try:
        return read_project(directory_within(Path(root), inside, root))
    except ProjrunError:
        return None
