"""The container engine: its address, requests to it, and its refusals as errors of one line.

It is Docker, or another that speaks its API, such as Podman. Questions go to its socket, which takes 1 ms;
commands, and engines at other addresses, need the `docker` program. The client of the socket is our own,
because http.client takes longer to import than most requests last.
"""

from __future__ import annotations

import _socket  # imports in a third of the time of `socket`
import os
import re
import time
from collections.abc import Sequence
from contextlib import closing
from typing import Any

import msgspec

from projrun.console import one_line
from projrun.errors import LaunchError, ProjrunError, UnavailableError
from projrun.processes.programs import ProgramResult, run_program

# Pattern, message and hint; the first match counts. {address}: of the engine, {said}: its own words.
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
DEFAULT_HINT = "see what docker_env and -A ask of it; the engine's own log may tell more"

WORKDIR = "/mlflow/projects/code"  # the project's directory in a container, as mlflow has it
DEFAULT_ADDRESS = "unix:///var/run/docker.sock"
RUN_LABEL = "projrun.run"  # label of a container: the id of the run that it belongs to
FRESH_S = 1.0  # time for which an image that the engine has shown is taken to exist
_TARGET = r"(?a)[\w./:@?=&%-]+"  # match a target that needs no quoting in an HTTP request
SIOCGIFADDR = 0x8915  # number of Linux's ioctl that reads the address of a network device (netdevice(7))


_image_seen: dict[str, float] = {}  # ids of images -> monotonic time at which the engine last showed them
_is_docker: dict[str, bool] = {}  # paths of sockets -> True if Docker itself answered there


class EngineError(ProjrunError):
    """The engine does not answer, or refuses."""


def address() -> str:
    """Return the engine's address: DOCKER_HOST, or that of the context that the `docker` program uses."""
    return os.environ.get("DOCKER_HOST") or _address_of_context() or DEFAULT_ADDRESS


def _address_of_context() -> str:
    """Return the context's address, as rootless Docker and Docker Desktop set it; empty for the default."""
    directory = os.environ.get("DOCKER_CONFIG") or os.path.expanduser("~/.docker")
    context = os.environ.get("DOCKER_CONTEXT") or _read_docker_file(f"{directory}/config.json").get(
        "currentContext"
    )
    if not context or context == "default":
        return ""
    from projrun.disk.file_operations import sha256_text

    facts = _read_docker_file(f"{directory}/contexts/meta/{sha256_text(context)}/meta.json")
    if not facts:
        hint = "see `docker context ls`, and choose one with `docker context use NAME`"
        raise EngineError(f"the docker context '{context}' is not there", hint)
    return str(facts.get("Endpoints", {}).get("docker", {}).get("Host", ""))


def _read_docker_file(path: str) -> Any:
    """Read a JSON file of the docker program; return {} if it cannot be read."""
    try:
        with open(path, "rb") as file:
            return msgspec.json.decode(file.read())
    except (OSError, msgspec.DecodeError):
        return {}


def find_docker() -> str:
    """Return the path of the `docker` program, which Podman's `podman-docker` has too."""
    for directory in os.environ.get("PATH", os.defpath).split(os.pathsep):  # importing shutil costs more
        path = os.path.join(directory, "docker")
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    raise UnavailableError(
        "running in containers takes the docker program, which is not on the PATH",
        "install it (Debian and Ubuntu: apt install docker.io), or use --env-manager uv or local",
    )


def docker_argv(*arguments: str) -> list[str]:
    """Return the argv of a docker command for our engine, whatever context is configured."""
    return [find_docker(), "--host", address(), *arguments]


def run_docker(*arguments: str) -> ProgramResult:
    return run_program(docker_argv(*arguments))


def inspect_image(name: str) -> Any | None:
    """Return the engine's facts about the image of this name or id, or None if it has none."""
    facts = _inspect(f"/images/{name}/json", "image", "inspect", name)
    if facts is not None:
        _image_seen[read_image_id(facts)] = time.monotonic()
    return facts


def read_image_id(facts: Any) -> str:
    """Return the id of an image with its `sha256:`, which Podman leaves out."""
    return f"sha256:{str(facts['Id']).removeprefix('sha256:')}"


def has_image(image_id: str) -> bool:
    """Tell whether the engine has the image. The answer of a moment ago is not asked for again."""
    seen_at = _image_seen.get(image_id)
    recent = seen_at is not None and time.monotonic() - seen_at < FRESH_S
    return recent or inspect_image(image_id) is not None


def list_images(label: str) -> list[Any]:
    """Return the engine's facts about every image that has the label."""
    if address().startswith("unix://"):
        from urllib.parse import quote

        filters = quote(f'{{"label": ["{label}"]}}')
        return _inspect(f"/images/json?filters={filters}") or []
    asked = run_docker("image", "ls", "--quiet", "--no-trunc", "--filter", f"label={label}")
    if not asked.ok:
        raise engine_error(asked.stderr)
    return [facts for name in dict.fromkeys(asked.stdout.split()) if (facts := inspect_image(name))]


def list_containers(label: str) -> list[str]:
    """Return the ids of the containers, running or not, that have the label."""
    asked = run_docker("ps", "--all", "--quiet", "--no-trunc", "--filter", f"label={label}")
    if not asked.ok:
        raise engine_error(asked.stderr)
    return asked.stdout.split()


def docker_socket() -> str:
    """Return the path of the socket at which Docker itself has answered this process; empty without one."""
    path = address().removeprefix("unix://")
    return path if _is_docker.get(path) else ""


def inspect_container(name: str) -> Any | None:
    return _inspect(f"/containers/{name}/json", "container", "inspect", name)


def inspect_network(name: str) -> Any | None:
    return _inspect(f"/networks/{name}", "network", "inspect", name)


def read_info() -> Any:
    return _inspect("/info", "info")


def find_gateway() -> str:
    """Return this machine's address on the engine's default network, or '' if it has none.

    The endpoint of a run in a container listens there instead of on loopback.
    """
    for name in ("bridge", "podman"):
        if facts := inspect_network(name):
            return network_gateway(facts)
    return ""


def network_gateway(facts: Any) -> str:
    if facts.get("Driver") != "bridge" or not address().startswith("unix://"):
        return ""
    ranges = (facts.get("IPAM") or {}).get("Config") or []
    addresses = [range_.get("Gateway") or _first_address(range_.get("Subnet", "")) for range_ in ranges]
    return next((text.split("/")[0] for text in addresses if "." in text), "")


def find_device(address: str) -> str:
    """Return the network device of this machine that has the address, or ''.

    The device of an engine in a virtual machine is not here; Podman creates its own with the first container.
    """
    import fcntl

    packed = _socket.inet_aton(address)
    with closing(_socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM)) as asked:
        for _, name in _socket.if_nameindex():
            try:
                facts = fcntl.ioctl(asked, SIOCGIFADDR, name.encode().ljust(256, b"\0"))
            except OSError:  # the device has no address
                continue
            if facts[20:24] == packed:  # sin_addr of struct ifreq
                return name
    return ""


def _first_address(subnet: str) -> str:
    """Return the first address of a subnet, which is the gateway's unless the network names another."""
    import ipaddress

    return str(ipaddress.ip_network(subnet)[1]) if subnet else ""


def _inspect(path: str, *arguments: str) -> Any | None:
    """Return facts from the socket, in about a millisecond; at other addresses from a docker command."""
    base_url = address()
    if base_url.startswith("unix://"):
        if not re.fullmatch(_TARGET, path):
            raise EngineError(f"'{arguments[-1]}' is no name that an engine knows", "check how it is written")
        reply = _send(f"GET {path}", base_url.removeprefix("unix://"))
        if reply.status == 404 or 300 <= reply.status < 400:  # it redirects a name such as `a//b`
            return None
        if reply.status >= 400:
            raise reply_error(reply)
        return msgspec.json.decode(reply.body) if reply.body else {}
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
    """Kill and remove every container that a lost run left, if an engine answers."""
    try:
        if ids := list_containers(f"{RUN_LABEL}={run_id}"):
            run_docker("rm", "--force", "--volumes", *ids)
    except (EngineError, UnavailableError, LaunchError):
        return


def reply_error(reply: Reply) -> EngineError:
    """Return the error of a reply with an error status."""
    try:
        message = str(msgspec.json.decode(reply.body)["message"])
    except (msgspec.DecodeError, KeyError, TypeError):
        message = reply.body.decode(errors="replace").strip()
    return engine_error(message or f"status {reply.status}")


def engine_error(said: str) -> EngineError:
    """Return a message of the engine or its program as an error of one line with the next step."""
    plain = one_line(re.sub(r"^(docker: )?(Error response from daemon: )?", "", said.strip()), 300)
    for pattern, message, hint in REFUSALS:
        if re.search(pattern, said, re.IGNORECASE | re.DOTALL):
            return EngineError(message.format(address=address(), said=plain.rstrip(".")), hint)
    return EngineError(f"the container engine refuses: {plain.rstrip('.')}", DEFAULT_HINT)


# HTTP at the engine's Unix socket

CHUNK = 1 << 16
TIMEOUT_S = 60  # time that an engine gets to accept a request, and to answer a question about its state
_END_OF_HEAD = b"\r\n\r\n"


class Reply(msgspec.Struct, frozen=True):
    status: int
    body: bytes
    server: str  # the Server header, such as `Docker/28.2.2 (linux)`


class EngineRequest:
    """A request on a connection of its own, and the part of its answer that has arrived.

    After a time-out, `answer` may be called again.
    """

    def __init__(self, path: str, request: str, body: bytes = b"", *, upgrade: bool = False) -> None:
        """Send it. Raises OSError.

        request: such as `GET /info`. upgrade: the connection is a stream of bytes after the answer's head.
        """
        # An answer to HTTP/1.0 ends with the connection, and so needs no parser of its length.
        version, headers = ("1.1", "Connection: Upgrade\r\nUpgrade: tcp\r\n") if upgrade else ("1.0", "")
        self.channel = _socket.socket(_socket.AF_UNIX)
        self._received = b""
        self._at_end = False
        self.channel.settimeout(TIMEOUT_S)
        try:
            self.channel.connect(path)
            self.channel.sendall(
                f"{request} HTTP/{version}\r\nHost: engine\r\nContent-Type: application/json\r\n"
                f"Content-Length: {len(body)}\r\n{headers}\r\n".encode()
                + body
            )
        except BaseException:
            self.channel.close()
            raise

    def is_accepted(self, timeout_s: float | None) -> bool:
        """Wait for the answer's head and tell whether it is a success. Raises as `answer` does."""
        return self._status(timeout_s) < 400

    def answer(self, timeout_s: float | None) -> Reply:
        """Wait for the answer. Raises TimeoutError, another OSError, or ValueError if it is not HTTP."""
        deadline = _deadline(timeout_s)
        status = self._status(timeout_s)
        while not self._at_end:
            self._receive(deadline)
        self.close()
        head, _, body = self._received.partition(_END_OF_HEAD)
        if b"transfer-encoding: chunked" in head.lower():
            body = _unchunked(body)
        lines = (line.partition(b":") for line in head.split(b"\r\n"))
        server = next((value for name, _, value in lines if name.lower() == b"server"), b"")
        return Reply(status, body, server.decode("latin-1").strip())

    def close(self) -> None:
        self.channel.close()

    def _status(self, timeout_s: float | None) -> int:
        deadline = _deadline(timeout_s)
        while _END_OF_HEAD not in self._received and not self._at_end:
            self._receive(deadline)
        if not self._received:
            raise ConnectionResetError(0, "the engine closed the connection before it answered")
        return int((self._received.split(None, 2)[1:2] or [b"none"])[0])

    def _receive(self, deadline: float | None) -> None:
        self.channel.settimeout(None if deadline is None else max(deadline - time.monotonic(), 1e-6))
        chunk = self.channel.recv(CHUNK)
        self._received += chunk
        self._at_end = not chunk


def _deadline(timeout_s: float | None) -> float | None:
    return None if timeout_s is None else time.monotonic() + timeout_s


def _unchunked(body: bytes) -> bytes:
    """Join the chunks of a body. Some engines send chunks even to a request of HTTP/1.0."""
    joined = b""
    while body:
        size, _, body = body.partition(b"\r\n")
        length = int(size.split(b";")[0] or b"0", 16)
        if not length:
            break
        joined, body = joined + body[:length], body[length + 2 :]
    return joined
