"""projrun lock"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import click

from projrun.cli.verbs import Verb, offline_option, project_argument, version_option
from projrun.console import print_data, print_error, say
from projrun.disk import home_from
from projrun.disk.file_operations import temporary_directory, write_atomically
from projrun.errors import UsageError


@click.command(cls=Verb)
@project_argument
@version_option
@click.option(
    "-e",
    "--entry-point",
    default="main",
    metavar="NAME",
    help="Lock the environment of this entry point: a script may have its own (PEP 723).",
)
@click.option("-o", "--output", default="", metavar="DIR", help="Write the lock to DIR; `-` means stdout.")
@click.option("--upgrade", is_flag=True, help="Take the newest versions of all packages.")
@click.option(
    "--upgrade-package",
    multiple=True,
    metavar="NAME",
    help="Take the newest version of this package; repeatable.",
)
@click.option("--as-of", default="", metavar="DATE|COMMIT", help="Resolve with the packages of that time.")
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
    """Resolve the environment of the project at URI (default: this directory) and write its lock.

    The lock is a pylock.toml beside the descriptor. It holds exact versions with hashes for every platform;
    from then on it is used instead of resolving. Versions that it already holds are kept, unless an option
    says otherwise. The lock of a fetched project goes to stdout, unless -o names a directory for it.
    A conda project gets a pixi.lock for this platform instead, and a pylock.conda.toml for its pip section.
    """
    from projrun.environments import LockRequest, manager_for, manager_named
    from projrun.project import environment_of, read_project
    from projrun.project.environment.lock_files import lock_name
    from projrun.sources import fetched
    from projrun.sources.git.repository import resolve_date

    with fetched(uri, version, home_from(), offline=offline) as checkout, temporary_directory() as temporary:
        directory = checkout.directory
        project = read_project(directory)
        descriptor, _ = environment_of(project, project.for_environment(entry_point))
        manager = manager_named(manager_for(descriptor))
        if (checkout.temporary or output) and manager.LOCKS_ONE_PLATFORM:
            raise UsageError(
                f"a {manager_for(descriptor)} project is locked where it lies",
                "give its directory, without -o",
            )
        request = LockRequest(
            descriptor=descriptor,
            directory=directory,
            name=lock_name(descriptor) if descriptor.file else "",
            log=temporary / "log",
            upgrade=upgrade,
            packages=upgrade_package,
            as_of=resolve_date(as_of, directory) if as_of and not check else "",
        )
        if check:
            problem = manager.unfit(request)
            if problem:
                print_error(f"{problem}; run: projrun lock")
            return int(bool(problem))
        lock = manager.new_lock(request)
        _write(lock.files, "-" if checkout.temporary and not output else output or str(directory))
    say(lock.summary)
    return 0


def _write(files: Mapping[str, str], target: str) -> None:
    """Write the files to the directory `target`, or to stdout where it is `-`; remove those without text."""
    for name, text in files.items():
        if target == "-":
            print_data(text.rstrip("\n"))
        elif text:
            write_atomically(Path(target, name), text)
        else:
            Path(target, name).unlink(missing_ok=True)
