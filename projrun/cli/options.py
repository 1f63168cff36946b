"""Decorators of click for the options of `projrun run`, of which other verbs have some too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from projrun.cli import run_options
from projrun.cli.run_options import Group, Option

F = TypeVar("F", bound=Callable[..., Any])


def decorator(option: Option) -> Callable[[F], F]:
    return click.option(*option.names, **option.settings)


def grouped(*groups: Group) -> Callable[[F], F]:
    """One decorator of many options, which show in the order given."""

    def decorate(function: F) -> F:
        for group in reversed(groups):
            for option in reversed(group.options):
                function = decorator(option)(function)
        return function

    return decorate


offline_option = decorator(run_options.OFFLINE)
strict_python_option = decorator(run_options.STRICT_PYTHON)
