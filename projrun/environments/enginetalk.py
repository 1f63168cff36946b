"""What an engine says while it pulls or builds: in a log, on a terminal, and as one line when it fails."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from typing import Any, TextIO

from projrun import engine
from projrun.errors import BuildError
from projrun.output import is_quiet, is_terminal, one_line
from projrun.progress import Progress

LAST_LINES = 4
"""How many of a failed step's are told."""

_ALARMING = re.compile(r"\b(error|failed|fatal|not found|no such|cannot|unable|denied)\b", re.IGNORECASE)
_COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_RUNNING = "---> Running in "


class EngineTalk:
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
            raise engine.refusal(str(problem))
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
        plain = _telling(re.sub(r"[│├╰─▶×]", "", last)) or error.message
        if re.search(r"no space left|disk quota|\(os error 28\)", plain, re.IGNORECASE):
            return engine.refusal("no space left")
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


def _telling(said: str) -> str:
    """From the tool's own word for an error on; or the lines that sound like one; or the last lines."""
    if found := re.search(r"^\W*(?:error|E):.*", said, re.DOTALL | re.MULTILINE | re.IGNORECASE):
        return found[0]
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    alarming = [line for line in lines if _ALARMING.search(line)]
    return " | ".join((alarming or lines)[-LAST_LINES:])
