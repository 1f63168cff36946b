"""The container engine: where it listens, how it is asked, and why it does not answer.

Docker's, or any that speaks its API, such as Podman's. What must be quick asks its socket directly; all that
has the form of `docker run` goes through the `docker` program, which knows every option there is.
"""

from __future__ import annotations

import _socket
import os
import re
import time
from collections.abc import Sequence
from contextlib import closing
from typing import Any

import msgspec

from projrun.console import one_line
from projrun.engine.unix_http import TIMEOUT_S, EngineRequest, Reply
from projrun.errors import LaunchError, ProjrunError, UnavailableError
from projrun.processes.programs import ProgramResult, run_program

REFUSALS: Sequence[tuple[str, str, str]] = (
    (
        r"permission denied.*(socket|connect)",
        "this user may not use the container engine at {address}",
        "add yourself to the group docker (`sudo usermod -aG docker $USER`) and log in again, "
        "or set DOCKER_HOST to an engine of your own",
    ),
    (
        r"invalid bind address|unable to parse docker host|error during connect.*lookup|failed to resolve",
        "DOCKER_HOST={address} leads to no container engine",
        "write it as unix:///PATH, tcp://HOST:PORT or ssh://USER@HOST",
    ),
    (
        r"https?://\S+/v2/\S*: (dial|net/http|EOF|read|context deadline|x509|tls|remote error|http: server)"
        r"|lookup .* on|TLS handshake|request canceled|x509|server misbehaving",
        "the registry cannot be reached: {said}",
        "check the network and the engine's proxy settings, or `docker load` the image beforehand",
    ),
    (
        r"dial tcp|i/o timeout|cannot connect|connection refused"
        r"|no such file or directory.*sock|docker daemon running|error during connect|connection reset",
        "no container engine answers at {address}",
        "start it (`sudo systemctl start docker`), or set DOCKER_HOST to one that runs",
    ),
    (
        r"no space left|disk quota",
        "the container engine's disk is full",
        "free some space (`projrun env prune`, `docker system df`), then run it again",
    ),
    (
        r"unauthorized|authentication required|denied: requested access|no basic auth|access.*is denied"
        r"|incorrect username or password|pull access denied|login attempt",
        "the registry refuses: {said}",
        "check the image's name, and log in with `docker login REGISTRY` (or docker_auth)",
    ),
    (
        r"no matching manifest|exec format error|does not match the (specified|detected) (host )?platform"
        r"|image operating system",
        "the image is not made for this machine: {said}",
        "use an image for this architecture, or install emulation and `docker pull --platform …` it",
    ),
    (
        r"manifest unknown|manifest for .* not found|no such image|not found: manifest"
        r"|repository .* not found|name unknown|does not exist or may require|invalid reference format",
        "there is no such image: {said}",
        "check its name and tag (docker_env in MLproject, --docker-image, PROJRUN_DOCKER_BASE_IMAGE)",
    ),
    (
        r"container-init binary not found",
        "Podman has no init program for containers",
        "install it (Debian and Ubuntu: apt install catatonit)",
    ),
    (
        r"unable to upgrade to tcp",
        "Podman could not start the container, and does not say why ({said})",
        "without root it may be its network: -A network=host does without, slirp4netns makes one",
    ),
    (
        r"could not select device driver|nvidia-container|gpu",
        "the container engine has no such GPU: {said}",
        "install the NVIDIA container toolkit, or leave -A gpus=… out",
    ),
)
"""Pattern, message and hint; the first found counts. {address}: of the engine, {said}: its own words."""
DEFAULT_HINT = "see what docker_env and -A ask of it; the engine's own log may tell more"


DEFAULT_ADDRESS = "unix:///var/run/docker.sock"
RUN_LABEL = "projrun.run"
"""On a container: the id of the run that it belongs to."""
FRESH_S = 1.0
"""How long it counts that an image is there."""
_TARGET = r"(?a)[\w./:@?=&%-]+"
"""What may be asked for over HTTP as it is."""
SIOCGIFADDR = 0x8915
"""Linux: the address of a network device."""


_image_seen: dict[str, float] = {}
"""Ids of images that the engine has -> when it said so."""
_is_docker: dict[str, bool] = {}
"""Paths of sockets -> whether Docker itself answered there."""


class EngineError(ProjrunError):
    """The engine is not there, or refuses."""


def address() -> str:
    """The engine's address: of DOCKER_HOST, or of the context that the `docker` program uses."""
    return os.environ.get("DOCKER_HOST") or _address_of_context() or DEFAULT_ADDRESS


def _address_of_context() -> str:
    """Where Docker without root, or Docker Desktop, listens; empty: at the usual place."""
    place = os.environ.get("DOCKER_CONFIG") or os.path.expanduser("~/.docker")
    context = os.environ.get("DOCKER_CONTEXT") or _read_docker_file(f"{place}/config.json").get(
        "currentContext"
    )
    if not context or context == "default":
        return ""
    from projrun.disk.file_operations import sha256_text

    facts = _read_docker_file(f"{place}/contexts/meta/{sha256_text(context)}/meta.json")
    if not facts:
        hint = "see `docker context ls`, and choose one with `docker context use NAME`"
        raise EngineError(f"the docker context '{context}' is not there", hint)
    return str(facts.get("Endpoints", {}).get("docker", {}).get("Host", ""))


def _read_docker_file(path: str) -> Any:
    """Of a file of the docker program; nothing where it cannot be read."""
    try:
        with open(path, "rb") as file:
            return msgspec.json.decode(file.read())
    except (OSError, msgspec.DecodeError):
        return {}


def find_docker() -> str:
    """The path of the `docker` program, which Podman's `podman-docker` has too."""
    for directory in os.environ.get("PATH", os.defpath).split(os.pathsep):  # shutil.which, without its import
        path = os.path.join(directory, "docker")
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    raise UnavailableError(
        "running in containers takes the docker program, which is not on the PATH",
        "install it (Debian and Ubuntu: apt install docker.io), or use --env-manager uv or local",
    )


def docker_argv(*arguments: str) -> list[str]:
    """The argv of a docker command for our engine, whatever context is configured."""
    return [find_docker(), "--host", address(), *arguments]


def run_docker(*arguments: str, stdin: bytes = b"") -> ProgramResult:
    """Run a docker command to its end."""
    return run_program(docker_argv(*arguments), stdin=stdin)


def inspect_image(name: str) -> Any | None:
    """What the engine knows of the image of this name or id; None when it has none."""
    facts = _inspect(f"/images/{name}/json", "image", "inspect", name)
    if facts is not None:
        _image_seen[read_image_id(facts)] = time.monotonic()
    return facts


def read_image_id(facts: Any) -> str:
    """Of an image, as Docker has it: Podman leaves out what kind of digest it is."""
    return f"sha256:{str(facts['Id']).removeprefix('sha256:')}"


def has_image(image_id: str) -> bool:
    """Whether the engine has the image. One that it told of a moment ago is not asked for again."""
    told_at = _image_seen.get(image_id)
    recent = told_at is not None and time.monotonic() - told_at < FRESH_S
    return recent or inspect_image(image_id) is not None


def list_images(label: str) -> list[Any]:
    """What the engine knows of every image that has the label."""
    if address().startswith("unix://"):
        from urllib.parse import quote

        filters = quote(f'{{"label": ["{label}"]}}')
        return _inspect(f"/images/json?filters={filters}") or []
    asked = run_docker("image", "ls", "--quiet", "--no-trunc", "--filter", f"label={label}")
    if not asked.ok:
        raise engine_error(asked.stderr)
    return [facts for name in dict.fromkeys(asked.stdout.split()) if (facts := inspect_image(name))]


def list_containers(label: str) -> list[str]:
    """Ids of the containers that have the label, whether they run or not."""
    asked = run_docker("ps", "--all", "--quiet", "--no-trunc", "--filter", f"label={label}")
    if not asked.ok:
        raise engine_error(asked.stderr)
    return asked.stdout.split()


def docker_socket() -> str:
    """Path of the socket at which Docker itself has answered this process; empty: there is none."""
    path = address().removeprefix("unix://")
    return path if _is_docker.get(path) else ""


def inspect_container(name: str) -> Any | None:
    return _inspect(f"/containers/{name}/json", "container", "inspect", name)


def inspect_network(name: str) -> Any | None:
    return _inspect(f"/networks/{name}", "network", "inspect", name)


def read_info() -> Any:
    return _inspect("/info", "info")


def find_gateway() -> str:
    """This machine's address on the engine's default network; empty: it has none."""
    for name in ("bridge", "podman"):
        if facts := inspect_network(name):
            return network_gateway(facts)
    return ""


def network_gateway(facts: Any) -> str:
    if facts.get("Driver") != "bridge" or not address().startswith("unix://"):
        return ""
    ranges = (facts.get("IPAM") or {}).get("Config") or []
    addresses = [range_.get("Gateway") or _first_address(range_.get("Subnet", "")) for range_ in ranges]
    return next((found.split("/")[0] for found in addresses if "." in found), "")


def find_device(address: str) -> str:
    """The network device of this machine that has the address; empty: none has.

    That of an engine in a virtual machine is there; Podman's is made when its first container starts.
    """
    import fcntl

    wanted = _socket.inet_aton(address)
    with closing(_socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM)) as asked:
        for _, name in _socket.if_nameindex():
            try:
                facts = fcntl.ioctl(asked, SIOCGIFADDR, name.encode().ljust(256, b"\0"))
            except OSError:  # it has no address
                continue
            if facts[20:24] == wanted:
                return name
    return ""


def _first_address(subnet: str) -> str:
    """The first address of a subnet, which is the gateway's unless told otherwise."""
    import ipaddress

    return str(ipaddress.ip_network(subnet)[1]) if subnet else ""


def _inspect(path: str, *arguments: str) -> Any | None:
    """One question: of about a millisecond at a socket, of a process elsewhere."""
    where = address()
    if where.startswith("unix://"):
        if not re.fullmatch(_TARGET, path):
            raise EngineError(f"'{arguments[-1]}' is no name that an engine knows", "check how it is written")
        told = _send(f"GET {path}", where.removeprefix("unix://"))
        if told.status == 404 or 300 <= told.status < 400:  # a path that it would write otherwise
            return None
        if told.status >= 400:
            raise reply_error(told)
        return msgspec.json.decode(told.body) if told.body else {}
    asked = run_docker(*arguments, "--format", "{{json .}}")
    if asked.ok:
        return msgspec.json.decode(asked.stdout)
    if re.search("no such (?!host)|not found", asked.stderr, re.IGNORECASE):
        return None
    raise engine_error(asked.stderr)


def _send(request: str, path: str) -> Reply:
    try:
        with closing(EngineRequest(path, request)) as question:
            reply = question.answer(TIMEOUT_S)
    except PermissionError:
        raise engine_error("permission denied on the socket") from None
    except OSError as error:
        raise engine_error(f"cannot connect: {error.strerror or error}") from None
    except ValueError:
        raise EngineError(
            f"what answers at {address()} is not a container engine", "check DOCKER_HOST"
        ) from None
    _is_docker[path] = reply.server.startswith("Docker/")
    return reply


def remove_run_containers(run_id: str) -> None:
    """End and remove every container that a lost run left. No engine, no containers."""
    try:
        if found := list_containers(f"{RUN_LABEL}={run_id}"):
            run_docker("rm", "--force", "--volumes", *found)
    except (EngineError, UnavailableError, LaunchError):
        return


def reply_error(reply: Reply) -> EngineError:
    """A refusal of the engine's own."""
    try:
        said = str(msgspec.json.decode(reply.body)["message"])
    except (msgspec.DecodeError, KeyError, TypeError):
        said = reply.body.decode(errors="replace").strip()
    return engine_error(said or f"status {reply.status}")


def engine_error(said: str) -> EngineError:
    """What an engine or its program said, as an error of one line with the next step."""
    plain = one_line(re.sub(r"^(docker: )?(Error response from daemon: )?", "", said.strip()), 300)
    for pattern, message, hint in REFUSALS:
        if re.search(pattern, said, re.IGNORECASE | re.DOTALL):
            return EngineError(message.format(address=address(), said=plain.rstrip(".")), hint)
    return EngineError(f"the container engine refuses: {plain.rstrip('.')}", DEFAULT_HINT)
