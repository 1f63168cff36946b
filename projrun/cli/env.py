"""projrun env"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from projrun.cli.options import age_s, json_option, project_argument, size_in_gb, strict_python_option
from projrun.cli.verbs import VerbGroup

if TYPE_CHECKING:
    from projrun.environments.shelf import Shelved


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
    from projrun.console import json_text, print_data
    from projrun.console.tables import format_table
    from projrun.disk import home_from
    from projrun.environments.shelf import list_environments

    facts = [_facts(environment) for environment in list_environments(home_from())]
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
    from projrun.console import json_text, print_data
    from projrun.disk import home_from
    from projrun.environments.contents import altered
    from projrun.environments.shelf import find

    home = home_from()
    environment = find(home, key)
    if other:
        difference = _difference(_details(environment), _details(find(home, other)))
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
    from projrun.disk import home_from
    from projrun.environments.shelf import find

    home = home_from()
    removed = [_remove(environment) for environment in [find(home, key) for key in keys]]
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
    from projrun.console import print_data
    from projrun.disk import home_from
    from projrun.environments.shelf import list_environments

    environments = list_environments(home_from())
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
    import time

    from projrun.environments.shelf import size

    before = time.time() - older_than if older_than is not None else 0.0
    kept, superfluous = 0, []
    for environment in environments:
        size_on_disk = size(environment).own if max_size is not None else 0
        too_much = max_size is not None and kept + size_on_disk > max_size
        if not environment.whole or environment.last_use < before or too_much or unused:
            superfluous.append(environment)
        else:
            kept += size_on_disk
    return superfluous


def _remove(environment: Shelved) -> bool:
    from projrun.console import print_data
    from projrun.disk import home_from
    from projrun.environments.shelf import remove as remove_environment

    if not remove_environment(environment, home_from()):
        _say_in_use(environment)
        return False
    print_data(f"removed {environment.manager}/{environment.key}")
    return True


def _say_in_use(environment: Shelved) -> None:
    from projrun.console import warn

    warn(f"{environment.manager}/{environment.key} is in use and stays")


def _print_path(options: dict[str, Any]) -> None:
    from projrun.console import print_data
    from projrun.disk import home_from
    from projrun.errors import UsageError
    from projrun.request import Request
    from projrun.runner.environment_use import prepared

    home = home_from()
    with prepared(Request(**options), home) as (provided, _):
        made = provided.environment
        if not made.key:
            raise UsageError(
                f"the environment manager '{made.manager}' makes no environment",
                "name another with --env-manager",
            )
        print_data(str(home.environments / made.manager / made.key))


def _facts(environment: Shelved) -> dict[str, Any]:
    from projrun.environments.shelf import size

    size_on_disk, ready = size(environment), environment.ready
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
    from msgspec import to_builtins

    ready = environment.ready
    interpreter = ready.environment.interpreter if ready else ""
    packages = to_builtins(ready.environment.packages) if ready else []
    return {**_facts(environment), "interpreter": interpreter, "packages": packages}


def _row(facts: dict[str, Any]) -> tuple[str, ...]:
    if not facts["complete"]:
        return (facts["key"], facts["manager"], "", "", _mb(facts["size"]), "", "", "a build that was killed")
    used = "now" if facts["in_use"] else _day(facts["last_use"])
    size_on_disk = (_mb(facts["size"]), _mb(facts["frees"]))
    return (
        *(facts["key"], facts["manager"], facts["python"], str(facts["packages"])),
        *(*size_on_disk, used, _origin(facts)),
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
        "last use": "now" if facts["in_use"] else _day(facts["last_use"]),
        "image": facts["image"] or "none",
        "size": f"{_mb(facts['size'])}, of which removing it frees {_mb(facts['frees'])}",
        "python": f"{facts['python']} ({facts['interpreter']})",
        "built from": _origin(facts),
        "lock": facts["lock_sha256"] or "none: it is empty",
    }
    lines = [f"{label.ljust(10)}  {value}" for label, value in rows.items()]
    for package in facts["packages"]:
        lines.append("  ".join(filter(None, ("package   ", _named(package)))))
    lines += [f"altered     {name}" for name in facts.get("altered", [])]
    return "\n".join(lines)


def _named(package: dict[str, str]) -> str:
    source = f" from {package['source']}" if package.get("source") else ""
    return f"{package['name']} {package['version']}{source}"


def _difference(environment: dict[str, Any], other: dict[str, Any]) -> dict[str, list[str]]:
    """Return the facts and packages that differ, each with its value in both environments."""
    facts = ("manager", "python", "interpreter", "lock_sha256")
    sides = [{name: side[name] for name in facts} for side in (environment, other)]
    for side, details in zip(sides, (environment, other)):
        side.update((package["name"], _named(package)) for package in details["packages"])
    names = [*facts, *sorted({*sides[0], *sides[1]} - set(facts))]
    pairs = {name: [str(side.get(name, "")) for side in sides] for name in names}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def _difference_text(difference: dict[str, list[str]]) -> str:
    from projrun.console.tables import format_table

    if not difference:
        return "they do not differ"
    return format_table(("WHAT", "FIRST", "SECOND"), [(name, *map(str, p)) for name, p in difference.items()])


def _mb(size: int) -> str:
    return f"{size / 1e6:.1f} MB"


def _day(milliseconds: int) -> str:
    from datetime import datetime

    return datetime.fromtimestamp(milliseconds / 1000).strftime("%Y-%m-%d %H:%M")
