"""projrun env"""

from __future__ import annotations

import time
from typing import Any

import click
from msgspec import to_builtins

from projrun.cli.verbs import (
    VerbGroup,
    age_s,
    json_option,
    project_argument,
    size_in_gb,
    strict_python_option,
)
from projrun.console import json_text, print_data, warn
from projrun.console.tables import format_table
from projrun.disk import home_from
from projrun.environments import shelf
from projrun.environments.shelf import Shelved
from projrun.errors import UsageError
from projrun.request import Request


@click.group(cls=VerbGroup)
def env() -> None:
    """List, build, compare and remove environments.

    An environment may be named by the beginning of its key. A run that uses one keeps it from removal.
    """


@env.command("list")
@json_option("Print a JSON array.")
def list_(as_json: bool) -> None:
    """List environments, the one used last first.

    FREES is the space that removing it frees: files shared with uv's cache and the base image stay.
    """
    facts = [_facts(environment) for environment in shelf.list_environments(home_from())]
    if as_json:
        print_data(json_text(facts))
        return
    header = ("KEY", "MANAGER", "PYTHON", "PACKAGES", "SIZE", "FREES", "LAST USE", "BUILT FROM")
    print_data(format_table(header, [_row(environment) for environment in facts], uncut=header[:-1]))


@env.command()
@click.argument("key")
@click.argument("other", default="")
@click.option(
    "--verify",
    is_flag=True,
    help="Compare every file of its packages with its digest; exit code 1 if one was altered.",
)
@json_option("Print a JSON object.")
def show(key: str, other: str, verify: bool, as_json: bool) -> int:
    """Show one environment, or how two differ."""
    from projrun.environments.contents import altered

    home = home_from()
    environment = shelf.find(home, key)
    if other:
        difference = _difference(_details(environment), _details(shelf.find(home, other)))
        print_data(json_text(difference) if as_json else _difference_text(difference))
        return 0
    facts = _details(environment)
    if verify:
        facts["altered"] = altered(environment.path)
    print_data(json_text(facts) if as_json else _text(facts))
    return 1 if facts.get("altered") else 0


def _project_options(function: Any) -> Any:
    for option in (
        click.option("--env-manager", default="", metavar="MANAGER", help="As for `projrun run`."),
        click.option("-v", "--version", default="", metavar="VERSION", help="Branch, tag or commit of it."),
        click.option("-e", "--entry-point", default="main", show_default=True, metavar="NAME"),
        strict_python_option,
        project_argument,
    ):
        function = option(function)
    return function


@env.command()
@_project_options
def build(**options: Any) -> None:
    """Build the environment of a project without running the project, and print its directory."""
    _print_path(options)


@env.command()
@_project_options
def path(**options: Any) -> None:
    """Print the directory of a project's environment; build it first if it is missing."""
    _print_path(options)


@env.command()
@click.argument("keys", nargs=-1, required=True, metavar="KEY...")
def remove(keys: tuple[str, ...]) -> int:
    """Remove environments and their images. One that is in use stays, and the exit code is then 1."""
    home = home_from()
    # All keys are looked up first: after a mistyped one nothing is removed
    removed = [_remove(environment) for environment in [shelf.find(home, key) for key in keys]]
    return 0 if all(removed) else 1


@env.command()
@click.option(
    "--older-than", callback=age_s, metavar="AGE", help="Remove those not used for this long: 12h, 30d, 4w."
)
@click.option(
    "--max-size",
    callback=size_in_gb,
    metavar="SIZE",
    help="Remove the least recently used until the rest fits: 500MB, 5GB; a bare number means GB.",
)
@click.option("--unused", is_flag=True, help="Remove all that no run is using.")
@click.option("--dry-run", is_flag=True, help="Show what would be removed, and remove nothing.")
def prune(older_than: float | None, max_size: int | None, unused: bool, dry_run: bool) -> None:
    """Remove environments that are not needed, never one in use. Remains of killed builds always go."""
    environments = shelf.list_environments(home_from())
    for environment in _select_superfluous(environments, older_than, max_size, unused):
        if environment.in_use:
            _say_in_use(environment)
        elif dry_run:
            print_data(f"would remove {environment.manager}/{environment.key}")
        else:
            _remove(environment)


def _select_superfluous(
    environments: list[Shelved], older_than: float | None, max_size: int | None, unused: bool
) -> list[Shelved]:
    before = time.time() - older_than if older_than is not None else 0.0
    total_size, superfluous = 0, []
    for environment in environments:  # the one used last comes first
        size_on_disk = shelf.size(environment).own if max_size is not None else 0
        too_much = max_size is not None and total_size + size_on_disk > max_size
        if not environment.whole or environment.last_use < before or too_much or unused:
            superfluous.append(environment)
        else:
            total_size += size_on_disk
    return superfluous


def _remove(environment: Shelved) -> bool:
    """Remove an environment; return False if it is in use."""
    if not shelf.remove(environment, home_from()):
        _say_in_use(environment)
        return False
    print_data(f"removed {environment.manager}/{environment.key}")
    return True


def _say_in_use(environment: Shelved) -> None:
    warn(f"{environment.manager}/{environment.key} is in use and stays")


def _print_path(options: dict[str, Any]) -> None:
    from projrun.runner.environment_use import prepared

    home = home_from()
    with prepared(Request(**options), home) as (provided, _):
        environment = provided.environment
        if not environment.key:
            raise UsageError(
                f"the environment manager '{environment.manager}' makes no environment",
                "name another with --env-manager",
            )
        print_data(str(home.environments / environment.manager / environment.key))


def _facts(environment: Shelved) -> dict[str, Any]:
    size_on_disk, ready = shelf.size(environment), environment.ready
    return {
        "key": environment.key,
        "manager": environment.manager,
        "path": str(environment.path) if environment.path.exists() else "",
        "complete": environment.whole,
        "image": environment.image.id if environment.image else "",
        "in_use": environment.in_use,
        "last_use": round(environment.last_use * 1000),
        "size": size_on_disk.total,
        "frees": size_on_disk.own,
        "python": ready.environment.python if ready else "",
        "packages": len(ready.environment.packages) if ready else 0,
        "project": ready.origin.project if ready else "",
        "descriptor": ready.origin.descriptor if ready else "",
        "lock_sha256": ready.environment.lock_sha256 if ready else "",
    }


def _details(environment: Shelved) -> dict[str, Any]:
    ready = environment.ready
    interpreter = ready.environment.interpreter if ready else ""
    packages = to_builtins(ready.environment.packages) if ready else []
    return {**_facts(environment), "interpreter": interpreter, "packages": packages}


def _row(facts: dict[str, Any]) -> tuple[str, ...]:
    if not facts["complete"]:
        return (facts["key"], facts["manager"], "", "", _mb(facts["size"]), "", "", "a build that was killed")
    return (
        *(facts["key"], facts["manager"], facts["python"], str(facts["packages"])),
        *(_mb(facts["size"]), _mb(facts["frees"]), _last_use(facts), _origin(facts)),
    )


def _origin(facts: dict[str, Any]) -> str:
    if not facts["path"]:
        return "an image whose directory is gone"
    return "/".join(filter(None, (facts["project"], facts["descriptor"])))


def _text(facts: dict[str, Any]) -> str:
    rows = {
        "key": facts["key"],
        "manager": facts["manager"],
        "path": facts["path"],
        "state": "ready" if facts["complete"] else "a build that was killed",
        "last use": _last_use(facts),
        "image": facts["image"] or "none",
        "size": f"{_mb(facts['size'])}, of which removing it frees {_mb(facts['frees'])}",
        "python": f"{facts['python']} ({facts['interpreter']})",
        "built from": _origin(facts),
        "lock": facts["lock_sha256"] or "none: it is empty",
    }
    lines = [f"{label.ljust(10)}  {value}" for label, value in rows.items()]
    lines += [f"package     {_describe(package)}" for package in facts["packages"]]
    lines += [f"altered     {name}" for name in facts.get("altered", [])]
    return "\n".join(lines)


def _describe(package: dict[str, str]) -> str:
    source = f" from {package['source']}" if package.get("source") else ""
    return f"{package['name']} {package['version']}{source}"


def _difference(environment: dict[str, Any], other: dict[str, Any]) -> dict[str, list[str]]:
    """Return the facts and packages that differ, each with its value in both environments."""
    facts = ("manager", "python", "interpreter", "lock_sha256")
    sides = [{name: side[name] for name in facts} for side in (environment, other)]
    for side, details in zip(sides, (environment, other)):
        side.update((package["name"], _describe(package)) for package in details["packages"])
    names = [*facts, *sorted({*sides[0], *sides[1]} - set(facts))]
    pairs = {name: [str(side.get(name, "")) for side in sides] for name in names}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def _difference_text(difference: dict[str, list[str]]) -> str:
    if not difference:
        return "they do not differ"
    return format_table(("WHAT", "FIRST", "SECOND"), [(name, *map(str, p)) for name, p in difference.items()])


def _mb(size: int) -> str:
    return f"{size / 1e6:.1f} MB"


def _last_use(facts: dict[str, Any]) -> str:
    moment = time.localtime(facts["last_use"] / 1000)
    return "now" if facts["in_use"] else time.strftime("%Y-%m-%d %H:%M", moment)
