"""Images of the container engine: pull, build, list and remove them, and read what is in them.

The engine's SDK is imported to pull and to build only; other questions ask the engine's socket.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TextIO

import msgspec

from projrun import engine
from projrun.console import is_quiet, is_terminal, one_line, say
from projrun.console.progress import Progress
from projrun.engine import WORKDIR, EngineError
from projrun.environments.contents import normal
from projrun.errors import BuildError, UnavailableError
from projrun.net import is_offline
from projrun.plan import Container
from projrun.processes import defer_signals
from projrun.record import Package

if TYPE_CHECKING:
    from docker import DockerClient


LAST_LINES = 4  # number of output lines of a failed step that its error quotes

_ERROR_WORDS = re.compile(r"\b(error|failed|fatal|not found|no such|cannot|unable|denied)\b", re.IGNORECASE)
_COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_RUNNING = "---> Running in "


class EngineMessages:
    """The messages that an engine sends during one pull or build."""

    def __init__(self, log: TextIO, progress: Progress | None = None) -> None:
        """progress: shows the bytes of the layers that have arrived."""
        self._log = log
        self._progress = progress
        self._shows = is_terminal(sys.stderr) and not is_quiet()
        self._layers: dict[str, tuple[int, int]] = {}
        self._pieces: list[str] = []

    @property
    def output(self) -> str:
        """The output of the build's steps."""
        return "".join(self._pieces)

    def handle(self, message: Mapping[str, Any]) -> None:
        """Log and show a message. Raises EngineError for a failure."""
        # A message is an error, text of a build, or the state of a layer that is downloaded.
        if problem := message.get("error"):
            raise engine.engine_error(str(problem))
        if piece := message.get("stream"):
            self._pieces.append(str(piece))
            self._show(_COLOURS.sub("", str(piece)))
        elif detail := message.get("progressDetail"):
            if message.get("status") == "Downloading":
                self._count(str(message.get("id")), detail.get("current") or 0, detail.get("total") or 0)
        elif text := str(message.get("status") or "").rstrip():
            self._log.write(f"{text}\n")

    def container(self) -> str:
        """Return the id of the last step's container; empty without one."""
        ids = re.findall(rf"{_RUNNING}(\w+)", self.output)
        return ids[-1] if ids else ""

    def failure(self, error: engine.EngineError) -> BuildError | engine.EngineError:
        """Return the error of a failed build with its step's output."""
        # The engine's own error is only that a command returned a code that is not zero.
        if "returned a non-zero code" not in error.message:
            return error
        before, _, last = _COLOURS.sub("", self.output).rpartition(_RUNNING)
        step = (re.findall(r"^Step \d+/\d+ : (.*)", before, re.MULTILINE) or ["a step"])[-1]
        last = re.sub(r"Removing intermediate container.*", "", last.partition("\n")[2])
        plain = _relevant_lines(re.sub(r"[│├╰─▶×]", "", last)) or error.message
        if re.search(r"no space left|disk quota|\(os error 28\)", plain, re.IGNORECASE):
            return engine.engine_error("no space left")
        return BuildError(
            f"the image could not be built: {one_line(step, 80)}: {one_line(plain, 400)}",
            "correct it, then run it again",
        )

    def _show(self, piece: str) -> None:
        self._log.write(piece)
        if self._shows:
            sys.stderr.write(piece)
            sys.stderr.flush()

    def _count(self, layer: str, current: int, total: int) -> None:
        if self._progress is None:
            return
        before = self._layers.get(layer, (0, 0))[0]
        self._layers[layer] = current, total
        self._progress.total = sum(size for _, size in self._layers.values())
        self._progress.add(max(0, current - before))


def _relevant_lines(output: str) -> str:
    """Return the output from `error:` on, or the last lines with a word for an error, or the last lines."""
    if error := re.search(r"^\W*(?:error|E):.*", output, re.DOTALL | re.MULTILINE | re.IGNORECASE):
        return error[0]
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if _ERROR_WORDS.search(line)]
    return " | ".join((errors or lines)[-LAST_LINES:])


KEY_LABEL = "projrun.environment"  # label of an image: the key of its environment
DOCKERFILE_NAME = ".projrun.Dockerfile"  # name of our Dockerfile in a context with the project's files
STAGE_LABEL = "projrun.stage"  # label of intermediate images: the name of their build
TIMEOUT_S = 600
REPOSITORY = "projrun-environment"  # repository of the environments' images

_logins: list[dict[str, str]] = []


class Image(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    name: str
    digest: str  # `name@sha256:…`; empty for an image that no registry has
    labels: dict[str, str] = {}
    # Names of the image, without the registry that an engine puts before a name that has none
    tags: tuple[str, ...] = ()
    size: int = 0  # bytes, including shared layers
    created: float = 0.0  # seconds since the epoch
    architecture: str = ""  # such as `amd64`; empty for an image from a list

    @property
    def pin(self) -> str:
        return self.digest or self.id


def log_in(account: Mapping[str, str]) -> None:
    """Log in to a registry; this process then pulls with the account.

    account: username, password and registry, as the SDK's `login` takes them.
    """
    with client() as sdk:
        sdk.login(**{**account, "reauth": True})
    _logins.append(dict(account))


def find_or_pull(name: str, log: Path) -> Image:
    """Return the image of a name, digest or id, pulling it if necessary. Raises EngineError or BuildError."""
    if image := find_image(name):
        return image
    if name.startswith("sha256:"):
        raise BuildError(
            f"the image {name[:19]}… is not on this machine, and no registry knows it",
            "build or load it again, then remove the kept lock with the cache (PROJRUN_CACHE_DIR)",
        )
    _pull(name, log)
    if image := find_image(name):
        return image
    raise BuildError(f"the image {name} is not there although it was pulled", "run it again")


def find_image(name: str) -> Image | None:
    facts = engine.inspect_image(name)
    return None if facts is None else _parse_image(facts, name)


def find_labels(name: str) -> Mapping[str, str] | None:
    image = find_image(name)
    return image.labels if image else None


def _parse_image(facts: dict[str, Any], name: str = "") -> Image:
    tags, digests = (
        [text for text in facts.get(names) or [] if not text.startswith("<none>")]
        for names in ("RepoTags", "RepoDigests")
    )
    repository = re.sub(r"(@sha256:.*|:[\w.-]+)$", "", name)
    digests = [digest for digest in digests if not digest.startswith("localhost/")]  # Podman's for its own
    own = [digest for digest in digests if digest.split("@")[0] == repository]
    config = facts.get("Config") or {}
    return Image(
        id=engine.read_image_id(facts),
        name=name or (tags[0] if tags else ""),
        digest=next(iter(own or ([] if name.startswith("sha256:") else digests)), ""),
        labels=config.get("Labels") or facts.get("Labels") or {},
        tags=tuple(tag.removeprefix("localhost/").removeprefix("docker.io/library/") for tag in tags),
        size=facts.get("Size", 0),
        created=_parse_time(facts.get("Created", 0)),
        architecture=facts.get("Architecture", ""),
    )


def _parse_time(moment: int | str) -> float:
    """Parse a time of the engine: lists of images hold a number, an image's own facts a text in UTC."""
    if isinstance(moment, int):
        return float(moment)
    from datetime import datetime, timezone

    match = re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", moment)
    return datetime.fromisoformat(match[0]).replace(tzinfo=timezone.utc).timestamp() if match else 0.0


def _pull(name: str, log: Path) -> None:
    say(f"pulling the image {name}")
    registry = name.split("/")[0] if re.match(r"[^/]*[.:][^/]*/|localhost/", name) else ""
    account = next((login for login in _logins if login.get("registry", "") in (registry, "")), None)
    if is_offline():
        raise BuildError(
            f"the image {name} is not here, and --offline forbids to pull it", "pull it beforehand"
        )
    with client() as sdk, log.open("a") as lines, Progress(name, "pulling") as progress:
        repository, tag = _split_name(name)
        auth = {"auth_config": dict(account)} if account else {}
        messages = EngineMessages(lines, progress)
        for message in sdk.api.pull(repository, tag=tag, stream=True, decode=True, **auth):
            messages.handle(message)


def _split_name(name: str) -> tuple[str, str]:
    """Split a name into repository, and tag or digest."""
    repository, at, digest = name.partition("@")
    if at:
        return repository, digest
    head, slash, last = name.rpartition("/")  # a colon in `head` is before the registry's port
    last, _, tag = last.partition(":")
    return f"{head}{slash}{last}", tag or "latest"


def build_dockerfile(context: Path, log: Path, *, dockerfile: str = "Dockerfile", **options: Any) -> Image:
    """Build a Dockerfile, whose path is relative to `context`. options: as the SDK's `build` takes them."""
    return _build(log, path=str(context), dockerfile=dockerfile, **options)


def _build(log: Path, **options: Any) -> Image:
    with client() as sdk, log.open("a") as lines:
        messages = EngineMessages(lines)
        try:
            for message in sdk.api.build(rm=True, forcerm=True, decode=True, **options):
                messages.handle(message)
        except EngineError as error:
            raise messages.failure(error) from None
        except KeyboardInterrupt:  # the engine itself ends the step only when it notices that we are gone
            with defer_signals():
                if container := messages.container():
                    engine.run_docker("rm", "--force", "--volumes", container)
            raise
    ids = re.findall(r"Successfully built (\w+)", messages.output)
    image = find_image(ids[-1]) if ids else None
    if image is None:
        raise BuildError("the engine built no image", f"see the log {log}")
    return image


def build_with_tree(base: str, tree: Path, tag: str, labels: Mapping[str, str], owner: str, log: Path) -> str:
    """Build the image as `ContainerImages` says; the tree lies where mlflow has it. .dockerignore counts."""
    say(f"building the image {tag} with the project in it")
    # COPY comes first: WORKDIR would create the directory as root.
    text = f"FROM {base}\nCOPY --chown={owner} . {WORKDIR}/\nWORKDIR {WORKDIR}\n"
    inherited = find_labels(base) or {}
    given = {name: value for name, value in labels.items() if value or inherited.get(name)}
    given |= {name: "" for name in inherited if name.startswith("projrun.")}
    with _pack_context(tree, text) as archive:
        image = _build(
            log, fileobj=archive, custom_context=True, dockerfile=DOCKERFILE_NAME, tag=tag, labels=given
        )
    return image.id


def _pack_context(tree: Path, dockerfile: str) -> IO[bytes]:
    """Pack the tree with a Dockerfile that is not in it."""
    # The SDK can do so when it builds, but in a way that Podman does not understand.
    from docker.utils.build import tar

    ignore = tree / ".dockerignore"
    lines = ignore.read_text().splitlines() if ignore.is_file() else []
    excluded = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    archive: IO[bytes] = tar(str(tree), exclude=excluded, dockerfile=(DOCKERFILE_NAME, dockerfile))
    return archive


def find_environment_image(key: str) -> Image | None:
    """Return the image that was built for the key, or None."""
    return next((image for image in list_environment_images() if image.labels[KEY_LABEL] == key), None)


def list_environment_images() -> list[Image]:
    """List the images that were built for environments.

    An image that is made from one inherits its labels, so the name must be an environment's too.
    """
    return [
        image for image in list_labelled(KEY_LABEL) if f"{REPOSITORY}:{image.labels[KEY_LABEL]}" in image.tags
    ]


def list_labelled(label: str) -> list[Image]:
    return [_parse_image(facts) for facts in engine.list_images(label)]


def remove(image_id: str) -> None:
    """Remove an image and the intermediate images under it, but not its base.

    Raises EngineError while a container uses it.
    """
    parents = list(_stage_images(image_id))
    _remove(image_id)
    for parent in parents:
        with suppress(EngineError):  # Podman has removed it with the first
            _remove(parent.id)


def _stage_images(image_id: str) -> Iterator[Image]:
    facts = engine.inspect_image(image_id)
    while facts and (parent := engine.inspect_image(facts.get("Parent") or "none")):
        image = _parse_image(parent)
        if not image.labels.get(STAGE_LABEL):
            return
        yield image
        facts = parent


def _remove(image_id: str) -> None:
    with client() as sdk:
        sdk.api.remove_image(image_id, noprune=True)


@contextmanager
def client() -> Iterator[DockerClient]:
    """Open the engine's SDK, whose import costs a tenth of a second. Its errors become errors of one line."""
    try:
        import docker
        from docker.errors import APIError, DockerException
        from requests.exceptions import RequestException
    except ImportError:
        hint = "install it: pip install docker"
        raise UnavailableError("the Python package docker is missing", hint) from None
    sdk: DockerClient | None = None
    try:
        sdk = docker.DockerClient(base_url=engine.address(), timeout=TIMEOUT_S)
        yield sdk
    except APIError as error:
        raise engine.engine_error(error.explanation or str(error)) from None
    except (DockerException, RequestException) as error:
        raise engine.engine_error(str(error)) from None
    finally:
        if sdk is not None:
            sdk.close()


class ImageContents(msgspec.Struct, frozen=True):
    shell: str
    libc: str = ""  # `glibc 2.36`, or `glibc` if its version is unknown; empty for another libc
    python: str = ""  # exact version of the first Python on the PATH; empty without one
    program: str = ""  # name of that Python's program: python3 or python
    platform: str = ""  # uv's name of the platform, such as `x86_64-manylinux_2_36`; empty without Python
    packages: tuple[Package, ...] = ()  # packages of that Python
    by_uv: tuple[str, ...] = ()  # names of the packages that uv installed


def inspect_contents(image: Image) -> ImageContents:
    """Read the contents in a container of the image. Raises EngineError or BuildError."""
    options = ["--rm", "--network", "none", "--pull", "never", "--entrypoint", "sh"]
    answer = engine.run_docker("run", *options, image.id, "-c", _SHELL_PROBE, "sh", _PYTHON_PROBE)
    if re.search(r'exec: "sh"|executable file.*not found', answer.stderr):
        raise BuildError(
            f"the image {image.name} has no shell, which runs the project's command",
            "use an image that has sh or bash",
        )
    if not answer.ok:
        raise engine.engine_error(answer.stderr or answer.stdout)
    shell, libc, program, report = (*answer.stdout.split("\n", 3), "", "", "")[:4]
    if not report.strip():
        return ImageContents(shell=shell, libc=libc)
    facts = msgspec.json.decode(report)
    rows = {normal(name): (version, installer) for name, version, installer in facts.pop("packages")}
    packages = tuple(Package(name, version) for name, (version, _) in sorted(rows.items()))
    by_uv = tuple(name for name, (_, installer) in sorted(rows.items()) if installer == "uv")
    return ImageContents(shell=shell, libc=libc, program=program, packages=packages, by_uv=by_uv, **facts)


_SHELL_PROBE = """
command -v bash >/dev/null && echo bash || echo sh
loader() { for file in /lib*/ld-linux*; do [ -e "$file" ] && echo glibc; break; done; }
getconf GNU_LIBC_VERSION 2>/dev/null || { libc=$(loader); echo "$libc"; }
for program in python3 python; do
    if command -v $program >/dev/null; then echo $program; $program -I -c "$1"; exit 0; fi
done
"""
_PYTHON_PROBE = """
import json, platform, sys
try:
    from importlib.metadata import distributions
    packages = [(d.metadata["Name"], d.version, (d.read_text("INSTALLER") or "").strip())
             for d in distributions() if d.metadata["Name"]]
except ImportError:
    packages = []
name, version = platform.libc_ver()
libc = "manylinux_" + version.replace(".", "_") if name == "glibc" else "unknown-linux-musl"
print(json.dumps({"python": "%d.%d.%d" % sys.version_info[:3], "packages": packages,
                  "platform": platform.machine().replace("arm64", "aarch64") + "-" + libc}))
"""


_FILE = "image.json"


class ImageEnvironment(msgspec.Struct, frozen=True, kw_only=True):
    engine: str
    container: Container
    packages: tuple[Package, ...]
    variables: dict[str, str] = {}  # variables to set for a process in a container of it


def read_environment(dest: Path) -> ImageEnvironment:
    return msgspec.json.decode((dest / _FILE).read_bytes(), type=ImageEnvironment)


def write_environment(dest: Path, environment: ImageEnvironment) -> None:
    (dest / _FILE).write_bytes(msgspec.json.encode(environment))
