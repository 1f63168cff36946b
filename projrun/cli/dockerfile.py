"""projrun dockerfile"""

from __future__ import annotations

import click

from projrun.cli.verbs import Verb, project_argument, version_option


@click.command(cls=Verb)
@project_argument
@version_option
@click.option("-e", "--entry-point", default="main", metavar="NAME", help="Entry point; default: main.")
@click.option("--docker-image", default="", metavar="IMAGE", help="Install the packages in this image.")
@click.option(
    "-o",
    "--output",
    default="",
    metavar="DIR",
    help="Write Dockerfile and pylock.toml to DIR; - means stdout.",
)
def dockerfile(uri: str, version: str, entry_point: str, docker_image: str, output: str) -> None:
    """Write a Dockerfile of the environment of the project at URI (default: this directory).

    It builds the same image as `projrun run --env-manager docker`: the base image by its digest, the packages
    by their hashes in the pylock.toml beside it, and nothing of this machine.
    """
    from pathlib import Path

    from projrun.console import print_data, say
    from projrun.disk import home_from
    from projrun.disk.file_operations import write_atomically
    from projrun.request import Request
    from projrun.runner.environment_use import render_dockerfile

    request = Request(uri=uri, version=version, entry_point=entry_point, docker_image=docker_image)
    text, pylock = render_dockerfile(request, home_from())
    if output in ("", "-"):
        print_data(text.removesuffix("\n"))
        if pylock:
            say("it needs pylock.toml beside it: -o DIR writes both")
        return
    directory = Path(output)
    directory.mkdir(parents=True, exist_ok=True)
    write_atomically(directory / "Dockerfile", text)
    if pylock:
        write_atomically(directory / "pylock.toml", pylock)
    say(f"written to {output}; build it with: docker build {output}")
