"""A project's environment without a run: to build it ahead, or to look around in it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from projrun import sources
from projrun.backends.containers import WORKDIR
from projrun.environments.store import Provided, provide
from projrun.errors import UnavailableError
from projrun.files import temporary_directory
from projrun.home import Home
from projrun.output import warn
from projrun.project import read_project
from projrun.request import Request
from projrun.runner.planning import plan_environment
from projrun.starting import merged


@contextmanager
def prepared(request: Request, home: Home) -> Iterator[tuple[Provided, Path]]:
    """The environment of the project's entry point, built if need be, and the project's directory.

    Both stay for as long as the block lasts. Nothing is recorded.
    """
    with (
        sources.fetched(request.uri, request.version, home, offline=request.offline) as checkout,
        temporary_directory() as temporary,
    ):
        project = read_project(checkout.directory)
        wanted = plan_environment(request, project, project.for_environment(request.entry_point))
        log = temporary / "environment.log"
        with provide(
            wanted.manager, wanted.descriptor, checkout.directory, home, log, wanted.resolving
        ) as provided:
            for notice in provided.lock.notices:
                warn(notice)
            yield provided, checkout.directory


def shell(request: Request, command: tuple[str, ...], home: Home) -> int:
    """Run a command, or the user's shell, in the project's environment and directory; its exit code."""
    from projrun.process import interact

    with prepared(request, home) as (provided, directory):
        launch = provided.launch
        if launch.container is not None:
            raise UnavailableError(
                "projrun shell opens none in a container, which is where this project runs",
                f'docker run --rm -it -v "$PWD":{WORKDIR} -w {WORKDIR} '
                f"{launch.container.image} {launch.container.shell}",
            )
        environ = merged(os.environ, launch.variables)
        environ["PATH"] = os.pathsep.join([*launch.path_entries, environ.get("PATH", os.defpath)])
        argv = command or (environ.get("SHELL") or "/bin/sh",)
        return interact([*launch.argv_prefix, *argv], cwd=directory, environ=environ)
