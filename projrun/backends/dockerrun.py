"""A container by `docker run`, as a child: it knows every argument and every engine, and takes its time."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from signal import SIGKILL

from projrun import engine
from projrun.backends.containerspec import Arguments
from projrun.children import Child
from projrun.errors import LaunchError
from projrun.starting import merged

_OWN = re.compile(r"PATH|HOME|DOCKER_\w+|LD_\w+|SSL_CERT_\w+")
"""Variables that the program itself heeds."""


class DockerRun:
    def __init__(self, name: str, arguments: Arguments, log: Path, out: int | None, err: int | None) -> None:
        for variable in arguments.variables:
            if variable.startswith("DOCKER_"):
                hint = "give it in a file: -A env-file=FILE"
                raise LaunchError(f"{variable} would steer the docker program itself", hint)
        self._name, self._log = name, log
        by_name = {name: value for name, value in arguments.variables.items() if not _OWN.fullmatch(name)}
        self._child = Child(
            argv_of(arguments),
            cwd=None,
            environ=merged(os.environ, by_name),
            log=log,
            out=out,
            err=err,
            indexed=True,
        )

    def wait(self, timeout_s: float | None = None) -> int:
        code = self._child.wait(timeout_s)
        if code in (1, 125, 126, 127):
            self._check_start()
        return code

    def send(self, number: int, timeout_s: float) -> bool:
        return engine.call("kill", "--signal", str(number), self._name).ok

    def abandon(self) -> int:
        return self._child.end(SIGKILL)

    def _check_start(self) -> None:
        """The program's own codes may be the command's too: the engine knows whether it ever ran.

        1 is the program's where Podman takes the container and then cannot start it.
        """
        facts = engine.container(self._name)
        if facts is None or facts["State"]["StartedAt"].startswith("0001-"):
            said = self._log.read_text(errors="replace")[-2000:]
            raise engine.refusal(re.sub(r"\s*(See|Run) 'docker run --help'.*", "", said, flags=re.DOTALL))


def argv_of(given: Arguments) -> list[str]:
    options = (*given.options, *_environment(given.variables))
    return engine.command("run", "--pull=never", *options, given.image, *given.command)


def _environment(variables: Mapping[str, str]) -> Iterator[str]:
    """By name, so that no value is on the command line; but not what the program would heed itself."""
    for name, value in sorted(variables.items()):
        yield f"--env={name}={value}" if _OWN.fullmatch(name) else f"--env={name}"
