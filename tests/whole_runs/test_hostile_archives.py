"""Archives, bundles and records of a stranger, given to the commands that only look and to those that run."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest

from projrun.disk import Home
from tests.conftest import MakeProject, Projrun
from tests.support.archives import Entry, state_of, write_tar, write_zip

LOOKING = [
    ("describe",),
    ("describe", "--json"),
    ("validate",),
    ("run", "--dry-run", "--env-manager", "local"),
    ("run", "--env-manager", "local"),
]
MLPROJECT = "entry_points: {main: {command: 'echo ran'}}\n"


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / ".bashrc").write_text("precious")
    return victim


def attacks(victim: Path) -> dict[str, list[Entry]]:
    return {
        "a link below a link": [
            Entry("p/a", "link", str(victim)),
            Entry("p/a/.bashrc", "link", "anything"),
        ],
        "a file below a link": [Entry("p/a", "link", str(victim)), Entry("p/a/.bashrc", text="evil")],
        "an absolute name": [Entry(str(victim / ".bashrc"), text="evil")],
        "a link that leads out": [Entry("p/a", "link", str(victim / ".bashrc"))],
    }


@pytest.mark.parametrize("form", ["zip", "tar.gz"])
@pytest.mark.parametrize("attack", ["a link below a link", "a file below a link", "an absolute name"])
@pytest.mark.parametrize("command", LOOKING, ids=" ".join)
def test_an_archive_changes_nothing_outside(
    projrun: Projrun,
    tmp_path: Path,
    victim: Path,
    home: Home,
    command: tuple[str, ...],
    attack: str,
    form: str,
) -> None:
    entries = [Entry("p/MLproject", text=MLPROJECT), *attacks(victim)[attack]]
    archive = (write_zip if form == "zip" else write_tar)(tmp_path / f"evil.{form}", entries)
    before = state_of(victim)
    done = projrun(*command, archive)
    assert done.returncode == 125, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert state_of(victim) == before
    assert [entry for entry in home.checkouts.iterdir() if entry.is_dir()] == []


@pytest.mark.parametrize("name", ["MLproject", "python_env.yaml", "requirements.txt"])
def test_an_archive_does_not_show_files_of_this_machine(
    projrun: Projrun, tmp_path: Path, victim: Path, name: str
) -> None:
    entries = [Entry("p/train.py"), Entry(f"p/{name}", "link", str(victim / ".bashrc"))]
    done = projrun("describe", write_zip(tmp_path / "evil.zip", entries))
    assert done.returncode == 125
    assert "precious" not in done.stdout + done.stderr
    assert "leads out of it" in done.stderr


def test_an_interrupted_archive_leaves_nothing(tmp_path: Path, home: Home) -> None:
    archive = write_zip(tmp_path / "p.zip", [Entry(f"d{n % 90}/f{n}", text="x") for n in range(40_000)])
    process = subprocess.Popen([sys.executable, "-m", "projrun", "describe", archive], stderr=subprocess.PIPE)
    while not list(home.checkouts.glob("*/*/d*/f*")):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130
    assert b"Traceback" not in said
    assert [entry for entry in home.checkouts.iterdir() if entry.is_dir()] == []


# bundles and records


@pytest.fixture
def run_of_files(projrun: Projrun, make_project: MakeProject) -> str:
    """The id of a run whose whole source is in its source.tar.gz."""
    project = make_project(MLproject=MLPROJECT, data="x")
    done = projrun("run", project, "--env-manager", "local")
    assert done.returncode == 0, done.stderr
    return str(json.loads(projrun("runs", "list", "--json").stdout)[0]["run_id"])


def record_of(home: Home) -> Path:
    (found,) = home.artifacts.glob("*/*/projrun/record.json")
    return found


def replace_source(record_file: Path, entries: list[Entry]) -> None:
    """Put another source.tar.gz beside the record, which has its digest."""
    record: dict[str, Any] = json.loads(record_file.read_text())
    source = record_file.parent.parent / record["closure"]["artifact"]
    source.unlink()
    write_tar(source, entries)
    record["closure"]["sha256"] = hashlib.sha256(source.read_bytes()).hexdigest()
    record_file.write_text(json.dumps(record))


def bundle_of(record_file: Path, target: Path, entries: list[Entry]) -> Path:
    """Write a bundle whose manifest agrees with it: the record, its source.tar.gz, and `entries`."""
    top = record_file.parent.parent
    files = {path: path.read_text(errors="surrogateescape") for path in [record_file]}
    packed = [Entry(f"run/{path.relative_to(top)}", text=text) for path, text in files.items()]
    packed += [entry for entry in entries if entry.kind != "directory"]
    digests = {
        entry.name: {"size": len(entry.text), "sha256": hashlib.sha256(entry.text.encode()).hexdigest()}
        for entry in packed
    }
    write_zip(target, packed)
    source = top / json.loads(record_file.read_text())["closure"]["artifact"]
    name = f"run/{source.relative_to(top)}"
    content = source.read_bytes()
    digests[name] = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    with zipfile.ZipFile(target, "a") as archive:
        archive.writestr(name, content)
        if "bundle.json" not in digests:
            archive.writestr("bundle.json", json.dumps({"files": digests}))
    return target


def attacks_on_trees(victim: Path) -> dict[str, list[Entry]]:
    prefixed = {
        name: [entry._replace(name=f"tree/{entry.name}") for entry in entries]
        for name, entries in attacks(victim).items()
        if name in ("a link below a link", "a file below a link")
    }
    up = "../" * 30 + str(victim).lstrip("/")
    return {
        **prefixed,
        "a name with ..": [Entry(f"tree/{up}/.bashrc", text="evil")],
        "a removed file": [Entry("removed", text=f"{up}/.bashrc\0"), Entry("tree/MLproject", text=MLPROJECT)],
    }


REPEATING = [
    ("runs", "source", "RUN", "-o", "given-back"),
    ("reproduce", "RUN"),
    ("verify", "RUN"),
    ("diff", "RUN", "OTHER"),
]


@pytest.mark.parametrize(
    "attack", ["a link below a link", "a file below a link", "a name with ..", "a removed file"]
)
@pytest.mark.parametrize("place", ["store", "bundle"])
def test_a_crafted_source_of_a_record_changes_nothing_outside(
    projrun: Projrun, run_of_files: str, tmp_path: Path, victim: Path, home: Home, place: str, attack: str
) -> None:
    done = projrun("reproduce", run_of_files)  # to be compared with
    assert done.returncode == 0, done.stderr
    other = json.loads(projrun("runs", "list", "--json").stdout)[0]["run_id"]
    (record_file,) = home.artifacts.glob(f"*/{run_of_files}/projrun/record.json")
    replace_source(record_file, attacks_on_trees(victim)[attack])
    name = run_of_files
    if place == "bundle":
        name = str(bundle_of(record_file, tmp_path / "evil.zip", []))
    before = state_of(victim)
    for command in REPEATING:
        words = [{"RUN": name, "OTHER": other}.get(word, word) for word in command]
        done = projrun(*words, cwd=tmp_path)
        assert "Traceback" not in done.stderr
        assert done.returncode == 125 or command[0] == "diff", (words, done.stdout, done.stderr)
        assert state_of(victim) == before, words
        assert [entry for entry in home.checkouts.iterdir() if entry.is_dir()] == []
    assert not (tmp_path / "given-back").exists()


@pytest.mark.parametrize("attack", ["a link below a link", "a file below a link"])
@pytest.mark.parametrize("prefix", ["tree/", "run/", "inputs/"])
def test_a_bundle_changes_nothing_outside(
    projrun: Projrun, run_of_files: str, tmp_path: Path, victim: Path, home: Home, attack: str, prefix: str
) -> None:
    entries = [entry._replace(name=f"{prefix}{entry.name}") for entry in attacks(victim)[attack]]
    bundle = bundle_of(
        record_of(home), tmp_path / "evil.zip", [Entry("tree/MLproject", text=MLPROJECT), *entries]
    )
    before = state_of(victim)
    for command in (*REPEATING, ("describe", "RUN"), ("run", "RUN", "--env-manager", "local")):
        words = [{"RUN": str(bundle), "OTHER": run_of_files}.get(word, word) for word in command]
        done = projrun(*words, cwd=tmp_path)
        assert done.returncode == 125, (words, done.stdout, done.stderr)
        assert state_of(victim) == before, words


@pytest.mark.parametrize("name", ["bundle.json", "run", "run/projrun/record.json", "inputs", "tree"])
def test_links_are_in_the_tree_of_a_bundle_alone(
    projrun: Projrun, run_of_files: str, tmp_path: Path, victim: Path, home: Home, name: str
) -> None:
    target = tmp_path / "evil.zip"
    entries = [Entry("run/projrun/record.json", text="{}"), Entry("bundle.json", text='{"files": {}}')]
    kept = [entry for entry in entries if not f"{entry.name}/".startswith(f"{name}/")]
    (victim / "projrun").mkdir()
    (victim / "projrun/record.json").write_text("precious")
    to = victim if name in ("run", "inputs", "tree") else victim / ".bashrc"
    write_zip(target, [*kept, Entry(name, "link", str(to))])
    done = projrun("reproduce", target)
    assert done.returncode == 125
    assert "precious" not in done.stderr
    assert "is a link" in done.stderr or "is no bundle" in done.stderr


@pytest.mark.parametrize(
    "tree", [Entry("tree", "link", "run"), Entry("tree", text="x")], ids=["link", "file"]
)
def test_the_tree_of_a_bundle_is_a_directory(projrun: Projrun, tmp_path: Path, tree: Entry) -> None:
    record = Entry("run/projrun/record.json", text="{}")
    done = projrun("describe", write_zip(tmp_path / "evil.zip", [record, tree]))
    assert done.returncode == 125
    assert "the bundle has no source" in done.stderr


def test_links_of_the_author_come_back_as_links(
    projrun: Projrun, run_of_files: str, tmp_path: Path, victim: Path, home: Home
) -> None:
    before = state_of(victim)
    link = Entry("tree/out", "link", str(victim))
    replace_source(record_of(home), [Entry("tree/MLproject", text=MLPROJECT), link])
    done = projrun("runs", "source", run_of_files, "-o", "given-back", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert os.readlink(tmp_path / "given-back/out") == str(victim)
    assert state_of(victim) == before


@pytest.mark.parametrize("artifact", ["../../x.tar.gz", "ABSOLUTE", "projrun/link.tar.gz"])
def test_the_source_of_a_record_lies_beside_it(
    projrun: Projrun, run_of_files: str, tmp_path: Path, home: Home, artifact: str
) -> None:
    place = tmp_path / "a/b"
    (place / "projrun").mkdir(parents=True)
    outside = write_tar(tmp_path / "x.tar.gz", [Entry("tree/MLproject", text=MLPROJECT)])
    (place / "projrun/link.tar.gz").symlink_to(outside)
    record = json.loads(record_of(home).read_text())
    record["closure"]["artifact"] = artifact.replace("ABSOLUTE", str(outside))
    record["closure"]["sha256"] = hashlib.sha256(outside.read_bytes()).hexdigest()
    (place / "projrun/record.json").write_text(json.dumps(record))
    done = projrun("runs", "source", place / "projrun/record.json", "-o", tmp_path / "given-back")
    assert done.returncode == 125, done.stderr
    assert "is not what was recorded" in done.stderr
