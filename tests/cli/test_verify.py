"""Doing a run again and comparing: the verdict, and what is said when it is no."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from pathlib import Path
from xml.etree import ElementTree

import pytest

from projrun.runner.variations import KINDS, month_later
from tests.conftest import MakeProject, Projrun
from tests.whole_runs.test_record import LOG

LOCAL = ("--env-manager", "local")
Done = subprocess.CompletedProcess[str]


def project_of(make_project: MakeProject, script: str, more: str = "") -> Path:
    text = f"entry_points: {{main: {{command: 'python script.py'}}}}\n{more}"
    return make_project(MLproject=text, **{"script.py": script})


def ran(projrun: Projrun, project: Path, *options: str, **environ: str) -> str:
    """The id of a run of the project."""
    done = projrun("run", project, *LOCAL, *options, environ=environ)
    assert done.returncode == 0, done.stderr
    run_id: str = json.loads(projrun("runs", "list", "--json").stdout)[0]["run_id"]
    return run_id


def trials(done: Done) -> dict[str, list[str]]:
    """Kind -> the verdicts of its trials."""
    found: dict[str, list[str]] = {}
    for one in json.loads(done.stdout)["trials"]:
        found.setdefault(one["varied"], []).append(one["verdict"])
    return found


def impossible(done: Done) -> set[str]:
    return {kind for kind, verdicts in trials(done).items() if verdicts == ["left out"]}


def test_the_same_is_0_and_the_report_alone_is_on_stdout(projrun: Projrun, make_project: MakeProject) -> None:
    run = ran(projrun, project_of(make_project, "print('talk'); open('a', 'w').write('1')"))
    done = projrun("verify", run[:8])
    assert done.returncode == 0, done.stderr
    assert "talk" in done.stderr
    assert "talk" not in done.stdout
    assert "output a  same" in done.stdout


def test_another_result_is_1_and_where_it_differs_first_is_said(
    projrun: Projrun, make_project: MakeProject
) -> None:
    script = "import os; open('a.txt', 'w').write(f'x {os.urandom(8).hex()}')"
    done = projrun("verify", ran(projrun, project_of(make_project, script)))
    assert done.returncode == 1
    assert "output a.txt differs: line 1: 'x " in done.stdout
    assert "try --vary" in done.stdout


def test_a_tolerance_of_the_command_line_is_for_files_of_the_tree_too(
    projrun: Projrun, make_project: MakeProject
) -> None:
    script = "import os; open('a.csv', 'w').write(f'x\\n{1 + 1e-9 * int.from_bytes(os.urandom(1), \"big\")}')"
    run = ran(projrun, project_of(make_project, script))
    assert projrun("verify", run, "--rtol", "1e-3").returncode == 0
    assert projrun("verify", run, "--output", "*.csv=ignore").returncode == 0


def test_the_rules_of_the_author_count(projrun: Projrun, make_project: MakeProject) -> None:
    script = LOG + "import random\nopen('t.txt', 'w').write(str(random.random()))\n"
    script = script.replace('("loss", "NaN")', '("time", __import__("time").time())')
    project = project_of(
        make_project, script, "verify: {metrics: {time: ignore}, outputs: {t.txt: {atol: 1}}}\n"
    )
    run = ran(projrun, project)
    done = projrun("verify", run, "--format", "json")
    assert done.returncode == 0, done.stdout
    verdicts = {one["name"]: one["verdict"] for one in json.loads(done.stdout)["findings"]}
    assert verdicts["time"] == "ignored"
    assert verdicts["t.txt"] == "within"
    assert verdicts["plots/a.txt"] == "same"


def test_a_run_that_failed_is_the_same_when_it_fails_alike(
    projrun: Projrun, make_project: MakeProject
) -> None:
    projrun("run", project_of(make_project, "raise SystemExit(3)"), *LOCAL)
    run = json.loads(projrun("runs", "list", "--json").stdout)[0]["run_id"]
    done = projrun("verify", run)
    assert done.returncode == 0
    assert "FAILED, exit code 3" in done.stdout


@pytest.mark.parametrize(
    "options", [("--vary", "weather"), ("--times", "0"), ("--metric", "x"), ("--format", "pdf")], ids=str
)
def test_what_is_not_understood_is_said_before_anything_runs(
    projrun: Projrun, make_project: MakeProject, options: tuple[str, str]
) -> None:
    run = ran(projrun, project_of(make_project, ""))
    done = projrun("verify", run, *options)
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(json.loads(projrun("runs", "list", "--json").stdout)) == 1


VARIED = """
import datetime, getpass, locale, os, pathlib, socket, threading, time

def write(name, value):
    pathlib.Path(name).write_text(str(value))

write("hash-seed", hash("a"))
write("time-zone", datetime.datetime.fromtimestamp(1e9))
write("locale", locale.setlocale(locale.LC_ALL, ""))
time.sleep(0.001)
threading.Event().wait(0.001)
write("clock", abs(time.time() - float(os.environ["TIME_OF_THE_TEST"])) < 15 * 86400)
write("threads", os.environ.get("OMP_NUM_THREADS"))
write("directory", " " in os.getcwd())
write("home", os.path.expanduser("~"))
write("user", getpass.getuser())
os.mkdir("files")
for name in "abc":
    write("files/" + name, name)
write("file-order", [os.listdir("files"), [entry.name for entry in os.scandir("files")],
                     [path.name for path in pathlib.Path("files").iterdir()]])
mask = os.umask(0)
os.umask(mask)
write("umask", mask)
write("network", socket.socket().connect_ex(("127.0.0.1", int(os.environ["PORT_OF_THE_TEST"]))))
"""


@pytest.mark.dates
def test_each_variation_is_found_out_by_the_file_that_depends_on_it_and_by_no_other(
    projrun: Projrun, make_project: MakeProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"LC_ALL": "C", "TZ": "UTC", "TIME_OF_THE_TEST": str(time.time())}.items():
        monkeypatch.setenv(name, value)
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("PORT_OF_THE_TEST", str(server.getsockname()[1]))
        run = ran(projrun, project_of(make_project, VARIED), PYTHONHASHSEED="0")
        done = projrun("verify", run, "--vary", "all", "--format", "json")
    assert done.returncode == 1, done.stderr
    assert set(trials(done)) == {"nothing", *KINDS}
    assert trials(done)["nothing"] == ["same"]
    for one in json.loads(done.stdout)["trials"]:
        if one["verdict"] == "left out":
            assert one["varied"] in ("clock", "network", "locale"), one
            assert one["left_out"]
        elif one["varied"] != "nothing":
            bad = [
                finding["name"]
                for finding in one["comparison"]["findings"]
                if finding["verdict"] == "different"
            ]
            assert bad == [one["varied"]], one
    assert not list(Path(os.environ["PROJRUN_CACHE_DIR"], "checkouts-v1").glob("*/"))


@pytest.mark.parametrize(
    ("faketime", "later"),
    [
        ("", "+2877120"),
        ("-1d", "+2790720"),
        ("+1.5h", "+2882520"),
        ("-40", "+2877080"),
        ("@2026-01-31", None),
    ],
)
def test_a_clock_that_is_off_already_goes_a_month_further(faketime: str, later: str | None) -> None:
    assert month_later({"FAKETIME": faketime}) == later


def test_a_result_that_depends_on_none_of_it_is_the_same_under_all(
    projrun: Projrun, make_project: MakeProject
) -> None:
    script = LOG + "import os\nopen('a', 'w').write(''.join(sorted(os.listdir('.'))))\n"
    run = ran(projrun, project_of(make_project, script))
    done = projrun("verify", run, "--vary", "hash-seed,directory,file-order,network,umask")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the same: all " in done.stdout
    shown = projrun("runs", "list", "--json", "-n", "1")
    assert json.loads(shown.stdout)[0]["tags"]["projrun.varies"] == "umask"


def test_without_a_network_the_run_still_logs_and_reaches_nobody_else(
    projrun: Projrun, make_project: MakeProject
) -> None:
    script = LOG + (
        "import socket\n"
        "listening = int(open('port').read())\n"
        "try:\n"
        "    socket.create_connection(('127.0.0.1', listening), 5); print('REACHED')\n"
        "except ConnectionRefusedError: print('ALONE')\n"
    )
    with socket.create_server(("127.0.0.1", 0)) as server:
        project = project_of(make_project, script)
        (project / "port").write_text(str(server.getsockname()[1]))
        run = ran(projrun, project)
        done = projrun("verify", run, "--vary", "network", "--format", "json")
    if "network" in impossible(done):
        pytest.skip(str(json.loads(done.stdout)["trials"][-1]["left_out"]))
    assert done.returncode == 0, done.stdout
    assert done.stderr.count("REACHED") == 2
    assert done.stderr.count("ALONE") == 1


def test_chance_is_not_mistaken_for_a_change(projrun: Projrun, make_project: MakeProject) -> None:
    run = ran(projrun, project_of(make_project, "import os; open('a', 'wb').write(os.urandom(9))"))
    done = projrun("verify", run, "--vary", "umask,user", "--format", "json")
    assert done.returncode == 1
    assert trials(done) == {"nothing": ["different"] * 2, "umask": ["left out"], "user": ["left out"]}
    assert len(json.loads(projrun("runs", "list", "--json").stdout)) == 4


def test_a_hash_seed_that_was_not_fixed_is_named(projrun: Projrun, make_project: MakeProject) -> None:
    script = "open('a', 'w').write(str(hash('text')))"
    run = ran(projrun, project_of(make_project, script), PYTHONHASHSEED="random")
    done = projrun("verify", run, "--vary", "hash-seed,umask", "--format", "json")
    assert done.returncode == 1
    verdicts = {"nothing": ["different", "same"], "hash-seed": ["different"], "umask": ["same"]}
    assert trials(done) == verdicts


def test_the_projects_own_sitecustomize_still_counts(projrun: Projrun, make_project: MakeProject) -> None:
    project = project_of(make_project, "import builtins; open('a', 'w').write(builtins.theirs)")
    (project / "own").mkdir()
    (project / "own" / "sitecustomize.py").write_text("import builtins; builtins.theirs = 'theirs'")
    run = ran(projrun, project, PYTHONPATH=str(project / "own"))
    done = projrun("verify", run, "--vary", "file-order")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("form", ["text", "json", "junit", "markdown", "github"])
def test_times_in_every_format(projrun: Projrun, make_project: MakeProject, form: str) -> None:
    script = "import os\nif os.getcwd() != os.environ['THERE']: open('a|b', 'w').write('1')"
    project = project_of(make_project, script)
    run = ran(projrun, project, THERE=str(project))
    done = projrun("verify", run, "--times", "2", "--format", form, environ={"THERE": str(project)})
    assert done.returncode == 1
    if form == "json":
        assert trials(done) == {"nothing": ["different", "different"]}
    elif form == "junit":
        suite = ElementTree.fromstring(done.stdout)
        assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("2", "2", "0")
    elif form == "markdown":
        assert done.stdout.count("| different |") == 2
        assert "a\\|b" in done.stdout
    elif form == "github":
        assert done.stdout.count("::error title=projrun verify --vary nothing::output a|b") == 2
    else:
        assert done.stdout.splitlines()[-1].startswith("not the same: run ")
