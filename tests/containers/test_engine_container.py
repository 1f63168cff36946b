"""A container that the engine is asked for directly: its streams, its signals, its end."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
from pathlib import Path
from typing import Any

import pytest

from projrun.backends.local.engine_container import MultiplexedSource
from projrun.processes.streams import OutputCopy
from tests.conftest import MakeProject, Projrun
from tests.containers.conftest import artifact, docker, eventually, gone, runs_of
from tests.containers.engine_proxy import between

PROJRUN = [sys.executable, "-m", "projrun", "--quiet"]
PIPE = subprocess.PIPE


def running(project: Path, *arguments: str, **streams: Any) -> subprocess.Popen[bytes]:
    streams = {"stdin": subprocess.DEVNULL, "stdout": PIPE, "stderr": PIPE, **streams}
    return subprocess.Popen([*PROJRUN, "run", str(project), *arguments], start_new_session=True, **streams)


def mlproject(image: str, command: str) -> str:
    return f"docker_env: {{image: '{image}'}}\nentry_points: {{main: {{command: {json.dumps(command)}}}}}\n"


@pytest.mark.usefixtures("way")
def test_bytes_come_through_both_ways_unchanged(
    base_image: str, make_project: MakeProject, projrun: Projrun
) -> None:
    """More than any pipe holds: who only writes, or only reads, waits for ever."""
    data = os.urandom(3_000_000)
    project = make_project(MLproject=mlproject(base_image, "cat; printf 'err\\0' >&2; exit 3"))
    with running(project, stdin=PIPE) as run:
        out, err = run.communicate(data, timeout=60)
    assert (out == data, err, run.returncode) == (True, b"err\0", 3)
    (known,) = runs_of(projrun)
    place = Path(str(known["artifact_uri"]).removeprefix("file://"), "projrun")
    log, index = (place / "output.log").read_bytes(), (place / "output.index").read_text()
    parts: dict[str, bytes] = {"out": b"", "err": b""}
    for stream, offset, length, _ in (line.split() for line in index.splitlines()):
        parts[stream] += log[int(offset) : int(offset) + int(length)]
    assert parts == {"out": data, "err": b"err\0"}


def test_much_output_takes_little_memory_and_waits_for_its_reader(
    base_image: str, make_project: MakeProject
) -> None:
    project = make_project(MLproject=mlproject(base_image, "head -c 30000000 /dev/zero"))

    def peak_kb() -> int:
        return int(re.findall(r"VmHWM:\s*(\d+) kB", Path(f"/proc/{run.pid}/status").read_text())[0])

    with running(project) as run:
        assert run.stdout is not None
        assert len(run.stdout.read(1_000_000)) == 1_000_000
        before_kb = peak_kb()
        assert len(run.stdout.read(28_000_000)) == 28_000_000
        assert peak_kb() - before_kb < 8_000
        assert len(run.stdout.read()) == 1_000_000


def test_what_is_typed_ahead_stays_the_callers_after_the_run(
    base_image: str, make_project: MakeProject
) -> None:
    project = make_project(MLproject=mlproject(base_image, "head -n 1"))
    script = (
        "import os, sys, projrun\nprojrun.run(sys.argv[1])\nprint('ended', flush=True)\nprint(os.read(0, 99))"
    )
    argv = [sys.executable, "-c", script, str(project)]
    with subprocess.Popen(argv, stdin=PIPE, stdout=PIPE) as caller:
        assert caller.stdin is not None and caller.stdout is not None
        caller.stdin.write(b"for the command\n")
        caller.stdin.flush()
        assert [caller.stdout.readline() for _ in range(2)] == [b"for the command\n", b"ended\n"]
        assert caller.communicate(b"for the caller")[0] == b"b'for the caller'\n"


def test_a_signal_reaches_the_command_whose_last_words_are_heard(
    base_image: str, make_project: MakeProject, projrun: Projrun
) -> None:
    command = "trap 'echo got; exit 4' INT; echo ready; while :; do sleep 0.05; done"
    with running(make_project(MLproject=mlproject(base_image, command))) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == b"ready\n"
        run.send_signal(signal.SIGINT)
        assert run.communicate(timeout=60)[0] == b"got\n"
    assert run.returncode == 130
    (known,) = runs_of(projrun)
    assert known["status"] == "KILLED"
    assert gone(str(known["run_id"]))


def test_a_run_is_interrupted_also_while_the_engine_makes_its_container(
    base_image: str, make_project: MakeProject, projrun: Projrun, monkeypatch: pytest.MonkeyPatch
) -> None:
    with between(unanswered=b"POST /containers/create") as engine:
        monkeypatch.setenv("DOCKER_HOST", engine.address)
        with running(make_project(MLproject=mlproject(base_image, "true"))) as run:
            assert engine.asked.wait(60)
            run.send_signal(signal.SIGTERM)
            assert run.wait(60) == 143
    assert runs_of(projrun)[0]["status"] == "KILLED"


def test_a_terminal_has_our_size_and_follows_it(base_image: str, make_project: MakeProject) -> None:
    script = "import os, time\nwhile 1: print(*os.get_terminal_size(), flush=True); time.sleep(0.05)"
    project = make_project(MLproject=mlproject(base_image, "python3 show.py"), **{"show.py": script})
    master, slave = pty.openpty()
    set_size(slave, 30, 90)
    try:
        with running(project, stdin=slave, stdout=slave, stderr=slave) as run:
            assert shows(master, b"90 30")
            set_size(slave, 31, 91)
            run.send_signal(signal.SIGWINCH)
            assert shows(master, b"91 31")
            run.send_signal(signal.SIGTERM)
    finally:
        os.close(master)
        os.close(slave)


def set_size(terminal: int, lines: int, columns: int) -> None:
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("4H", lines, columns, 0, 0))


def shows(terminal: int, text: bytes) -> bool:
    seen = b""

    def more() -> bool:
        nonlocal seen
        if select.select([terminal], [], [], 0)[0]:
            seen = seen[-1000:] + os.read(terminal, 1 << 16)
        return text in seen

    return eventually(more)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize(
    ("argument", "told"),
    [("workdir=/dev/null", "OCI runtime"), ("network=no-such-network", "no-such-network")],
)
def test_what_the_engine_refuses_is_one_line_and_leaves_no_container(
    argument: str, told: str, base_image: str, make_project: MakeProject, projrun: Projrun
) -> None:
    done = projrun("run", make_project(MLproject=mlproject(base_image, "true")), "-A", argument)
    assert done.returncode == 125
    assert re.search(f"^projrun: error: the container engine refuses: .*{told}", done.stderr, re.MULTILINE)
    (run,) = runs_of(projrun)
    assert run["status"] == "FAILED"
    assert gone(str(run["run_id"]))


@pytest.mark.usefixtures("way")
def test_a_container_of_that_name_stays_whose_it_is(
    base_image: str, make_project: MakeProject, projrun: Projrun
) -> None:
    name = f"projrun-test-{os.urandom(4).hex()}"
    docker("create", "--name", name, base_image, "true")
    try:
        project = make_project(MLproject=mlproject(base_image, "true"))
        done = projrun("run", project, "-A", f"name={name}")
        assert done.returncode == 125
        assert f"there is a container of the name {name} already" in done.stderr
        assert docker("inspect", "--format", "{{.Name}}", name) == f"/{name}"
    finally:
        docker("rm", "--force", name)


def test_what_the_engine_warns_of_is_told(
    shell_image: str,
    make_project: MakeProject,
    projrun: Projrun,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The image is marked as one for another machine, but has a shell for this one."""
    monkeypatch.setenv("DOCKER_BUILDKIT", "0")
    image = f"projrun-test/elsewhere:{os.urandom(4).hex()}"
    container = docker("create", shell_image, "true")
    try:
        docker("export", "--output", str(tmp_path / "tree.tar"), container)
        (tmp_path / "Dockerfile").write_text("FROM scratch\nADD tree.tar /\n")
        docker("build", "--platform", "linux/s390x", "--tag", image, str(tmp_path))
        done = projrun("run", make_project(MLproject=mlproject(image, "echo works")))
        assert done.stdout == "works\n", done.stderr
        assert re.search(r"warning: the container engine: .*platform", done.stderr), done.stderr
    finally:
        docker("rm", container)
        docker("rmi", "--force", image)


@pytest.mark.usefixtures("way")
def test_a_run_whose_engine_ends_is_told_so_and_leaves_no_container(
    base_image: str, make_project: MakeProject, projrun: Projrun, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = make_project(MLproject=mlproject(base_image, "touch started; sleep 300"))
    with between() as engine:
        monkeypatch.setenv("DOCKER_HOST", engine.address)
        with running(project) as run:
            assert eventually((project / "started").exists)
            engine.cut()
            said = run.communicate(timeout=60)[1].decode()
        assert run.returncode == 125, said
        assert re.search("engine ended before the container did|EOF", said), said
        (known,) = runs_of(projrun)
        assert known["status"] == "FAILED"
        assert gone(str(known["run_id"]))


def test_secrets_are_masked_in_each_stream(
    base_image: str, make_project: MakeProject, projrun: Projrun
) -> None:
    command = "for i in 1 2; do printf '%s' hush-; sleep 0.2; echo hush; echo $SECRET >&2; done"
    project = make_project(MLproject=mlproject(base_image, command))
    done = projrun("run", project, "--env", "SECRET=hush-hush")
    assert done.stdout == "***\n***\n", done.stderr
    assert sorted(artifact(runs_of(projrun)[0], "projrun/output.log").split()) == ["***"] * 4


@pytest.mark.parametrize("size", [1, 3, 8, 11, 100])
def test_streams_are_told_apart_however_they_are_cut(size: int) -> None:
    parts = [(1, b"one"), (2, b"two" * 20), (1, b""), (2, b"three"), (1, b"four")]
    whole = b"".join(bytes([fd, 0, 0, 0]) + len(text).to_bytes(4, "big") + text for fd, text in parts)
    out, err = OutputCopy("out", None), OutputCopy("err", None)
    source, seen = MultiplexedSource(0, out, err), {out: b"", err: b""}
    for at in range(0, len(whole), size):
        for copy, text in source.parts(whole[at : at + size]):
            assert text
            seen[copy] += text
    assert seen == {out: b"onefour", err: b"two" * 20 + b"three"}
    assert [copy for copy, text in source.parts(b"") if not text] == [out, err]
