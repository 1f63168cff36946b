from __future__ import annotations

import fcntl
import os
import signal
import struct
import sys
import termios
import threading
import time
from pathlib import Path

import pytest

from projrun.errors import LaunchError, UnavailableError
from projrun.processes import merge_environ
from projrun.processes.child import Child
from projrun.processes.programs import run_program, run_with_progress
from projrun.processes.streams import index_path
from tests.support.waiting import eventually


def child(script: str, log: Path, out: int | None = None, err: int | None = None) -> Child:
    return Child([sys.executable, "-c", script], cwd=None, environ=None, log=log, out=out, err=err, masks=())


def wait_for(path: Path) -> str:
    while not (path.exists() and path.read_text()):
        time.sleep(0.01)
    return path.read_text()


def ends(pid: int) -> bool:
    """A killed process takes a moment to go."""
    return eventually(lambda: not is_alive(pid))


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_variables_are_laid_on_top_and_none_removes() -> None:
    assert merge_environ({"A": "1", "B": "2"}, {"B": None, "C": "3"}, {"A": "4"}) == {"A": "4", "C": "3"}


def test_a_missing_program_is_a_clear_error() -> None:
    with pytest.raises(LaunchError, match="cannot start 'no-such-program'"):
        run_program(["no-such-program"])


ESCAPING = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        open(sys.argv[1], "w").write(str(os.getpid()))
        time.sleep(300)
    os._exit(0)
while not (os.path.exists(sys.argv[1]) and open(sys.argv[1]).read()):
    time.sleep(0.01)
print("said", flush=True)
"""


def test_a_helper_that_is_too_slow_is_ended_with_all_that_escaped_it(tmp_path: Path) -> None:
    with pytest.raises(TimeoutError):
        run_program([sys.executable, "-c", f"{ESCAPING}time.sleep(300)", str(tmp_path / "pid")], timeout_s=10)
    assert ends(int(wait_for(tmp_path / "pid")))


def test_who_keeps_the_pipes_of_an_ended_helper_is_not_waited_for(tmp_path: Path) -> None:
    answer = run_program([sys.executable, "-c", f"{ESCAPING}os._exit(3)", str(tmp_path / "pid")])
    pid = int(wait_for(tmp_path / "pid"))
    try:
        assert is_alive(pid), "we waited for it"
        assert (answer.code, answer.stdout) == (3, "said\n")
    finally:
        os.kill(pid, signal.SIGKILL)


def test_a_helper_has_a_limit_that_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PROJRUN_HELPER_TIMEOUT", "0.5")
    with pytest.raises(UnavailableError, match=r"'sleep 300' did not end within 0\.5 s") as caught:
        run_program(["sleep", "300"])
    assert "PROJRUN_HELPER_TIMEOUT" in caught.value.hint
    with pytest.raises(UnavailableError, match="did not end within"):
        run_with_progress(["sleep", "300"], log=tmp_path / "log")


def test_a_helper_is_told_much_and_says_much() -> None:
    told = os.urandom(1 << 20)
    answer = run_program(
        [sys.executable, "-c", "import sys; print(len(sys.stdin.buffer.read()), 'x' * 300_000)"], stdin=told
    )
    assert answer.stdout == f"{1 << 20} {'x' * 300_000}\n"
    assert run_program(["true"], stdin=told).ok


def test_a_helper_has_no_terminal_and_its_own_group() -> None:
    answer = run_program(
        [sys.executable, "-c", "import os; print(os.getpid() == os.getpgrp(), os.isatty(0))"]
    )
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
    shell = Child(
        ["bash", "-c", "sleep 600 & echo $!"], cwd=None, environ=None, log=tmp_path / "log", masks=()
    )
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
    before, threads = descriptors(), threading.active_count()
    for _ in range(5):
        child("print(1)", tmp_path / "log").wait()
    with pytest.raises(LaunchError):
        Child(["no-such-program"], cwd=None, environ=None, log=tmp_path / "log", masks=())
    assert descriptors() == before
    assert threading.active_count() == threads


LEAVER = (
    "import os, sys, time\n"
    "if os.fork() == 0:\n"
    "    os.setsid()\n"
    "    open(sys.argv[1], 'w').write(str(os.getpid()))\n"
    "    time.sleep(600)\n"
)
"""A program that leaves a daemon in a session of its own behind."""


def test_a_daemon_ends_with_the_process_that_left_it(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    script = f"{LEAVER}\nwhile not os.path.exists(sys.argv[1]): time.sleep(0.01)"
    argv = [sys.executable, "-c", script, str(pid_file)]
    assert Child(argv, cwd=None, environ=None, log=tmp_path / "log", masks=()).wait() == 0
    assert ends(int(wait_for(pid_file)))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "terminated"])
def test_everything_ends_when_the_supervisor_is_killed(tmp_path: Path, number: int) -> None:
    """SIGTERM too: a program that uses us as a library may not handle it."""
    daemon, command = tmp_path / "daemon", tmp_path / "command"
    script = f"{LEAVER}open({str(command)!r}, 'w').write(str(os.getpid()))\ntime.sleep(600)"
    supervisor = os.fork()
    if supervisor == 0:
        argv = [sys.executable, "-c", script, str(daemon)]
        Child(argv, cwd=None, environ=None, log=tmp_path / "log", masks=()).wait()
        os._exit(0)
    pids = [int(wait_for(file)) for file in (daemon, command)]
    os.kill(supervisor, number)
    os.waitpid(supervisor, 0)
    assert all(ends(pid) for pid in pids)


def test_what_a_process_took_is_known(tmp_path: Path) -> None:
    supervised = child("x = bytearray(200_000_000); sum(range(2_000_000))", tmp_path / "log")
    assert supervised.wait() == 0
    assert supervised.usage is not None
    assert supervised.usage.peak_memory_bytes > 200_000_000
    assert supervised.usage.cpu_s > 0
    assert supervised.usage.wall_s > 0


def test_what_descendants_took_counts(tmp_path: Path) -> None:
    """A grandchild that was waited for, as those of a shell are."""
    grandchild = "x = bytearray(900_000_000); sum(range(5_000_000))"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {grandchild!r}], check=True)"
    supervised = child(
        f"import subprocess, sys; subprocess.run([sys.executable, '-c', {code!r}])", tmp_path / "log"
    )
    assert supervised.wait() == 0
    alone = child("import subprocess, sys", tmp_path / "alone")
    assert alone.wait() == 0
    assert supervised.usage is not None and alone.usage is not None
    assert supervised.usage.peak_memory_bytes > 900_000_000 > alone.usage.peak_memory_bytes
    assert supervised.usage.cpu_s > alone.usage.cpu_s


@pytest.mark.dates
def test_the_clock_may_jump(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    supervised = child("print(1)", tmp_path / "log")
    monkeypatch.setattr(time, "time", lambda: 0.0)
    monkeypatch.setattr(time, "time_ns", lambda: 0)
    assert supervised.wait() == 0
    assert supervised.usage is not None and 0 < supervised.usage.wall_s < 60


def test_waiting_with_a_time_out_leaves_it_running(tmp_path: Path) -> None:
    supervised = child("import time; time.sleep(600)", tmp_path / "log")
    with pytest.raises(TimeoutError):
        supervised.wait(0.01)
    assert supervised.end(signal.SIGKILL) == 128 + signal.SIGKILL


def test_the_index_says_which_stream_wrote_what(tmp_path: Path) -> None:
    script = (
        "import os, sys, time\n"
        "for number, fd in enumerate((1, 2, 1), 1):\n"
        "    os.write(fd, b'%d\\n' % fd)\n"
        "    while os.path.getsize(sys.argv[1]) < 2 * number: time.sleep(0.01)\n"
    )
    log = tmp_path / "output.log"
    argv = [sys.executable, "-c", script, str(log)]
    assert Child(argv, cwd=None, environ=None, log=log, indexed=True, masks=()).wait() == 0
    assert log.read_bytes() == b"1\n2\n1\n"
    lines = [line.split() for line in index_path(log).read_text().splitlines()]
    assert [line[:3] for line in lines] == [["out", "0", "2"], ["err", "2", "2"], ["out", "4", "2"]]


def test_a_gigabyte_of_output_takes_little_memory(tmp_path: Path) -> None:
    script = (
        "import re\n"
        "from pathlib import Path\n"
        "from projrun.processes.child import Child\n"
        "argv = ['bash', '-c', 'head -c 1000000000 /dev/zero']\n"
        "child = Child(argv, cwd=None, environ=None, log=Path('/dev/null'), masks=())\n"
        "code, status = child.wait(), Path('/proc/self/status').read_text()\n"
        "print(code, re.search(r'VmHWM:\\s*(\\d+) kB', status)[1])\n"
    )
    answer = run_program([sys.executable, "-c", script], cwd=tmp_path)
    code, peak_kib = answer.stdout.split()
    assert code == "0"
    assert int(peak_kib) < 100_000


def set_columns(terminal: int, columns: int) -> None:
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("4H", 24, columns, 0, 0))


def test_the_size_of_the_terminal_is_passed_on(tmp_path: Path) -> None:
    master, slave = os.openpty()
    set_columns(slave, 80)
    script = (
        "import os, signal, time\n"
        "signal.signal(signal.SIGWINCH, lambda *_: print(os.get_terminal_size(1).columns, flush=True))\n"
        "print('ready', flush=True)\n"
        "while True: time.sleep(0.01)\n"
    )
    log = tmp_path / "log"
    supervised = child(script, log, out=slave, err=slave)

    def resized() -> None:
        wait_for(log)
        set_columns(slave, 132)
        os.kill(os.getpid(), signal.SIGWINCH)
        while "132" not in log.read_text():
            time.sleep(0.01)
        os.kill(supervised.pid, signal.SIGTERM)

    thread = threading.Thread(target=resized)
    thread.start()
    assert supervised.wait() == 128 + signal.SIGTERM
    thread.join()
    os.close(master)
    os.close(slave)
