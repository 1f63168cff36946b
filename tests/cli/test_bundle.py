"""A run packed into one file, and done again from nothing else."""

from __future__ import annotations

import hashlib
import io
import json
import re
import shutil
import subprocess
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from tests.conftest import MakeProject, Projrun
from tests.support.crate_validator import VALIDATOR, complaint
from tests.support.mlflow_clients import Client
from tests.whole_runs.test_record import LOG

MLPROJECT = """
name: demo
entry_points:
  main:
    parameters: {data: path, word: {default: hello}}
    command: 'python train.py {data} {word}'
verify: {outputs: {"*.csv": {rtol: 1e-6}}}
"""
TRAIN = """
import sys
open("result.csv", "w").write(open(sys.argv[1]).read() + sys.argv[2])
open("large.bin", "wb").write(bytes(3000))
"""
LOCAL = ("--env-manager", "local")


@pytest.fixture
def project(make_project: MakeProject) -> Path:
    files = {"train.py": TRAIN, "LICENSE": "free", "sub dir/ü.txt": "ü"}
    project = make_project(MLproject=MLPROJECT, **files)
    (project / "train.py").chmod(0o755)
    (project / "link").symlink_to("train.py")
    (project.parent / "data.csv").write_text("1,2\n")
    return project


def run(projrun: Projrun, project: Path, *arguments: str) -> str:
    """The id of a new run."""
    before = {one["run_id"] for one in json.loads(projrun("runs", "list", "--json").stdout)}
    done = projrun("run", project, *arguments)
    assert done.returncode == 0, done.stderr
    after = {one["run_id"] for one in json.loads(projrun("runs", "list", "--json").stdout)}
    [run_id] = after - before
    return str(run_id)


def bundled(projrun: Projrun, project: Path, *options: str) -> Path:
    """The bundle of a run of the project, which is gone together with its input."""
    data = project.parent / "data.csv"
    run_id = run(projrun, project, *LOCAL, "-P", f"data={data}")
    target = project.parent / "x.zip"
    done = projrun("bundle", run_id, "-o", target, *options)
    assert done.returncode == 0, done.stderr
    shutil.rmtree(project)
    data.unlink()
    return target


@pytest.fixture
def elsewhere(tmp_path: Path) -> dict[str, str]:
    """Another machine: empty homes, no network."""
    place = tmp_path / "elsewhere"
    homes = {"PROJRUN_HOME": "data", "PROJRUN_CACHE_DIR": "cache", "UV_CACHE_DIR": "uv"}
    offline = {"PROJRUN_OFFLINE": "1", "UV_OFFLINE": "1", "PIP_NO_INDEX": "1"}
    return {**{name: str(place / directory) for name, directory in homes.items()}, **offline}


def test_a_bundle_is_verified_where_nothing_else_is_left(
    projrun: Projrun, project: Path, elsewhere: dict[str, str]
) -> None:
    bundle = bundled(projrun, project)
    done = projrun("verify", bundle, "--format", "json", environ=elsewhere)
    assert done.returncode == 0, done.stderr + done.stdout
    verdicts = {one["name"]: one["verdict"] for one in json.loads(done.stdout)["findings"]}
    assert verdicts == {"status": "same", "result.csv": "same", "large.bin": "same"}
    assert projrun("reproduce", bundle, environ=elsewhere).returncode == 0


def test_what_another_result_looks_like_is_known_from_the_bundle_alone(
    projrun: Projrun, project: Path, elsewhere: dict[str, str]
) -> None:
    (project / "train.py").write_text(TRAIN + "import os\nopen('result.csv', 'a').write(os.urandom(4).hex())")
    bundle = bundled(projrun, project)
    done = projrun("verify", bundle, environ=elsewhere)
    assert done.returncode == 1
    assert "output result.csv differs: row 2" in done.stdout


def test_a_bundle_is_a_project_again(projrun: Projrun, project: Path, elsewhere: dict[str, str]) -> None:
    bundle = bundled(projrun, project)
    (bundle.parent / "other").write_text("7")
    done = projrun("run", "x.zip", *LOCAL, "-P", "data=other", cwd=bundle.parent, environ=elsewhere)
    assert done.returncode == 0, done.stderr
    assert "demo, entry point main: FINISHED" in done.stderr


def test_the_project_in_a_subdirectory_is_found(
    projrun: Projrun, make_project: MakeProject, tmp_path: Path
) -> None:
    root = make_project("repository", **{"a/MLproject": MLPROJECT, "a/train.py": TRAIN, "shared.py": ""})
    subprocess.run(["git", "init", "-q", root], check=True)
    (tmp_path / "data").write_text("1")
    run_id = run(projrun, Path(f"{root}#a"), *LOCAL, "-P", f"data={tmp_path}/data")
    assert projrun("bundle", run_id, "-o", tmp_path / "x.zip").returncode == 0
    done = projrun("run", tmp_path / "x.zip", *LOCAL, "-P", f"data={tmp_path}/data")
    assert done.returncode == 0, done.stderr
    done = projrun("verify", tmp_path / "x.zip")
    assert done.returncode == 0, done.stderr


def test_a_bundle_of_a_bundled_run_is_the_same_file(
    projrun: Projrun, project: Path, elsewhere: dict[str, str]
) -> None:
    bundle = bundled(projrun, project)
    again = bundle.with_name("again.zip")
    assert projrun("bundle", bundle, "-o", again, environ=elsewhere).returncode == 0
    assert again.read_bytes() == bundle.read_bytes()


def test_the_source_in_it_is_the_tree_byte_for_byte(projrun: Projrun, project: Path) -> None:
    with zipfile.ZipFile(bundled(projrun, project)) as bundle:
        names = {name for name in bundle.namelist() if name.startswith("tree/")}
        assert names == {
            f"tree/{name}" for name in ("MLproject", "train.py", "LICENSE", "sub dir/ü.txt", "link")
        }
        assert bundle.read("tree/train.py").decode() == TRAIN
        assert bundle.getinfo("tree/train.py").external_attr >> 16 == 0o100755
        assert bundle.read("tree/link") == b"train.py"
        assert bundle.read("inputs/data/data.csv") == b"1,2\n"


def test_what_is_too_large_is_listed_by_its_digest(projrun: Projrun, project: Path) -> None:
    bundle = bundled(projrun, project, "--max-size", "2KB")
    graph = entities(bundle)
    with zipfile.ZipFile(bundle) as opened:
        assert not [name for name in opened.namelist() if "large.bin" in name]
    assert graph["#output/file/large.bin"]["contentSize"] == "3000"
    assert len(graph["#output/file/large.bin"]["sha256"]) == 64
    assert graph["run/projrun/outputs/result.csv"]["@type"] == "File"


def entities(bundle: Path) -> dict[str, dict[str, Any]]:
    with zipfile.ZipFile(bundle) as opened:
        graph = json.loads(opened.read("ro-crate-metadata.json"))["@graph"]
    return {one["@id"]: one for one in graph}


def test_a_bundle_that_was_changed_is_refused(projrun: Projrun, project: Path) -> None:
    bundle = bundled(projrun, project)
    changes = {
        "is not what was packed": {"tree/train.py": b"print('other')"},
        "is no part of the bundle": {"tree/more.py": b""},
        "has version 99": {"bundle.json": b'{"bundle_version": 99, "files": {}}'},
        "leads out of it": {"../../out.py": b""},
    }
    for complained, changed in changes.items():
        other = bundle.with_name("other.zip")
        with zipfile.ZipFile(bundle) as source, zipfile.ZipFile(other, "w") as target:
            for info in source.infolist():
                target.writestr(info, changed.get(info.filename, source.read(info)))
            for name in changed.keys() - set(source.namelist()):
                target.writestr(name, changed[name])
        done = projrun("reproduce", other)
        assert done.returncode == 125
        assert complained in done.stderr
        assert len(done.stderr.splitlines()) == 1
    (bundle.parent / "half.zip").write_bytes(bundle.read_bytes()[:500])
    done = projrun("reproduce", bundle.parent / "half.zip")
    assert (done.returncode, len(done.stderr.splitlines())) == (125, 1)
    with zipfile.ZipFile(bundle.parent / "plain.zip", "w") as plain:
        plain.writestr("MLproject", "")
    assert "is no bundle of projrun" in projrun("reproduce", bundle.parent / "plain.zip").stderr


def test_an_input_that_changed_since_is_not_taken_for_what_was_read(projrun: Projrun, project: Path) -> None:
    data = project.parent / "data.csv"
    run_id = run(projrun, project, *LOCAL, "-P", f"data={data}")
    data.write_text("changed")
    done = projrun("bundle", run_id, "-o", project.parent / "x.zip")
    assert done.returncode == 0
    assert "the input 'data'" in done.stderr
    assert "is not what the run read any more" in done.stderr
    done = projrun("reproduce", project.parent / "x.zip")
    assert done.returncode == 125
    assert "the input 'data'" in done.stderr


def test_wrong_names_are_one_line_errors(projrun: Projrun, project: Path) -> None:
    data = project.parent / "data.csv"
    run_id = run(projrun, project, *LOCAL, "-P", f"data={data}")
    assert "let its name end in .zip" in projrun("bundle", run_id, "-o", "x.tar").stderr
    done = projrun("bundle", run_id, "-o", data / "x.zip")
    assert done.returncode == 125
    assert "cannot be written" in done.stderr
    assert projrun("bundle", "nothing", "-o", "x.zip").returncode == 125


@pytest.mark.parametrize("manager", ["uv", "virtualenv"])
def test_with_packages_it_needs_no_index(
    manager: str, projrun: Projrun, make_project: MakeProject, tmp_path: Path, elsewhere: dict[str, str]
) -> None:
    text = "python_env: env.yaml\nentry_points: {main: {command: python show.py}}"
    files = {"env.yaml": "dependencies: [idna==3.7]\n", "show.py": "import idna; print(idna.__version__)"}
    project = make_project(MLproject=text, **files)
    run_id = run(projrun, project, "--env-manager", manager)
    bundle = tmp_path / "x.zip"
    assert projrun("bundle", run_id, "-o", bundle).returncode == 0
    done = projrun("reproduce", bundle, environ=elsewhere)
    assert done.returncode == 125, "without the packages it cannot be had"
    done = projrun("bundle", run_id, "-o", bundle, "--with-packages")
    assert done.returncode == 0, done.stderr
    done = projrun("verify", bundle, "--format", "json", environ=elsewhere)
    assert done.returncode == 0, done.stderr
    assert "3.7" in done.stderr
    assert not [one for one in json.loads(done.stdout)["differences"] if one["determinant"] == "lock"]


def test_packages_whose_content_is_not_the_locked_one_are_refused(
    projrun: Projrun, make_project: MakeProject, tmp_path: Path, elsewhere: dict[str, str]
) -> None:
    """Whoever packs a bundle can write any digests into it, but not into the lock that the record names."""
    text = "python_env: env.yaml\nentry_points: {main: {command: 'true'}}"
    run_id = run(projrun, make_project(MLproject=text, **{"env.yaml": "dependencies: [idna==3.7]\n"}))
    bundle, other = tmp_path / "x.zip", tmp_path / "other.zip"
    assert projrun("bundle", run_id, "-o", bundle, "--with-packages").returncode == 0
    with zipfile.ZipFile(bundle) as source, zipfile.ZipFile(other, "w") as target:
        manifest = json.loads(source.read("bundle.json"))
        for name in source.namelist():
            content = source.read(name)
            if name.endswith(".whl"):
                content = with_more_code(content)
                manifest["files"][name] = {
                    "size": len(content),
                    "sha256": hashlib.sha256(content).hexdigest(),
                }
            if name != "bundle.json":
                target.writestr(name, content)
        target.writestr("bundle.json", json.dumps(manifest))
    done = projrun("reproduce", other, environ=elsewhere)
    assert done.returncode == 125
    said = "Hash mismatch|has size .* but the lockfile records"  # whichever uv sees first
    assert re.search(said, done.stderr), done.stderr


def with_more_code(wheel: bytes) -> bytes:
    changed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(wheel)) as source, zipfile.ZipFile(changed, "w") as target:
        for name in source.namelist():
            more = b"import os\n" if name == "idna/__init__.py" else b""
            target.writestr(name, more + source.read(name))
    return changed.getvalue()


def test_a_commit_is_had_from_the_bundle_when_its_remote_is_gone(
    projrun: Projrun, project: Path, elsewhere: dict[str, str], tmp_path: Path
) -> None:
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "one"]):
        subprocess.run(["git", *command], cwd=project, check=True)
    remote = tmp_path / "remote"
    project.rename(remote)
    data = tmp_path / "data.csv"
    done = projrun("run", f"file://{remote}", *LOCAL, "-P", f"data={data}")
    assert done.returncode == 0, done.stderr
    run_id = json.loads(projrun("runs", "list", "--json").stdout)[0]["run_id"]
    bundle = tmp_path / "x.zip"
    assert projrun("bundle", run_id, "-o", bundle).returncode == 0
    with zipfile.ZipFile(bundle) as opened:
        assert not [name for name in opened.namelist() if ".git/" in name]
    shutil.rmtree(remote)
    data.unlink()
    done = projrun("verify", bundle, environ=elsewhere)
    assert done.returncode == 0, done.stderr + done.stdout


def test_artifacts_and_a_downloaded_input_go_along(
    projrun: Projrun, make_project: MakeProject, elsewhere: dict[str, str], tmp_path: Path
) -> None:
    text = "entry_points: {main: {parameters: {data: path}, command: 'cmp {data} copy && python log.py'}}"
    project = make_project(MLproject=text, **{"log.py": LOG, "copy": "far away"})
    served = tmp_path / "served"
    served.mkdir()
    (served / "far.csv").write_text("far away")
    with serving(served) as url:
        run_id = run(projrun, project, *LOCAL, "-P", f"data={url}/far.csv")
        bundle = tmp_path / "x.zip"
        done = projrun("bundle", run_id, "-o", bundle)
        assert (done.returncode, "digest" in done.stderr) == (0, False), done.stderr
    with zipfile.ZipFile(bundle) as opened:
        assert opened.read("run/plots/a.txt") == b"plotted"
    done = projrun("verify", bundle, environ=elsewhere)
    assert done.returncode == 0, done.stderr + done.stdout
    assert "output plots/a.txt  same" in done.stdout


@contextmanager
def serving(directory: Path) -> Iterator[str]:
    """A web server on loopback; its URL."""
    handler = partial(SimpleHTTPRequestHandler, directory=str(directory))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


PROFILES = {"workflow-run-crate-0.5": MLPROJECT, "process-run-crate-0.5": ""}


@pytest.mark.parametrize("profile", PROFILES)
def test_it_passes_the_validator_of_its_profile(
    profile: str, projrun: Projrun, project: Path, client_python: Client, tmp_path: Path
) -> None:
    python = client_python("", *VALIDATOR)
    entry_point: tuple[str, ...] = ()
    data = project.parent / "data.csv"
    if not PROFILES[profile]:
        (project / "MLproject").unlink()
        (project / "go.sh").write_text(f"python train.py {data} x; ln -s train.py l; rm LICENSE")
        entry_point = ("-e", "go.sh")
    arguments = [] if entry_point else ["-P", f"data={data}"]
    run_id = run(projrun, project, *entry_point, *LOCAL, *arguments)
    bundle = tmp_path / "x.zip"
    assert projrun("bundle", run_id, "-o", bundle, "--max-size", "2KB").returncode == 0
    assert complaint(python, bundle, profile, tmp_path) == ""
    if profile == "process-run-crate-0.5":  # once will do: it takes seconds
        with zipfile.ZipFile(bundle) as source:
            source.extractall(tmp_path / "broken")
        metadata = tmp_path / "broken/ro-crate-metadata.json"
        metadata.write_text(metadata.read_text().replace('"instrument"', '"agent"'))
        assert "instrument" in complaint(python, tmp_path / "broken", profile, tmp_path)
