"""Test what only the embedded store meets: many processes, sudden deaths, homes in disorder."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from projrun.disk import Home
from projrun.errors import TrackingError
from projrun.tracking import open_store
from projrun.tracking.entities import Metric
from projrun.tracking.sqlite.database import MIGRATIONS

Script = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def script(home: Home) -> Iterator[Script]:
    """A program of its own on the test's home, with `open_store` and `Metric`; arguments are in `argv`."""
    started: list[subprocess.Popen[str]] = []
    head = (
        "import sys, os\nfrom pathlib import Path\nargv = sys.argv[1:]\nfrom projrun.disk import home_from\n"
        "from projrun.tracking import open_store\nfrom projrun.tracking.entities import Metric\n"
    )

    def start(body: str, *arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", f"{head}{body}", *arguments], stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        assert process.stdout
        process.stdout.close()


def count(home: Home, query: str) -> int:
    with closing(sqlite3.connect(home.tracking_db)) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return int(db.execute(query).fetchone()[0])


def test_processes_that_open_a_new_store_at_once_all_get_it(home: Home, script: Script) -> None:
    processes = [script("open_store(home_from()).create_run('0')") for _ in range(6)]
    assert [process.wait() for process in processes] == [0] * 6
    assert count(home, "SELECT count(*) FROM runs") == 6
    assert count(home, "SELECT count(*) FROM migrations") == len(MIGRATIONS)
    assert count(home, "SELECT count(*) FROM experiments") == 1


def test_processes_that_log_into_one_run_lose_nothing(home: Home, script: Script) -> None:
    with closing(open_store(home)) as store:
        run = store.create_run("0").run_id
        body = (
            "store = open_store(home_from())\n"
            "for step in range(50):\n"
            "    metric = Metric('m', float(argv[1]), 1, step)\n"
            "    store.log_batch(argv[0], [metric], tags={argv[1]: str(step)})\n"
        )
        processes = [script(body, run, str(number)) for number in range(4)]
        assert [process.wait() for process in processes] == [0] * 4
        assert len(store.get_metric_history(run, "m")) == 200
        assert {store.get_run(run).tags[str(number)] for number in range(4)} == {"49"}


def test_processes_that_create_one_experiment_make_it_once(home: Home, script: Script) -> None:
    open_store(home).close()
    body = (
        "from projrun.errors import TrackingError\n"
        "try:\n    print(open_store(home_from()).create_experiment('same'))\n"
        "except TrackingError as error:\n    print(error.error_code)\n"
    )
    answers = sorted(process.communicate()[0].strip() for process in [script(body) for _ in range(5)])
    assert answers == ["1", *["RESOURCE_ALREADY_EXISTS"] * 4]


def test_what_a_killed_writer_had_committed_is_there(home: Home, script: Script) -> None:
    writer = script(
        "store = open_store(home_from())\n"
        "run = store.create_run('0').run_id\n"
        "for step in range(10**9):\n"
        "    store.log_batch(run, [Metric('m', 1.0, 1, step), Metric('n', 1.0, 1, step)])\n"
        "    print(run, step, flush=True)\n"
    )
    assert writer.stdout
    for _ in range(100):
        line = writer.stdout.readline()
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    rest = [text for text in writer.stdout.read().splitlines() if len(text.split()) == 2]
    run, step = (rest[-1] if rest else line).split()
    with closing(open_store(home)) as store:
        history = store.get_metric_history(run, "m")
        assert [metric.step for metric in history] == list(range(len(history)))
        assert len(history) in (int(step) + 1, int(step) + 2)
        assert len(store.get_metric_history(run, "n")) == len(history)
    assert count(home, "SELECT count(*) FROM runs") == 1


def test_a_current_store_opens_without_touching_its_schema(home: Home) -> None:
    open_store(home).close()
    (home.data / "tracking.db.lock").unlink()
    open_store(home).close()
    assert not (home.data / "tracking.db.lock").exists()


def test_a_store_of_a_newer_version_is_refused_untouched(home: Home) -> None:
    open_store(home).close()
    with closing(sqlite3.connect(home.tracking_db)) as db:
        db.execute("INSERT INTO migrations VALUES ('9999_of_the_future', 0)")
        db.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
        db.commit()
    with pytest.raises(TrackingError, match=r"9999_of_the_future.*upgrade projrun"):
        open_store(home)
    assert count(home, "PRAGMA user_version") == len(MIGRATIONS) + 1


def test_a_migration_that_fails_leaves_nothing_behind(home: Home) -> None:
    home.data.mkdir(parents=True)
    with closing(sqlite3.connect(home.tracking_db)) as db:
        db.execute("CREATE TABLE params (mine TEXT)")
    with pytest.raises(TrackingError, match="params already exists"):
        open_store(home)
    assert count(home, "SELECT count(*) FROM sqlite_master WHERE type = 'table'") == 1


def test_a_file_that_is_no_database_is_left_alone(home: Home) -> None:
    home.data.mkdir(parents=True)
    home.tracking_db.write_text("My important notes. " * 500)
    with pytest.raises(TrackingError, match=r"tracking.db.*not a database.*move it away") as caught:
        open_store(home)
    assert "\n" not in str(caught.value)
    assert home.tracking_db.read_text().startswith("My important notes.")


def test_a_damaged_database_is_a_plain_error(home: Home) -> None:
    with closing(open_store(home)) as store:
        run = store.create_run("0").run_id
        for step in range(20):
            store.log_batch(run, [Metric(f"m{n}", 1.0, 1, step) for n in range(50)])
    content = bytearray(home.tracking_db.read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    home.tracking_db.write_bytes(content)
    with pytest.raises(TrackingError, match=r"malformed.*backup"), closing(open_store(home)) as store:
        store.get_run(run)


def test_a_home_that_cannot_be_made_is_a_plain_error(home: Home, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TrackingError, match=r"Not a directory.*PROJRUN_HOME"):
        open_store(Home(home.cache, tmp_path / "file" / "data"))
    home.tracking_db.mkdir(parents=True)
    with pytest.raises(TrackingError, match=r"unable to open.*PROJRUN_HOME"):
        open_store(home)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_home_that_may_not_be_written_is_a_plain_error(home: Home) -> None:
    with closing(open_store(home)):
        pass
    home.tracking_db.chmod(0o400)
    with closing(open_store(home)) as store, pytest.raises(TrackingError, match=r"readonly.*PROJRUN_HOME"):
        store.create_run("0")


def test_a_full_disk_is_a_plain_error_and_what_was_there_stays(home: Home, script: Script) -> None:
    """A limit on the size of files stands for the disk."""
    with closing(open_store(home)) as store:
        run = store.create_run("0").run_id
    limit = home.tracking_db.stat().st_size + 100_000
    writer = script(
        "import resource\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (int(argv[1]), int(argv[1])))\n"
        "from projrun.errors import TrackingError\n"
        "store = open_store(home_from())\n"
        "try:\n"
        "    for step in range(1000):\n"
        "        store.log_batch(argv[0], [Metric(f'm{n}', 1.0, 1, step) for n in range(1000)])\n"
        "except TrackingError as error:\n"
        "    print(step, error)\n"
        "try:\n"
        "    store.write_artifact(argv[0], 'big', b'x' * 10**7)\n"
        "except TrackingError as error:\n"
        "    print(error)\n",
        run,
        str(limit),
    )
    first, second = writer.communicate()[0].splitlines()
    done, message = first.split(" ", 1)
    assert "tracking.db" in message and "disk" in message
    assert "File too large" in second
    with closing(open_store(home)) as store:
        assert store.list_artifacts(run) == []
        assert len(store.get_metric_history(run, "m0")) == int(done)


def test_a_store_that_is_closed_says_so(home: Home) -> None:
    store = open_store(home)
    store.close()
    store.close()
    with pytest.raises(TrackingError, match="closed"):
        store.get_run("0" * 32)


def test_opening_the_store_imports_nothing_heavy(script: Script) -> None:
    process = script("store = open_store(home_from())\nstore.create_run('0')\nprint(*sys.modules)\n")
    heavy = {"asyncio", "http", "http.client", "ssl", "logging", "random", "secrets", "starlette", "uvicorn"}
    heavy |= {
        "email",
        "urllib.request",
        "projrun.tracking.rest",
        "projrun.tracking.sqlite.searches",
    }
    heavy |= {
        f"projrun.tracking.{name}" for name in ("models", "sqlite.logged_models", "sqlite.model_registry")
    }
    assert heavy.isdisjoint(process.communicate()[0].split())


@pytest.mark.parametrize(
    ("location", "kept"),
    [
        ("s3://bucket/place/", "s3://bucket/place"),
        ("file:///tmp/place", "file:///tmp/place"),
        ("/tmp/a place", "file:///tmp/a%20place"),
    ],
)
def test_an_experiment_may_send_its_clients_elsewhere(home: Home, location: str, kept: str) -> None:
    """projrun's own files of such a run stay in its home."""
    with closing(open_store(home)) as store:
        number = store.create_experiment("e", artifact_location=location)
        run = store.create_run(number)
        assert store.get_experiment(number).artifact_location == kept
        assert run.artifact_uri == f"{kept}/{run.run_id}/artifacts"
        store.write_artifact(run.run_id, "a", b"x")
        assert (home.artifacts / number / run.run_id / "a").read_bytes() == b"x"


@pytest.mark.parametrize(
    "location",
    [
        "http://169.254.169.254/latest",
        "javascript:alert(1)",
        "mlflow-artifacts:/x",
        "gopher://x/y",
        "file://",
        "s3://bucket/../other",
        "s3://bucket/?versionId=1",
        "s3://bucket#fragment",
        "s3://" + "b" * 2048,
    ],
)
def test_other_locations_for_artifacts_are_refused(home: Home, location: str) -> None:
    with closing(open_store(home)) as store:
        for refused in (location, f"{home.artifacts.as_uri()}/0"):
            with pytest.raises(TrackingError) as caught:
                store.create_experiment("e", artifact_location=refused)
            assert caught.value.error_code == "INVALID_PARAMETER_VALUE"
        assert store.get_experiment_by_name("e") is None
