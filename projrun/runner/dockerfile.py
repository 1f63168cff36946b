"""A Dockerfile of a project's environment, for those who build elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from projrun.backends.containers import WORKDIR
from projrun.environments import condaimage, docker, dockerfile, images
from projrun.environments.carried import on_this_machine
from projrun.environments.inside import look_into
from projrun.environments.locks import lock_once
from projrun.errors import UnavailableError
from projrun.files import temporary_directory
from projrun.home import Home
from projrun.output import warn
from projrun.plan import Checkout
from projrun.project import environment_of, read_project
from projrun.request import Request
from projrun.runner.containers import source_labels, with_base_image
from projrun.sources import fetched


class Standalone(NamedTuple):
    dockerfile: str
    pylock: str
    """Goes beside it as `pylock.toml`; empty when nothing is to be installed."""


def standalone(request: Request, home: Home) -> Standalone:
    """The environment of the request's entry point, resolved and pinned. An engine looks at the image."""
    with fetched(request.uri, request.version, home) as checkout, temporary_directory() as scratch:
        return _of_checkout(request, checkout, home, scratch / "environment.log")


def _of_checkout(request: Request, checkout: Checkout, home: Home, log: Path) -> Standalone:
    project = read_project(checkout.directory)
    descriptor, _ = environment_of(project, project.for_environment(request.entry_point))
    descriptor = with_base_image(descriptor, request)
    if condaimage.wanted(descriptor):
        raise UnavailableError(
            f"{descriptor.file}: no Dockerfile can bring its conda packages along",
            "make the image here (`projrun env build --env-manager docker`) and push that",
        )
    home.mark_cache()
    lock = lock_once(docker, "docker", descriptor, checkout.directory, home, log)
    if only_here := [*(one.path for one in lock.local), *on_this_machine(lock.pylock)]:
        raise UnavailableError(
            f"{descriptor.file}: {only_here[0]} is of this machine: no Dockerfile can bring it along",
            "name a released package or a Git URL, or use `projrun run --env-manager docker`",
        )
    if lock.image.startswith("sha256:"):
        known_as = f"{lock.tag} " if lock.tag else ""
        warn(f"the base image {known_as}is of this machine alone: push it to a registry to build elsewhere")
    program = look_into(images.found(lock.image, log)).program
    labels = {name: text for name, text in source_labels(checkout.source, project.name).items() if text}
    return Standalone(dockerfile.standalone(lock, program, labels, WORKDIR), lock.pylock)
