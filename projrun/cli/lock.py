"""projrun lock"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from pathlib import Path

    from projrun.plan import Descriptor


@click.command()
@click.argument("directory", default=".")
@click.option("--upgrade", is_flag=True, help="Take the newest versions of all packages.")
@click.option(
    "--upgrade-package",
    multiple=True,
    metavar="NAME",
    help="Take the newest version of it; repeatable.",
)
@click.option("--as-of", default="", metavar="DATE|COMMIT", help="Resolve as the package index stood then.")
@click.option("--check", is_flag=True, help="Write nothing; exit with 1 if the lock does not fit.")
def lock(directory: str, upgrade: bool, upgrade_package: tuple[str, ...], as_of: str, check: bool) -> int:
    """Resolve the environment of the project in DIRECTORY (default: this one) into its pylock.toml.

    The lock holds exact versions with hashes, for every platform, and wins over resolving from then on.
    Versions that it already has are kept unless an option says otherwise. A conda project has a pixi.lock
    for this platform instead, and a pylock.conda.toml for its pip section.
    """
    from pathlib import Path

    from projrun.environments.condanames import needs_conda
    from projrun.environments.projectlock import PYLOCK, unfit, write_lock
    from projrun.errors import UsageError
    from projrun.files import temporary_directory
    from projrun.output import complain, say
    from projrun.project import read_project
    from projrun.sources.dates import moment

    place = Path(directory).absolute()
    if not place.is_dir():
        raise UsageError(f"'{directory}' is not a directory", "name the directory of a project")
    descriptor = read_project(place).descriptor
    if needs_conda(descriptor):
        return _lock_conda(descriptor, place, upgrade, upgrade_package, as_of, check)
    if descriptor.kind in ("none", "pylock", "docker_env"):
        raise UsageError("the project has nothing to lock", "write a python_env.yaml with its dependencies")
    if check:
        problem = unfit(descriptor, place)
        if problem:
            complain(f"{problem}; run: projrun lock")
        return int(bool(problem))
    with temporary_directory() as temporary:
        date = moment(as_of, place) if as_of else ""
        count = write_lock(descriptor, place, temporary / "log", upgrade, upgrade_package, date)
    say(f"{PYLOCK} locks {count} packages of {descriptor.file}")
    return 0


def _lock_conda(
    descriptor: Descriptor,
    place: Path,
    upgrade: bool,
    upgrade_package: tuple[str, ...],
    as_of: str,
    check: bool,
) -> int:
    from projrun.environments.condalock import unfit_conda_lock, write_conda_lock
    from projrun.files import temporary_directory
    from projrun.output import complain, say
    from projrun.sources.dates import moment

    if check:
        problem = unfit_conda_lock(descriptor, place)
        if problem:
            complain(f"{problem}; run: projrun lock")
        return int(bool(problem))
    with temporary_directory() as temporary:
        date = moment(as_of, place) if as_of else ""
        say(write_conda_lock(descriptor, place, temporary / "log", upgrade, upgrade_package, date))
    return 0
