"""A command in a container: as a child of ours, and gone when we are.

The client, `docker run`, is an ordinary child with an ordinary log and terminal. What removes the container
is our last will: a shell that waits on a pipe that only this process holds. When that closes, at the end of
the run or because this process was killed, the container goes, by force if it runs.
"""

from __future__ import annotations

import os
import re
import signal as signals
from collections.abc import Iterator, Mapping
from pathlib import Path

from projrun import engine
from projrun.children import GRACE_S, Child
from projrun.errors import LaunchError
from projrun.lastwill import LastWill
from projrun.plan import Container, Launch, Plan, PlannedContainer
from projrun.starting import merged

WORKDIR = "/mlflow/projects/code"
"""Where mlflow puts the project's tree."""
HOME = "/home/projrun"

_CLIENTS_OWN = re.compile(r"PATH|HOME|DOCKER_\w+|LD_\w+|SSL_CERT_\w+")
"""Variables that the client itself heeds."""
_TRACKING = re.compile(r"MLFLOW_TRACKING_\w+|MLFLOW_S3_\w+")
"""Variables of the caller that a client of a remote tracking server needs."""


class InContainer:
    """A running container, with the two methods of a Child that a backend needs."""

    def __init__(
        self, plan: Plan, launch: Launch, directory: Path, log: Path, out: int | None, err: int | None
    ) -> None:
        assert launch.container is not None
        wanted = plan.container or PlannedContainer()
        variables = container_variables(wanted, launch)
        run_id = variables.get("MLFLOW_RUN_ID", "")
        self.name = _value(wanted.arguments, "--name") or f"projrun-{run_id or 'run'}-{os.urandom(3).hex()}"
        self._log = log
        argv = engine.command(
            "run",
            *("--name", self.name, "--label", f"{engine.RUN_LABEL}={run_id}"),
            *_options(plan, wanted, launch.container, launch.variables, directory),
            *_streams(wanted, out),
            *_environment(variables),
            *wanted.arguments,
            launch.container.image,
            *(launch.container.shell, "-c", plan.command),
        )
        self._will = LastWill(engine.command("rm", "--force", "--volumes", self.name))
        try:
            environ = merged(os.environ, _by_client(variables))
            self._client = Child(argv, cwd=None, environ=environ, log=log, out=out, err=err, indexed=True)
        except BaseException:
            self._will.execute()
            raise
        self.pid = self._client.pid
        self.usage = None
        """What the client took says nothing of the container."""

    def wait(self, timeout_s: float | None = None) -> int:
        """The command's exit code. Raises TimeoutError while it runs, EngineError if it never started."""
        code = self._client.wait(timeout_s)
        if code in (1, 125, 126, 127):
            self._refused()
        self._will.execute()
        return code

    def end(self, number: int, grace_s: float = GRACE_S) -> int:
        """Signal all processes of the container: `number`, then SIGTERM, then force."""
        for step in dict.fromkeys((number, signals.SIGTERM)):
            self.send(step)
            try:
                return self.wait(grace_s)
            except TimeoutError:
                continue
            except KeyboardInterrupt:
                break
        self._will.execute()
        return self._client.end(signals.SIGKILL)

    def send(self, number: int) -> None:
        if not engine.call("kill", "--signal", str(number), self.name).ok:
            self._client.end(signals.SIGKILL)  # there is no container yet, or none any more

    def _refused(self) -> None:
        """The client's own codes may be the command's too: the engine knows whether it ever ran.

        1 is the client's where Podman takes the container and then cannot start it.
        """
        facts = engine.call("inspect", "--format", "{{.State.StartedAt}}", self.name)
        if facts.ok and not facts.stdout.startswith("0001-"):
            return
        self._will.execute()
        said = self._log.read_text(errors="replace")
        raise engine.refusal(re.sub(r"\s*(See|Run) 'docker run --help'.*", "", said[-2000:], flags=re.DOTALL))


def container_variables(wanted: PlannedContainer, launch: Launch) -> dict[str, str]:
    """The environment of the process: nothing of the caller's but what was asked for."""
    variables = {name: value for name, value in os.environ.items() if _TRACKING.fullmatch(name)}
    for name in wanted.copied:
        if name in os.environ:
            variables[name] = os.environ[name]
    return merged(variables, wanted.variables, launch.variables)


def _options(
    plan: Plan,
    wanted: PlannedContainer,
    container: Container,
    variables: Mapping[str, str | None],
    directory: Path,
) -> Iterator[str]:
    yield from ("--pull", "never", "--workdir", WORKDIR)
    # The first process of a container ignores signals that it has no handler for; this one passes them on
    # to the whole group and collects orphans.
    yield from ("--init", "--env", "TINI_KILL_PROCESS_GROUP=1")
    yield from ("--user", user_of(container, directory))
    yield from ("--tmpfs", f"{HOME}:rw,exec,mode=1777", "--env", f"HOME={HOME}")
    if container.remapped:
        yield "--userns=host"
    for source, target, mode in mounts(plan, wanted, container, variables, directory):
        if "," in source or ",target=" in target:
            raise LaunchError(f"a comma in a path cannot be mounted: {source}", "rename it")
        read_only = ",readonly" if mode == "ro" else ""
        yield from ("--mount", f"type=bind,source={source},target={target}{read_only}")
    for volume in wanted.volumes:
        yield from ("--volume", volume)


def user_of(container: Container, directory: Path) -> str:
    """Whose the outputs are to be: the caller's; where that is root, the owner's of the project."""
    if container.rootless:
        return "0:0"
    if os.getuid():
        return f"{os.getuid()}:{os.getgid()}"
    owner = directory.stat()
    return f"{owner.st_uid}:{owner.st_gid}"


def mounts(
    plan: Plan,
    wanted: PlannedContainer,
    container: Container,
    variables: Mapping[str, str | None],
    directory: Path,
) -> Iterator[tuple[str, str, str]]:
    """Source, target and mode. Files lie at the paths that the command has, which are those outside."""
    mode = "ro" if wanted.read_only_source else "rw"
    if not container.holds_project:
        yield str(directory), WORKDIR, mode
        yield str(directory), str(directory), mode
    for source in dict.fromkeys(found.path for found in plan.inputs):
        if container.holds_project or not Path(source).is_relative_to(directory):
            yield source, source, "ro"
    for name in plan.artifact_files:
        place = Path(str(variables[name])).parent
        place.mkdir(parents=True, exist_ok=True)
        yield str(place), str(place), "rw"


def _streams(wanted: PlannedContainer, out: int | None) -> Iterator[str]:
    """A terminal stays a terminal; a pipe or a file that is our stdin is the command's too."""
    if {"-t", "--tty", "-i", "--interactive"} & set(wanted.arguments):
        return
    if out is not None and os.isatty(out):
        yield "--tty"
    else:
        try:
            if not os.isatty(0):
                yield "--interactive"
        except OSError:  # it is closed
            return


def _environment(variables: Mapping[str, str]) -> Iterator[str]:
    """By name, so that no value is on the command line; but not what the client would heed itself."""
    for name, value in sorted(variables.items()):
        if name.startswith("DOCKER_"):
            hint = "give it in a file: -A env-file=FILE"
            raise LaunchError(f"{name} would steer the docker program itself", hint)
        yield from ("--env", f"{name}={value}" if _CLIENTS_OWN.fullmatch(name) else name)


def _by_client(variables: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in variables.items() if not _CLIENTS_OWN.fullmatch(name)}


def _value(arguments: tuple[str, ...], option: str) -> str:
    return next((text.partition("=")[2] for text in arguments if text.startswith(f"{option}=")), "")
