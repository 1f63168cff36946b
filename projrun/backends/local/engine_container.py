"""A container that this process creates, follows and ends through the engine's socket.

`docker run` would have to start, needs a process that watches it, and passes on what we copy again. This does
the same: create the container, attach to its streams, start it and wait, each on a connection of its own.
"""

from __future__ import annotations

import _socket
import os
import select
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from signal import SIGKILL
from typing import Any

import msgspec

from projrun import engine
from projrun.backends import Job
from projrun.backends.local.container_spec import CreateRequest
from projrun.console import warn
from projrun.engine import CHUNK, TIMEOUT_S, EngineRequest
from projrun.processes.streams import OutputCopy, OutputSource, Pump, watch_terminal_size

PROMPT_S = 1.0  # time within which a container is usually created; one with large volumes takes longer
DRAIN_S = 1.0  # time that the thread which reads our stdin gets to end
# Bytes before each frame of a multiplexed stream: stream number, three zeros, length in four bytes.
#
# Source: "Stream format" of ContainerAttach in the Docker Engine API.
HEADER_BYTES = 8
STDERR = 2


class _Running(msgspec.Struct, frozen=True):
    streams: ContainerStreams
    starting: EngineRequest  # request that is answered when the container has started
    ending: EngineRequest  # request that is answered when the container has ended


class EngineContainer:
    """A container of that name, which the engine begins to make at once.

    path: of the engine's socket. out, err: our own streams, which get a copy of its own; None for nowhere.
    """

    def __init__(
        self,
        path: str,
        name: str,
        creation: CreateRequest,
        job: Job,
        out: int | None,
        err: int | None,
    ) -> None:
        """Ask for the container. Raises EngineError if the engine refuses at once."""
        self._path, self._container = path, f"/containers/{name}"
        self._creation, self._job, self._out, self._err = creation, job, out, err
        self._open = ExitStack()
        self._running: _Running | None = None
        self._is_started = False
        self._making = self._post(f"/containers/create?name={name}", creation.body)

    def start(self) -> None:
        """Have it started as soon as it is made, which takes a quarter of a second of the engine's time.

        Raises EngineError where the engine refuses by then.
        """
        try:
            with suppress(TimeoutError):  # `wait` goes on
                self._start(time.monotonic() + PROMPT_S)
        except BaseException:
            self._open.close()
            raise

    def wait(self, timeout_s: float | None = None) -> int:
        """The command's exit code. Raises TimeoutError while it runs, EngineError if it never started."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        try:
            with watch_terminal_size(self._resize if self._creation.tty else None):
                running = self._started(deadline)
                code = _exit_code(self._answer(running.ending, deadline))
                running.streams.drain(deadline)
        except engine.EngineError:
            self._open.close()
            raise
        self._open.close()
        return code

    def send(self, number: int, timeout_s: float) -> bool:
        """Signal the container; return False if it is not created yet. Raises TimeoutError."""
        if self._running is None:
            return False
        self._started(time.monotonic() + timeout_s)
        self._try(f"/kill?signal={number}")
        return True

    def abandon(self) -> int:
        """Close all connections and return the exit code of a killed container."""
        self._open.close()
        return 128 + SIGKILL

    def _start(self, deadline: float | None) -> _Running:
        """Wait for its creation, attach to it, and send the request to start it."""
        if self._running is None:
            for warning in _decode(self._answer(self._making, deadline)).get("Warnings") or ():
                warn(f"the container engine: {warning}")
            stdin = "&stdin=1" if self._creation.stdin else ""
            attached = self._begun(f"/attach?stream=1&stdout=1&stderr=1{stdin}", upgrade=True)
            ending = self._begun("/wait?condition=next-exit")
            source = self._source(os.dup(attached.channel.fileno()))
            streams = ContainerStreams(
                attached.channel, Pump([source], self._job.log, indexed=True), stdin=self._creation.stdin
            )
            self._open.callback(streams.close)
            self._running = _Running(streams, self._post(f"{self._container}/start"), ending)
        return self._running

    def _started(self, deadline: float | None) -> _Running:
        running = self._start(deadline)
        if not self._is_started:
            self._answer(running.starting, deadline)
            self._is_started = True
            if self._creation.tty:
                self._resize()
        return running

    def _source(self, fd: int) -> OutputSource:
        masks = self._job.masks
        if self._creation.tty:
            terminals = [stream is not None and os.isatty(stream) for stream in (self._out, self._err)]
            return OutputSource(fd, OutputCopy("tty" if all(terminals) else "out", self._out, masks))
        out, err = OutputCopy("out", self._out, masks), OutputCopy("err", self._err, masks)
        return MultiplexedSource(fd, out, err)

    def _resize(self) -> None:
        """Give the container's terminal the size of ours."""
        if self._out is not None:
            with suppress(OSError):  # ours is no terminal
                size = os.get_terminal_size(self._out)
                self._try(f"/resize?h={size.lines}&w={size.columns}")

    def _post(self, target: str, body: bytes = b"", *, upgrade: bool = False) -> EngineRequest:
        try:
            question = EngineRequest(self._path, f"POST {target}", body, upgrade=upgrade)
        except OSError:
            raise _engine_lost() from None
        return self._open.enter_context(closing(question))

    def _begun(self, target: str, *, upgrade: bool = False) -> EngineRequest:
        """Send a request whose answer begins at once and ends with the container."""
        question = self._post(self._container + target, upgrade=upgrade)
        try:
            is_begun = question.is_accepted(TIMEOUT_S)
        except (OSError, ValueError):
            raise _engine_lost() from None
        if not is_begun:
            self._answer(question, None)
        question.channel.settimeout(None)
        return question

    def _answer(self, question: EngineRequest, deadline: float | None) -> bytes:
        """Return the answer's body. Raises EngineError for a refusal or a lost engine, TimeoutError."""
        try:
            reply = question.answer(_left_s(deadline))
        except TimeoutError:
            raise
        except (OSError, ValueError):
            raise _engine_lost() from None
        if reply.status >= 400:
            raise engine.reply_error(reply)
        return reply.body

    def _try(self, target: str) -> None:
        """Send a request about the container and ignore errors: it may not run."""
        with (
            suppress(OSError, ValueError),
            closing(EngineRequest(self._path, f"POST {self._container}{target}")) as question,
        ):
            question.answer(TIMEOUT_S)


class ContainerStreams:
    """The streams between a container and this process."""

    def __init__(self, channel: _socket.socket, pump: Pump, *, stdin: bool) -> None:
        self._channel, self._pump = channel, pump
        self._feeder = threading.Thread(target=self._feed, daemon=True) if stdin else None
        pump.start()
        if self._feeder is not None:
            self._feeder.start()

    def drain(self, deadline: float | None) -> None:
        """Wait until all output has been copied. Raises TimeoutError."""
        if not self._pump.join(_left_s(deadline)):
            raise TimeoutError

    def close(self) -> None:
        """Close the connection and stop reading our stdin."""
        with suppress(OSError):  # the engine closed it first
            self._channel.shutdown(_socket.SHUT_RDWR)
        if self._feeder is not None:
            self._feeder.join(DRAIN_S)

    def _feed(self) -> None:
        """Copy our stdin to the container, and its end."""
        poller, channel = select.poll(), self._channel.fileno()
        poller.register(0, select.POLLIN)
        poller.register(channel, 0)  # without events, poll still reports a hang-up
        with suppress(OSError):  # the container reads no more
            while channel not in dict(poller.poll()):
                try:
                    chunk = os.read(0, CHUNK)
                except BlockingIOError:  # another process that shares our stdin read it first
                    continue
                if not chunk:
                    break
                self._channel.sendall(chunk)
        with suppress(OSError):
            self._channel.shutdown(_socket.SHUT_WR)


class MultiplexedSource(OutputSource):
    """A connection on which frames of stdout and stderr alternate."""

    def __init__(self, fd: int, out: OutputCopy, err: OutputCopy) -> None:
        super().__init__(fd, out)
        self._out, self._err = out, err
        self._copy, self._left, self._header = out, 0, b""

    def parts(self, chunk: bytes) -> Iterator[tuple[OutputCopy, bytes]]:
        if not chunk:
            yield from ((self._out, b""), (self._err, b""))
        at = 0
        while at < len(chunk):
            if self._left:
                part = chunk[at : at + self._left]
                self._left -= len(part)
                yield self._copy, part
            else:
                part = chunk[at : at + HEADER_BYTES - len(self._header)]
                self._header += part
                if len(self._header) == HEADER_BYTES:
                    self._copy = self._err if self._header[0] == STDERR else self._out
                    self._left, self._header = int.from_bytes(self._header[4:], "big"), b""
            at += len(part)


def _exit_code(answer: bytes) -> int:
    facts = _decode(answer)
    if problem := (facts.get("Error") or {}).get("Message"):
        raise engine.engine_error(problem)
    return int(facts["StatusCode"])


def _decode(answer: bytes) -> dict[str, Any]:
    try:
        facts: dict[str, Any] = msgspec.json.decode(answer)
        return facts
    except msgspec.DecodeError:  # the engine ended while it answered
        raise _engine_lost() from None


def _left_s(deadline: float | None) -> float | None:
    return None if deadline is None else max(deadline - time.monotonic(), 0.0)


def _engine_lost() -> engine.EngineError:
    return engine.EngineError(
        "the container engine ended before the container did", "see the engine's own log, then run it again"
    )
