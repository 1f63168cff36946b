"""Images: found, pulled, built, listed and removed. Owns the engine's SDK."""

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
from projrun.engine import EngineError
from projrun.errors import BuildError, UnavailableError
from projrun.net import is_offline
from projrun.processes import defer_signals

if TYPE_CHECKING:
    from docker import DockerClient


LAST_LINES = 4
"""How many of a failed step's are told."""

_ALARMING = re.compile(r"\b(error|failed|fatal|not found|no such|cannot|unable|denied)\b", re.IGNORECASE)
_COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_RUNNING = "---> Running in "


class EngineMessages:
    """Messages of one pull or build."""

    def __init__(self, log: TextIO, progress: Progress | None = None) -> None:
        """progress: shows how much of the layers has come."""
        self._log = log
        self._progress = progress
        self._shows = is_terminal(sys.stderr) and not is_quiet()
        self._layers: dict[str, tuple[int, int]] = {}
        self._pieces: list[str] = []

    @property
    def said(self) -> str:
        """By the steps of a build."""
        return "".join(self._pieces)

    def hear(self, message: Mapping[str, Any]) -> None:
        """Raises EngineError when it tells of a failure."""
        if problem := message.get("error"):
            raise engine.engine_error(str(problem))
        if piece := message.get("stream"):
            self._pieces.append(str(piece))
            self._tell(_COLOURS.sub("", str(piece)))
        elif detail := message.get("progressDetail"):
            if message.get("status") == "Downloading":
                self._have(str(message.get("id")), detail.get("current") or 0, detail.get("total") or 0)
        elif text := str(message.get("status") or "").rstrip():
            self._log.write(f"{text}\n")

    def container(self) -> str:
        """Of the step that the build was last in."""
        found = re.findall(rf"{_RUNNING}(\w+)", self.said)
        return found[-1] if found else ""

    def failure(self, error: engine.EngineError) -> BuildError | engine.EngineError:
        """A step that failed says only its code: what its program said before is what people must know."""
        if "returned a non-zero code" not in error.message:
            return error
        before, _, last = _COLOURS.sub("", self.said).rpartition(_RUNNING)
        step = (re.findall(r"^Step \d+/\d+ : (.*)", before, re.MULTILINE) or ["a step"])[-1]
        last = re.sub(r"Removing intermediate container.*", "", last.partition("\n")[2])
        plain = _relevant_lines(re.sub(r"[│├╰─▶×]", "", last)) or error.message
        if re.search(r"no space left|disk quota|\(os error 28\)", plain, re.IGNORECASE):
            return engine.engine_error("no space left")
        return BuildError(
            f"the image could not be built: {one_line(step, 80)}: {one_line(plain, 400)}",
            "mend that, then run it again",
        )

    def _tell(self, piece: str) -> None:
        self._log.write(piece)
        if self._shows:
            sys.stderr.write(piece)
            sys.stderr.flush()

    def _have(self, layer: str, current: int, total: int) -> None:
        if self._progress is None:
            return
        before = self._layers.get(layer, (0, 0))[0]
        self._layers[layer] = current, total
        self._progress.total = sum(size for _, size in self._layers.values())
        self._progress.add(max(0, current - before))


def _relevant_lines(said: str) -> str:
    """From the tool's own word for an error on; or the lines that sound like one; or the last lines."""
    if found := re.search(r"^\W*(?:error|E):.*", said, re.DOTALL | re.MULTILINE | re.IGNORECASE):
        return found[0]
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    alarming = [line for line in lines if _ALARMING.search(line)]
    return " | ".join((alarming or lines)[-LAST_LINES:])


KEY_LABEL = "projrun.environment"
"""On an image: the key of the environment that it is."""
DOCKERFILE_NAME = ".projrun.Dockerfile"
"""Name of a Dockerfile of ours beside somebody's files."""
WORKDIR = "/mlflow/projects/code"
STAGE_LABEL = "projrun.stage"
"""On what a build leaves behind: which build it was."""
TIMEOUT_S = 600
REPOSITORY = "projrun-environment"
"""Of the names of environments' images."""

_logins: list[dict[str, str]] = []


class Image(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    name: str
    digest: str
    """`name@sha256:…`; empty when no registry has it as it is."""
    labels: dict[str, str] = {}
    tags: tuple[str, ...] = ()
    """Its names, without those registries that an engine puts before a name that has none."""
    size: int = 0
    """Bytes, shared layers counted."""
    created: float = 0.0
    """Seconds since the epoch."""
    architecture: str = ""
    """Such as `amd64`; empty where the engine was asked for many."""

    @property
    def pin(self) -> str:
        return self.digest or self.id


def log_in(account: Mapping[str, str]) -> None:
    """Have the engine check an account at a registry; this process then pulls with it.

    account: username, password and registry, as the SDK's `login` takes them.
    """
    with client() as sdk:
        sdk.login(**{**account, "reauth": True})
    _logins.append(dict(account))


def find_or_pull(name: str, log: Path) -> Image:
    """The image of this name, digest or id; pulled if the engine has none. Raises EngineError."""
    if here := find_image(name):
        return here
    if name.startswith("sha256:"):
        raise BuildError(
            f"the image {name[:19]}… is not on this machine, and no registry knows it",
            "build or load it again, then remove the kept lock with the cache (PROJRUN_CACHE_DIR)",
        )
    _pull(name, log)
    if here := find_image(name):
        return here
    raise BuildError(f"the image {name} is not there although it was pulled", "run it again")


def find_image(name: str) -> Image | None:
    facts = engine.inspect_image(name)
    return None if facts is None else _parse_image(facts, name)


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
    """Engines list images with a number, and tell of one with a text in UTC."""
    if isinstance(moment, int):
        return float(moment)
    from datetime import datetime, timezone

    whole = re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", moment)
    return datetime.fromisoformat(whole[0]).replace(tzinfo=timezone.utc).timestamp() if whole else 0.0


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
        talk = EngineMessages(lines, progress)
        for message in sdk.api.pull(repository, tag=tag, stream=True, decode=True, **auth):
            talk.hear(message)


def _split_name(name: str) -> tuple[str, str]:
    """Repository, and tag or digest."""
    if "@" in name:
        repository, _, digest = name.partition("@")
        return repository, digest
    head, slash, last = name.rpartition("/")
    last, _, tag = last.partition(":")
    return f"{head}{slash}{last}", tag or "latest"


def build_dockerfile(context: Path, log: Path, *, dockerfile: str = "Dockerfile", **options: Any) -> Image:
    """The image of a Dockerfile, which is relative to `context`. options: as the SDK's `build` takes them."""
    return _build(log, path=str(context), dockerfile=dockerfile, **options)


def _build(log: Path, **options: Any) -> Image:
    with client() as sdk, log.open("a") as lines:
        talk = EngineMessages(lines)
        try:
            for message in sdk.api.build(rm=True, forcerm=True, decode=True, **options):
                talk.hear(message)
        except EngineError as error:
            raise talk.failure(error) from None
        except KeyboardInterrupt:  # the engine ends it too, when it notices that nobody listens any more
            with defer_signals():
                if container := talk.container():
                    engine.run_docker("rm", "--force", "--volumes", container)
            raise
    done = re.findall(r"Successfully built (\w+)", talk.said)
    image = find_image(done[-1]) if done else None
    if image is None:
        raise BuildError("the engine built no image", f"see the log {log}")
    return image


def build_with_tree(
    base: str, tree: Path, tag: str, labels: Mapping[str, str], owner: str, log: Path
) -> Image:
    """An image `tag` of `base` and the tree, in the directory where mlflow puts it. .dockerignore counts.

    labels: one without a value takes away what the base says there. owner: `UID:GID` of the tree inside.
    """
    say(f"building the image {tag} with the project in it")
    # copied first: the directory would be root's if WORKDIR made it
    text = f"FROM {base}\nCOPY --chown={owner} . {WORKDIR}/\nWORKDIR {WORKDIR}\n"
    inherited = (find_image(base) or Image(id="", name="", digest="")).labels
    given = {name: value for name, value in labels.items() if value or inherited.get(name)}
    given |= {name: "" for name in inherited if name.startswith("projrun.")}
    with _pack_context(tree, text) as archive:
        return _build(
            log, fileobj=archive, custom_context=True, dockerfile=DOCKERFILE_NAME, tag=tag, labels=given
        )


def _pack_context(tree: Path, dockerfile: str) -> IO[bytes]:
    """The tree with a Dockerfile that is not in it. The SDK's own way of that, Podman does not understand."""
    from docker.utils.build import tar

    ignore = tree / ".dockerignore"
    lines = ignore.read_text().splitlines() if ignore.is_file() else []
    excluded = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    archive: IO[bytes] = tar(str(tree), exclude=excluded, dockerfile=(DOCKERFILE_NAME, dockerfile))
    return archive


# the images of environments


def find_environment_image(key: str) -> Image | None:
    """The image that was built for this key."""
    return next((image for image in list_environment_images() if image.labels[KEY_LABEL] == key), None)


def list_environment_images() -> list[Image]:
    """Every image that was built for an environment; not what others made from one, which has its labels."""
    return [image for image in list_labelled(KEY_LABEL) if _own_name(image) in image.tags]


def list_labelled(label: str) -> list[Image]:
    return [_parse_image(facts) for facts in engine.list_images(label)]


def _own_name(image: Image) -> str:
    return f"{REPOSITORY}:{image.labels[KEY_LABEL]}"


def remove(image: Image) -> None:
    """With what its build left under it, not with its base. Raises EngineError while a container uses it."""
    under = list(_stage_images(image))
    _remove(image)
    for below in under:
        with suppress(EngineError):  # Podman took it away with the first
            _remove(below)


def _stage_images(image: Image) -> Iterator[Image]:
    facts = engine.inspect_image(image.id)
    while facts and (below := engine.inspect_image(facts.get("Parent") or "none")):
        image = _parse_image(below)
        if not image.labels.get(STAGE_LABEL):
            return
        yield image
        facts = below


def _remove(image: Image) -> None:
    with client() as sdk:
        sdk.api.remove_image(image.id, noprune=True)


@contextmanager
def client() -> Iterator[DockerClient]:
    """The engine's SDK, whose import costs a tenth of a second; what it raises becomes one line."""
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
