"""Runs in containers done again: by the image that was recorded, whatever its name means now."""

from __future__ import annotations

import json
from pathlib import Path

from tests.conftest import MakeProject, Projrun
from tests.containers.conftest import artifact, docker, runs_of


def build(tag: str, base: str, word: str, directory: Path) -> str:
    """The id of an image whose /etc/word is `word`."""
    (directory / "Dockerfile").write_text(f"FROM {base}\nRUN echo {word} > /etc/word\n")
    docker("build", "--quiet", "--tag", tag, str(directory))
    return docker("inspect", "--format", "{{.Id}}", tag)


def test_a_run_is_done_again_in_its_own_image_or_not_at_all(
    shell_image: str, projrun: Projrun, make_project: MakeProject, tmp_path: Path
) -> None:
    tag = f"projrun-test/again:{tmp_path.parent.name.lower()}"
    section = f"docker_env: {{image: '{tag}', environment: [WORD], volumes: ['./data:/data']}}\n"
    command = 'cat /etc/word /data/word; test "$WORD" = given'
    mlproject = f"{section}entry_points: {{main: {{command: {json.dumps(command)}}}}}\n"
    project = make_project(MLproject=mlproject, **{"data/word": "then\n"})
    first = build(tag, shell_image, "one", tmp_path)
    second = ""
    given = {"WORD": "given"}
    try:
        assert projrun("run", project, environ=given).stdout == "one\nthen\n"
        run = str(runs_of(projrun)[0]["run_id"])
        second = build(tag, shell_image, "two", tmp_path)
        (project / "data" / "word").write_text("now\n")
        again = projrun("reproduce", run, environ=given)
        assert again.stdout == "one\nthen\n", again.stderr
        record = json.loads(artifact(runs_of(projrun)[0], "projrun/record.json"))
        assert record["environment"]["image"] == first
        without = projrun("reproduce", run)
        assert "WORD" in without.stderr
        docker("rmi", "--force", first)
        before = len(runs_of(projrun))
        gone = projrun("reproduce", run, environ=given)
        assert gone.returncode == 125
        assert f"the image {first[:19]}… is not on this machine" in gone.stderr
        assert len(runs_of(projrun)) == before
    finally:
        docker("rmi", "--force", *filter(None, [second]), tag)
