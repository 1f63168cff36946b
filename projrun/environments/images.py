"""Images: found, pulled, built, listed and removed. Owns the engine's SDK."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import msgspec

from projrun import engine
from projrun.errors import BuildError, UnavailableError
from projrun.network import is_offline
from projrun.output import one_line, say

if TYPE_CHECKING:
    from docker import DockerClient

KEY_LABEL = "projrun.environment"
"""On an image: the key of the environment that it is."""
OURS = ".projrun.Dockerfile"
"""Name of a Dockerfile of ours beside somebody's files."""
WORKDIR = "/mlflow/projects/code"
STAGE_LABEL = "projrun.stage"
"""On what a build leaves behind: which build it was."""
TIMEOUT_S = 600
ABANDONED = "1h"
"""After how long the rest of a build belongs to one that was killed."""

LAST_LINES = 4
"""How many of a failed step's are told."""

_ALARMING = re.compile(r"\b(error|failed|fatal|not found|no such|cannot|unable|denied)\b", re.IGNORECASE)
_COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_logins: list[dict[str, str]] = []


class Image(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    name: str
    digest: str
    """`name@sha256:…`; empty when no registry has it as it is."""
    labels: dict[str, str] = {}
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


def found(name: str, log: Path) -> Image:
    """The image of this name, digest or id; pulled if the engine has none. Raises EngineError."""
    if here := on_engine(name):
        return here
    if name.startswith("sha256:"):
        raise BuildError(
            f"the image {name[:19]}… is not on this machine, and no registry knows it",
            "build or load it again, then remove the kept lock with the cache (PROJRUN_CACHE_DIR)",
        )
    _pull(name, log)
    if here := on_engine(name):
        return here
    raise BuildError(f"the image {name} is not there although it was pulled", "run it again")


def on_engine(name: str) -> Image | None:
    facts = engine.image(name)
    return None if facts is None else _image(facts, name)


def _image(facts: dict[str, Any], name: str = "") -> Image:
    tags, digests = (
        [text for text in facts.get(names) or [] if not text.startswith("<none>")]
        for names in ("RepoTags", "RepoDigests")
    )
    repository = re.sub(r"(@sha256:.*|:[\w.-]+)$", "", name)
    own = [digest for digest in digests if digest.split("@")[0] == repository]
    config = facts.get("Config") or {}
    return Image(
        id=engine.id_of(facts),
        name=name or (tags[0] if tags else ""),
        digest=next(iter(own or ([] if name.startswith("sha256:") else digests)), ""),
        labels=config.get("Labels") or facts.get("Labels") or {},
        size=facts.get("Size", 0),
        created=_seconds(facts.get("Created", 0)),
        architecture=facts.get("Architecture", ""),
    )


def _seconds(moment: int | str) -> float:
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
    with client() as sdk, log.open("a") as lines:
        repository, tag = _split(name)
        auth = {"auth_config": dict(account)} if account else {}
        for step in sdk.api.pull(repository, tag=tag, stream=True, decode=True, **auth):
            _tell(step, lines)


def _split(name: str) -> tuple[str, str]:
    """Repository, and tag or digest."""
    if "@" in name:
        repository, _, digest = name.partition("@")
        return repository, digest
    head, slash, last = name.rpartition("/")
    last, _, tag = last.partition(":")
    return f"{head}{slash}{last}", tag or "latest"


def _tell(step: Mapping[str, Any], lines: io.TextIOBase) -> str:
    """Log one message of the engine; returns what a build says in it. Raises EngineError."""
    if problem := step.get("error"):
        raise engine.refusal(str(problem))
    text = str(step.get("stream") or step.get("status") or "")
    if "stream" in step:  # pieces of lines
        lines.write(_COLOURS.sub("", text))
    elif text.strip() and "progressDetail" not in step:
        lines.write(text.rstrip() + "\n")
    return text


def built(context: Path, log: Path, *, dockerfile: str = "Dockerfile", **options: Any) -> Image:
    """The image of a Dockerfile, which is relative to `context`. options: as the SDK's `build` takes them."""
    return _built(log, path=str(context), dockerfile=dockerfile, **options)


def _built(log: Path, **options: Any) -> Image:
    said: list[str] = []
    with client() as sdk, log.open("a") as lines:
        try:
            for step in sdk.api.build(rm=True, forcerm=True, decode=True, **options):
                said.append(_tell(step, lines))
        except engine.EngineError as error:
            raise _told_by_the_tools("".join(said), error) from None
    done = re.findall(r"Successfully built (\w+)", "".join(said))
    image = on_engine(done[-1]) if done else None
    if image is None:
        raise BuildError("the engine built no image", f"see the log {log}")
    return image


def built_with_tree(base: str, tree: Path, tag: str, labels: Mapping[str, str], log: Path) -> Image:
    """An image `tag` of `base` and the tree, in the directory where mlflow puts it. .dockerignore counts."""
    say(f"building the image {tag} with the project in it")
    text = f"FROM {base}\nWORKDIR {WORKDIR}\nCOPY . .\n"
    given = {name: value for name, value in labels.items() if value}
    with _context(tree, text) as archive:
        return _built(log, fileobj=archive, custom_context=True, dockerfile=OURS, tag=tag, labels=given)


def _context(tree: Path, dockerfile: str) -> IO[bytes]:
    """The tree with a Dockerfile that is not in it. The SDK's own way of that, Podman does not understand."""
    from docker.utils.build import tar

    ignore = tree / ".dockerignore"
    lines = ignore.read_text().splitlines() if ignore.is_file() else []
    excluded = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    archive: IO[bytes] = tar(str(tree), exclude=excluded, dockerfile=(OURS, dockerfile))
    return archive


def _told_by_the_tools(said: str, error: engine.EngineError) -> BuildError | engine.EngineError:
    """A step that failed says only its code: what its program said before is what people must know."""
    if "returned a non-zero code" not in error.message:
        return error
    before, _, last = _COLOURS.sub("", said).rpartition("---> Running in ")
    step = (re.findall(r"^Step \d+/\d+ : (.*)", before, re.MULTILINE) or ["a step"])[-1]
    last = re.sub(r"Removing intermediate container.*", "", last.partition("\n")[2])
    plain = _telling(re.sub(r"[│├╰─▶×]", "", last)) or error.message
    return BuildError(
        f"the image could not be built: {one_line(step, 80)}: {one_line(plain, 400)}",
        "mend that, then run it again",
    )


def _telling(said: str) -> str:
    """From the tool's own word for an error on; or the lines that sound like one; or the last lines."""
    if found := re.search(r"^\W*(?:error|E):.*", said, re.DOTALL | re.MULTILINE | re.IGNORECASE):
        return found[0]
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    alarming = [line for line in lines if _ALARMING.search(line)]
    return " | ".join((alarming or lines)[-LAST_LINES:])


# the images of environments


def environment_image(key: str) -> Image | None:
    """The image that was built for this key."""
    return next((image for image in images() if image.labels[KEY_LABEL] == key), None)


def images() -> list[Image]:
    """Every image that was built for an environment."""
    return [_image(facts) for facts in engine.images_labelled(KEY_LABEL)]


def remove(image: Image) -> None:
    """Raises EngineError while a container uses it."""
    with client() as sdk:
        sdk.images.remove(image.id)


def discard_stages(stage: str) -> None:
    """Remove what this build's first stage left, and what killed builds left: settings may be in it."""
    with client() as sdk:
        for filters in ({"label": f"{STAGE_LABEL}={stage}"}, {"label": STAGE_LABEL, "until": ABANDONED}):
            sdk.images.prune({**filters, "dangling": True})


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
        raise engine.refusal(error.explanation or str(error)) from None
    except (DockerException, RequestException) as error:
        raise engine.refusal(str(error)) from None
    finally:
        if sdk is not None:
            sdk.close()
