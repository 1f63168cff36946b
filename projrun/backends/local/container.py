"""A command in a container, which is removed when this process ends, however it ends.

`engine_container` creates the container through the engine's socket; whatever `container_spec` cannot express
goes through the docker program, which knows every option and engine, and what its own configuration adds.

An exit program removes the container: a shell that waits on a pipe that only this process holds, and so
notices each way in which it can end. `--rm` would make each run wait for the removal. If that shell dies too,
the next command finds the container by its label `projrun.run`.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from signal import SIGKILL, SIGTERM
from typing import Protocol

from projrun import engine
from projrun.backends import Job
from projrun.backends.local import container_spec
from projrun.backends.local.container_spec import RunArguments
from projrun.console import is_verbose, warn
from projrun.engine import WORKDIR
from projrun.errors import LaunchError, ProjrunError
from projrun.plan import Container, Launch, Plan, PlannedContainer
from projrun.processes import GRACE_S, explain_command, merge_environ
from projrun.processes.child import Child
from projrun.processes.programs import ExitProgram

HOME = "/home/projrun"

# Prefixes of the caller's variables that a client of a remote tracking server needs
_TRACKING = ("MLFLOW_TRACKING_", "MLFLOW_S3_")


class _ContainerClient(Protocol):
    """A client of the engine that runs one container."""

    def start(self) -> None:
        """Have the command started, without waiting for the engine to say that it was."""
        ...

    def wait(self, timeout_s: float | None = None) -> int:
        """The command's exit code. Raises TimeoutError while it runs, EngineError if it never started."""
        ...

    def send(self, number: int, timeout_s: float) -> bool:
        """Signal all of its processes; return False if there is nothing to wait for. Raises TimeoutError."""
        ...

    def abandon(self) -> int:
        """Stop following the container and return an exit code."""
        ...


class ContainerProcess:
    """A job's container, with the methods of a Child that a backend needs.

    The engine begins to make it at once; `start` has the command started.
    """

    def __init__(self, job: Job, out: int | None, err: int | None) -> None:
        container = job.launch.container
        assert container is not None
        section = job.plan.container or PlannedContainer()
        variables = container_variables(section, job.launch)
        self.id = _user_chosen_name(section.arguments) or f"projrun-{job.run_id}-{os.urandom(3).hex()}"
        options = [
            *(f"--name={self.id}", f"--label={engine.RUN_LABEL}={job.run_id}"),
            *_options(job, section, container),
            *_streams(section, out),
            *section.arguments,
        ]
        command = (container.shell, "-c", job.plan.command)
        arguments = RunArguments(options, variables, container.image, command)
        self.usage = None  # unknown: the usage of our own children does not include the container's
        self._will: ExitProgram | None = None
        self._client = _new_client(self.id, arguments, job, out, err)
        try:
            # Only now: the engine makes the container while this program starts.
            self._will = ExitProgram(engine.docker_argv("rm", "--force", "--volumes", self.id))
        except BaseException:
            self.abandon()
            raise

    def start(self) -> None:
        """Have the command started; the engine's answer is read by `wait`. Raises LaunchError."""
        self._client.start()

    def abandon(self) -> None:
        """Remove it, by force if it runs, and follow it no longer."""
        self._remove()
        self._client.abandon()

    def _remove(self) -> None:
        if self._will is not None:
            self._will.start()

    def wait(self, timeout_s: float | None = None) -> int:
        """The command's exit code. Raises TimeoutError while it runs, EngineError if it never started."""
        try:
            code = self._client.wait(timeout_s)
        except ProjrunError:
            self._remove()
            raise
        self._remove()
        return code

    def end(self, number: int, grace_s: float = GRACE_S) -> int:
        """Signal all processes of the container: `number`, then SIGTERM, then force."""
        for step in dict.fromkeys((number, SIGTERM)):
            try:
                if not self._client.send(step, grace_s):
                    break
                return self.wait(grace_s)
            except TimeoutError:
                continue
            except KeyboardInterrupt:
                break
            except ProjrunError:
                self._remove()
                raise
        self._remove()
        return self._client.abandon()


def _new_client(
    name: str, arguments: RunArguments, job: Job, out: int | None, err: int | None
) -> _ContainerClient:
    path = engine.docker_socket()
    creation = (
        container_spec.make_create_request(arguments) if path and container_spec.is_client_plain() else None
    )
    if creation is None:
        return DockerProgram(name, arguments, job, out, err)
    from projrun.backends.local.engine_container import EngineContainer

    if is_verbose():
        explain_command(docker_run_argv(arguments))  # which does the same
    return EngineContainer(path, name, creation, job, out, err)


def container_variables(planned: PlannedContainer, launch: Launch) -> dict[str, str]:
    """Return the variables of the container: the caller's only if asked for, or needed for tracking."""
    variables = {name: value for name, value in os.environ.items() if name.startswith(_TRACKING)}
    for name in planned.copied:
        if name in os.environ:
            variables[name] = os.environ[name]
    return merge_environ(variables, planned.variables, launch.variables)


def _options(job: Job, section: PlannedContainer, container: Container) -> Iterator[str]:
    directory = job.checkout.directory
    yield f"--workdir={WORKDIR}"
    # The kernel drops signals that PID 1 has no handler for; tini passes them on to the whole group and reaps
    # orphans.
    yield from ("--init", "--env=TINI_KILL_PROCESS_GROUP=1")
    yield f"--user={container_user(container, directory)}"
    yield from (f"--tmpfs={HOME}:rw,exec,mode=1777", f"--env=HOME={HOME}")
    if container.remapped:
        yield "--userns=host"
    for source, target, mode in list_mounts(job.plan, section, container, job.launch.variables, directory):
        if "," in source or ",target=" in target:
            raise LaunchError(f"a comma in a path cannot be mounted: {source}", "rename it")
        read_only = ",readonly" if mode == "ro" else ""
        yield f"--mount=type=bind,source={source},target={target}{read_only}"
    for volume in section.volumes:
        yield f"--volume={volume}"


def container_user(container: Container, directory: Path) -> str:
    """Return `UID:GID` for the outputs: the caller's, or if that is root, those of the project's owner."""
    if container.rootless:
        return "0:0"
    if os.getuid():
        return f"{os.getuid()}:{os.getgid()}"
    owner = directory.stat()
    return f"{owner.st_uid}:{owner.st_gid}"


def list_mounts(
    plan: Plan,
    planned: PlannedContainer,
    container: Container,
    variables: Mapping[str, str | None],
    directory: Path,
) -> Iterator[tuple[str, str, str]]:
    """Yield source, target and mode. Inputs keep their paths: the command names those outside."""
    mode = "ro" if planned.read_only_source else "rw"
    if not container.holds_project:
        yield str(directory), WORKDIR, mode
        yield str(directory), str(directory), mode
    for source in dict.fromkeys(file.path for file in plan.inputs):
        if container.holds_project or not Path(source).is_relative_to(directory):
            yield source, source, "ro"
    for name in plan.artifact_files:
        parent = Path(str(variables[name])).parent
        parent.mkdir(parents=True, exist_ok=True)
        yield str(parent), str(parent), "rw"


def endpoint_address(plan: Plan, container: Container) -> tuple[str, str]:
    """Return the address and device of the engine's bridge, which is how a container finds this machine."""
    section = [
        text.partition("=")[2]
        for text in (plan.container.arguments if plan.container else ())
        if text.startswith(("--network=", "--net="))
    ]
    if not section or section[-1] in ("bridge", "default"):
        gateway = container.gateway
    elif section[-1] in ("host", "none") or section[-1].startswith("container:"):
        return "", ""
    else:
        facts = engine.inspect_network(section[-1])
        gateway = engine.network_gateway(facts) if facts else ""
    if gateway and not container.rootless and (device := engine.find_device(gateway)):
        return gateway, device
    warn("the container cannot reach the run's tracking endpoint: use -A network=host if it logs to the run")
    return "", ""


def _streams(section: PlannedContainer, out: int | None) -> Iterator[str]:
    """Yield --tty if stdout is a terminal, else --interactive if stdin is a pipe or a file."""
    if {"-t", "--tty", "-i", "--interactive"} & set(section.arguments):
        return
    if out is not None and os.isatty(out):
        yield "--tty"
    elif sys.stdin is not None and not os.isatty(0):
        yield "--interactive"


def _user_chosen_name(arguments: tuple[str, ...]) -> str:
    """Return the user's --name, or ''. It must be free: we remove our container by its name."""
    name = next((text.partition("=")[2] for text in arguments if text.startswith("--name=")), "")
    taken = engine.inspect_container(name) if name and re.fullmatch(r"[\w.-]+", name, re.ASCII) else None
    if taken is not None and str(taken["Name"]).lstrip("/") == name:
        raise LaunchError(
            f"there is a container of the name {name} already", "remove it, or give another name"
        )
    return name


# Variables that the docker program itself reads
_CLIENT_VARIABLES = re.compile(r"PATH|HOME|DOCKER_\w+|LD_\w+|SSL_CERT_\w+")


class DockerProgram:
    """The docker program, which takes every argument and knows every engine."""

    def __init__(
        self, name: str, arguments: RunArguments, job: Job, out: int | None, err: int | None
    ) -> None:
        for variable in arguments.variables:
            if variable.startswith("DOCKER_"):
                hint = "give it in a file: -A env-file=FILE"
                raise LaunchError(f"{variable} would steer the docker program itself", hint)
        self._name, self._arguments, self._job, self._out, self._err = name, arguments, job, out, err
        self._child: Child | None = None

    def start(self) -> None:
        variables = self._arguments.variables
        by_name = {name: value for name, value in variables.items() if not _CLIENT_VARIABLES.fullmatch(name)}
        self._child = Child(
            docker_run_argv(self._arguments),
            cwd=None,
            environ=merge_environ(os.environ, by_name),
            log=self._job.log,
            out=self._out,
            err=self._err,
            indexed=True,
            masks=self._job.masks,
        )

    def wait(self, timeout_s: float | None = None) -> int:
        assert self._child is not None
        code = self._child.wait(timeout_s)
        if code in (1, 125, 126, 127):
            self._check_start()
        return code

    def send(self, number: int, timeout_s: float) -> bool:
        return engine.run_docker("kill", "--signal", str(number), self._name).ok

    def abandon(self) -> int:
        return self._child.end(SIGKILL) if self._child is not None else 128 + SIGKILL

    def _check_start(self) -> None:
        """Raise EngineError if the container never ran: codes of the docker program may be the command's too.

        Podman exits with 1 if it has created the container and then cannot start it.
        """
        facts = engine.inspect_container(self._name)
        if facts is None or facts["State"]["StartedAt"].startswith("0001-"):
            output = self._job.log.read_text(errors="replace")[-2000:]
            raise engine.engine_error(
                re.sub(r"\s*(See|Run) 'docker run --help'.*", "", output, flags=re.DOTALL)
            )


def docker_run_argv(given: RunArguments) -> list[str]:
    options = (*given.options, *_environment(given.variables))
    return engine.docker_argv("run", "--pull=never", *options, given.image, *given.command)


def _environment(variables: Mapping[str, str]) -> Iterator[str]:
    """Yield --env options by name only; the docker program reads the values from its own environment.

    So no value is on the command line and no file is left behind, and line breaks survive. The exceptions are
    variables that the program would obey itself.
    """
    for name, value in sorted(variables.items()):
        yield f"--env={name}={value}" if _CLIENT_VARIABLES.fullmatch(name) else f"--env={name}"
