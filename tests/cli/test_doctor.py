"""Stories of `projrun doctor`."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Projrun


def found(projrun: Projrun, **environ: str) -> tuple[int, dict[str, Any]]:
    done = projrun("doctor", "--json", environ=environ)
    assert done.stderr == ""
    return done.returncode, {one["name"]: one for one in json.loads(done.stdout)}


def test_everything_has_a_line_and_what_is_not_ok_a_next_step(projrun: Projrun) -> None:
    _, findings = found(projrun)
    programs = {"git", "uv", "Pythons", "docker", "conda"}
    assert set(findings) == programs | {"cgroups", "store", "disk", "network"}
    for one in findings.values():
        assert one["detail"]
        assert one["state"] == "ok" or one["hint"]
    for name in ("git", "uv", "Pythons", "store"):
        assert findings[name]["state"] == "ok", findings[name]
    text = projrun("doctor").stdout
    assert all(name in text for name in findings)


def test_what_is_broken_is_said_and_is_exit_code_1(projrun: Projrun, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    code, findings = found(
        projrun,
        PROJRUN_HOME=str(tmp_path / "file" / "data"),
        UV_DEFAULT_INDEX="http://user:s3cret@127.0.0.1:9/simple",
        UV_HTTP_RETRIES="0",
        UV_INDEX_URL="",
        UV_EXTRA_INDEX_URL="",
    )
    assert code == 1
    assert findings["store"]["state"] == "broken"
    assert findings["network"]["state"] == "broken"
    assert "s3cret" not in json.dumps(findings)


@pytest.mark.skipif(shutil.which("docker") is None, reason="there is no docker")
def test_an_engine_that_does_not_run_is_broken(projrun: Projrun, tmp_path: Path) -> None:
    code, findings = found(projrun, DOCKER_HOST=f"unix://{tmp_path}/no.sock", DOCKER_CONTEXT="")
    assert code == 1
    assert (findings["docker"]["state"], "start its engine" in findings["docker"]["hint"]) == ("broken", True)


def test_a_program_that_is_not_there_is_said(projrun: Projrun, tmp_path: Path) -> None:
    _, findings = found(projrun, PATH=str(tmp_path))
    assert findings["git"]["state"] == "broken"
    assert findings["docker"]["state"] == "missing"
    assert os.environ["PROJRUN_CACHE_DIR"] in findings["disk"]["detail"]
