"""The output of a run on a server, while the run goes on."""

from __future__ import annotations

import time
from contextlib import ExitStack, closing

import pytest

from projrun.disk import Home
from projrun.record import OUTPUT_ARTIFACT
from projrun.runner import run as module
from projrun.runner.run import uploading
from projrun.server.endpoint import Endpoint
from projrun.tracking import Store, open_store, output_log
from projrun.tracking.output_log import follow_output, read_output


def test_a_log_on_a_server_grows_with_the_run(
    home: Home, embedded: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(module, "FIRST_S", 0.01)
    monkeypatch.setattr(output_log, "REMOTE_PAUSE_S", 0.01)
    with ExitStack() as stack:
        endpoint = stack.enter_context(closing(Endpoint(embedded)))
        monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", endpoint.token)
        remote = stack.enter_context(closing(open_store(home, endpoint.url)))
        run_id = remote.create_run("0").run_id
        log = remote.log_file(run_id, OUTPUT_ARTIFACT)
        with uploading(remote, run_id, log), log.open("ab", buffering=0) as file:
            file.write(b"one\n")
            chunks = follow_output(remote, run_id, lambda: None)
            assert next(chunks) == b"one\n"
            file.write(b"two\n")
            while b"".join(read_output(remote, run_id)) != b"one\ntwo\n":
                time.sleep(0.01)
            remote.update_run(run_id, status="FINISHED", end_time=1)
            assert b"".join(chunks) == b"two\n"
