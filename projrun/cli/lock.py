"""projrun lock"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from projrun.cli.options import offline_option
from projrun.cli.run import complete_uri
from projrun.cli.verb import Verb

if TYPE_CHECKING:
    from pathlib import Path

    from projrun.plan import Descriptor
    from projrun.project.mlproject import Project


@click.command(cls=Verb)
@click.argument("uri", default=".", shell_complete=complete_uri)
@click.option("-v", "--version", default="", metavar="VERSION", help="Branch, tag or commit of it.")
@click.option(
    "-e",
    "--entry-point",
    default="main",
    metavar="NAME",
    help="Whose environment: a script may have its own (PEP 723).",
)
@click.option("-o", "--output", default="", metavar="DIR", help="Write the lock below DIR; `-`: to stdout.")
@click.option("--upgrade", is_flag=True, help="Take the newest versions of all packages.")
@click.option(
    "--upgrade-package",
    multiple=True,
    metavar="NAME",
    help="Take the newest version of it; repeatable.",
)
@click.option("--as-of", default="", metavar="DATE|COMMIT", help="Resolve as the package index stood then.")
@click.option("--check", is_flag=True, help="Write nothing; exit with 1 if the lock does not fit.")
@offline_option
def lock(
    uri: str,
    version: str,
    entry_point: str,
    output: str,
    upgrade: bool,
    upgrade_package: tuple[str, ...],
    as_of: str,
    check: bool,
    offline: bool,
) -> int:
    """Resolve the environment of the project at URI (default: this directory) into its lock.

    The lock, a pylock.toml beside the descriptor, holds exact versions with hashes, for every platform, and
    wins over resolving from then on. Versions that it already has are kept unless an option says otherwise.
    That of a project that is fetched goes to stdout, unless -o names a directory for it.
    A conda project has a pixi.lock for this platform instead, and a pylock.conda.toml for its pip section.
    """
    from pathlib import Path

    from projrun.console import print_data, print_error, say
    from projrun.disk import home_from
    from projrun.disk.file_operations import temporary_directory, write_atomically
    from projrun.environments.conda.pypi_names import needs_conda
    from projrun.environments.project_lock import new_lock, unfit
    from projrun.errors import UsageError
    from projrun.project import read_project
    from projrun.project.environment.lock_files import lock_name
    from projrun.sources import fetched
    from projrun.sources.git.repository import moment

    with fetched(uri, version, home_from(), offline=offline) as checkout, temporary_directory() as temporary:
        place = checkout.directory
        descriptor = _descriptor(read_project(place), entry_point)
        if needs_conda(descriptor):
            if checkout.temporary or output:
                raise UsageError("a conda project is locked where it lies", "give its directory, without -o")
            return _lock_conda(descriptor, place, upgrade, upgrade_package, as_of, check)
        if descriptor.kind in ("none", "pylock", "docker_env"):
            raise UsageError(
                "the project has nothing to lock", "write a python_env.yaml with its dependencies"
            )
        name = lock_name(descriptor)
        if check:
            problem = unfit(descriptor, place, name)
            if problem:
                print_error(f"{problem}; run: projrun lock")
            return int(bool(problem))
        date = moment(as_of, place) if as_of else ""
        written = new_lock(descriptor, place, name, temporary / "log", upgrade, upgrade_package, date)
        if output == "-" or (checkout.temporary and not output):
            print_data(written.text.rstrip("\n"))
        else:
            write_atomically(Path(output or place, name), written.text)
    say(f"{name} locks {written.count} packages of {descriptor.file}")
    return 0


def _descriptor(project: Project, entry_point: str) -> Descriptor:
    from projrun.project import environment_of

    return environment_of(project, project.for_environment(entry_point))[0]


def _lock_conda(
    descriptor: Descriptor,
    place: Path,
    upgrade: bool,
    upgrade_package: tuple[str, ...],
    as_of: str,
    check: bool,
) -> int:
    from projrun.console import print_error, say
    from projrun.disk.file_operations import temporary_directory
    from projrun.environments.project_lock import unfit_conda_lock, write_conda_lock
    from projrun.sources.git.repository import moment

    if check:
        problem = unfit_conda_lock(descriptor, place)
        if problem:
            print_error(f"{problem}; run: projrun lock")
        return int(bool(problem))
    with temporary_directory() as temporary:
        date = moment(as_of, place) if as_of else ""
        say(write_conda_lock(descriptor, place, temporary / "log", upgrade, upgrade_package, date))
    return 0
