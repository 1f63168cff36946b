"""Podman of an ordinary user: root in a container is that user outside."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Projrun
from tests.containers import slim_image
from tests.containers.conftest import eventually, gone, runs_of
from tests.containers.test_podman import SETTINGS

IMAGE = "projrun-test/rootless:base"
USER = "projrun-rootless"


def unusable() -> str:
    if os.getuid():
        return "making a user takes root"
    missing = [
        name for name in ("podman", "docker", "runc", "catatonit", "newuidmap") if not shutil.which(name)
    ]
    return f"{', '.join(missing)} is not installed" if missing else ""


@pytest.fixture
def user() -> Iterator[pwd.struct_passwd]:
    """An ordinary user with a range of subordinate ids."""
    problem = unusable()
    if problem and os.environ.get("PROJRUN_TEST_ENGINES") == "1":
        pytest.fail(problem)
    if problem:
        pytest.skip(problem)
    subprocess.run(["useradd", "--create-home", USER], check=True)
    try:
        yield pwd.getpwnam(USER)
    finally:
        subprocess.run(["userdel", "--remove", USER], capture_output=True)


@pytest.fixture
def service(user: pwd.struct_passwd, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Address of the user's own service, which has the base image."""
    place = Path(tempfile.mkdtemp(prefix="rootless-"))
    (place / "containers.conf").write_text(SETTINGS)
    (place / "storage.conf").write_text('[storage]\ndriver = "vfs"\n')
    for path in (place, *place.iterdir()):
        os.chown(path, user.pw_uid, user.pw_gid)
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": user.pw_dir,
        "XDG_RUNTIME_DIR": str(place),
        "CONTAINERS_CONF": str(place / "containers.conf"),
        "CONTAINERS_STORAGE_CONF": str(place / "storage.conf"),
    }

    def podman(*arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["podman", *arguments],
            env=environ,
            cwd=place,
            stderr=subprocess.PIPE,
            text=True,
            user=user.pw_uid,
            group=user.pw_gid,
            extra_groups=(),
        )

    with podman("unshare", "true") as tried:
        said = tried.communicate()[1]
    if tried.returncode:
        shutil.rmtree(place)
        pytest.skip(f"this machine gives users no namespaces of their own: {said.strip()}")
    address = f"unix://{place}/socket"
    monkeypatch.setenv("DOCKER_HOST", address)
    with podman("system", "service", "--time", "0", address) as serving:
        try:
            assert eventually((place / "socket").exists)
            slim_image.make(IMAGE, python=False)
            yield address
        finally:
            with podman("system", "reset", "--force") as resetting:
                resetting.communicate()
            serving.terminate()
    shutil.rmtree(place, ignore_errors=True)


def test_outputs_belong_to_the_user_whose_engine_it_is(
    service: str, user: pwd.struct_passwd, projrun: Projrun
) -> None:
    section = f"docker_env: {{image: '{IMAGE}'}}\n"
    command = "'touch made.txt && id -u && touch $HOME/writable; exit 5'"
    project = Path(user.pw_dir, "project")
    project.mkdir()
    (project / "MLproject").write_text(f"{section}entry_points: {{main: {{command: {command}}}}}\n")
    os.chown(project, user.pw_uid, user.pw_gid)
    done = projrun("run", project, "-A", "network=host")
    assert (done.returncode, done.stdout) == (5, "0\n"), done.stderr
    assert (project / "made.txt").stat().st_uid == user.pw_uid
    (run,) = runs_of(projrun)
    assert gone(str(run["run_id"]))
