from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from projrun.errors import LaunchError
from projrun.process import Child, ask, merged


def child(script: str, log: Path, **streams: int) -> Child:
    return Child([sys.executable, "-c", script], cwd=None, environ=None, log=log, **streams)


def wait_for(path: Path) -> str:
    while not (path.exists() and path.read_text()):
        time.sleep(0.01)
    return path.read_text()


def ends(pid: int) -> bool:
    """A killed process takes a moment to go."""
    for _ in range(500):
        if not is_alive(pid):
            return True
        time.sleep(0.01)
    return False


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_variables_are_laid_on_top_and_none_removes() -> None:
    assert merged({"A": "1", "B": "2"}, {"B": None, "C": "3"}, {"A": "4"}) == {"A": "4", "C": "3"}


def test_a_missing_program_is_a_clear_error() -> None:
    with pytest.raises(LaunchError, match="cannot start 'no-such-program'"):
        ask(["no-such-program"])


def test_a_helper_has_no_terminal_and_its_own_group() -> None:
    answer = ask([sys.executable, "-c", "import os; print(os.getpid() == os.getpgrp(), os.isatty(0))"])
    assert answer.stdout == "True False\n"


def test_output_goes_to_the_log_and_is_copied(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    script = "import sys; print('out'); print('err', file=sys.stderr)"
    assert child(script, tmp_path / "log", out=writer).wait() == 0
    os.close(writer)
    assert os.read(reader, 100) == b"out\n"
    os.close(reader)
    assert sorted((tmp_path / "log").read_text().split()) == ["err", "out"]


def test_a_terminal_stays_a_terminal_and_bytes_pass_unchanged(tmp_path: Path) -> None:
    master, slave = os.openpty()
    script = "import sys; sys.stdout.write(f'{sys.stdout.isatty()} \\033[31mred\\r1%\\n')"
    assert child(script, tmp_path / "log", out=slave, err=slave).wait() == 0
    assert os.read(master, 1000).replace(b"\r\n", b"\n") == b"True \033[31mred\r1%\n"
    os.close(master)
    os.close(slave)
    assert (tmp_path / "log").read_bytes() == b"True \033[31mred\r1%\n"


def test_a_reader_that_goes_away_does_not_end_the_child(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    assert child("print('x' * 100_000); print('end')", tmp_path / "log", out=writer).wait() == 0
    os.close(writer)
    assert (tmp_path / "log").read_text().endswith("end\n")


def test_exit_codes_are_the_shells(tmp_path: Path) -> None:
    assert child("raise SystemExit(7)", tmp_path / "log").wait() == 7
    assert child("import os; os.kill(os.getpid(), 9)", tmp_path / "log").wait() == 128 + 9


def test_grandchildren_end_with_the_group(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    script = (
        "import subprocess, sys\n"
        "grandchild = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        f"open({str(pid_file)!r}, 'w').write(str(grandchild.pid))\n"
        "grandchild.wait()\n"
    )
    supervised = child(script, tmp_path / "log")
    grandchild = int(wait_for(pid_file))
    assert supervised.end(signal.SIGTERM) == 128 + signal.SIGTERM
    assert ends(grandchild)


def test_background_processes_end_when_their_parent_has_ended(tmp_path: Path) -> None:
    shell = Child(["bash", "-c", "sleep 600 & echo $!"], cwd=None, environ=None, log=tmp_path / "log")
    assert shell.wait() == 0
    assert ends(int((tmp_path / "log").read_text()))


def test_a_child_that_ignores_signals_is_killed(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    script = (
        "import signal, time\n"
        "signal.signal(signal.SIGINT, signal.SIG_IGN); signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        f"open({str(ready)!r}, 'w').write('x')\n"
        "time.sleep(600)\n"
    )
    supervised = child(script, tmp_path / "log")
    wait_for(ready)
    assert supervised.end(signal.SIGINT, grace_s=0.2) == 128 + signal.SIGKILL


def test_nothing_is_left_open(tmp_path: Path) -> None:
    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))

    child("pass", tmp_path / "log").wait()
    before = descriptors()
    for _ in range(5):
        child("print(1)", tmp_path / "log").wait()
    with pytest.raises(LaunchError):
        Child(["no-such-program"], cwd=None, environ=None, log=tmp_path / "log")
    assert descriptors() == before
    assert threading.active_count() == 1
