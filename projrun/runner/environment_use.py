"""Use a project's environment without a run: build it, open a shell in it, or write its Dockerfile."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from projrun.console import warn
from projrun.disk import Home
from projrun.disk.file_operations import temporary_directory
from projrun.engine import WORKDIR
from projrun.environments import container_manager, images_of
from projrun.environments.environment_store import Provided, provide
from projrun.environments.lock_store import lock_once
from projrun.errors import UnavailableError
from projrun.processes import merge_environ
from projrun.project import environment_of, read_project
from projrun.request import Request
from projrun.runner.container_options import source_labels, with_base_image
from projrun.runner.planner import plan_environment
from projrun.sources import fetched


@contextmanager
def prepared(request: Request, home: Home) -> Iterator[tuple[Provided, Path]]:
    """Provide the environment of the entry point, and the project's directory, while the block runs."""
    with (
        fetched(request.uri, request.version, home, offline=request.offline) as checkout,
        temporary_directory() as temporary,
    ):
        project = read_project(checkout.directory)
        environment = plan_environment(request, project, project.for_environment(request.entry_point))
        log = temporary / "environment.log"
        with provide(
            environment.manager, environment.descriptor, checkout.directory, home, log, environment.resolving
        ) as provided:
            for notice in provided.lock.notices:
                warn(notice)
            yield provided, checkout.directory


def shell(request: Request, command: tuple[str, ...], home: Home) -> int:
    """Run a command, or the user's shell, in the project's environment; return its exit code."""
    from projrun.processes.programs import run_interactive

    with prepared(request, home) as (provided, directory):
        launch = provided.launch
        if launch.container is not None:
            raise UnavailableError(
                "projrun shell opens none in a container, which is where this project runs",
                f'docker run --rm -it -v "$PWD":{WORKDIR} -w {WORKDIR} '
                f"{launch.container.image} {launch.container.shell}",
            )
        environ = merge_environ(os.environ, launch.variables)
        environ["PATH"] = os.pathsep.join([*launch.path_entries, environ.get("PATH", os.defpath)])
        argv = command or (environ.get("SHELL") or "/bin/sh",)
        return run_interactive([*launch.argv_prefix, *argv], cwd=directory, environ=environ)


def render_dockerfile(request: Request, home: Home) -> tuple[str, str]:
    """Return the Dockerfile of the entry point's environment, and the pylock.toml that it needs beside it.

    The second is empty if nothing is to be installed.
    """
    manager = container_manager()
    images = images_of(manager)
    with fetched(request.uri, request.version, home) as checkout, temporary_directory() as temporary:
        project = read_project(checkout.directory)
        descriptor, _ = environment_of(project, project.for_environment(request.entry_point))
        descriptor = with_base_image(descriptor, request)
        images.check_portable(descriptor)
        home.mark_cache()
        log = temporary / "environment.log"
        lock = lock_once(manager, descriptor, checkout.directory, home, log)
        labels = {name: text for name, text in source_labels(checkout.source, project.name).items() if text}
        return images.render_dockerfile(lock, descriptor, labels, log), lock.pylock
