"""What the process of a run must know to log into it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager

from projrun.server.endpoint import Endpoint
from projrun.tracking import Store
from projrun.tracking.entities import Run


@contextmanager
def tracking_variables(
    store: Store, run: Run, reach: tuple[str, str] = ("", "")
) -> Iterator[dict[str, str | None]]:
    """Environment variables from which an unmodified mlflow client logs into `run`, while the block runs.

    reach: address and device at which a process in a container finds this machine.
    """
    variables: dict[str, str | None] = {
        "MLFLOW_RUN_ID": run.run_id,
        "MLFLOW_EXPERIMENT_ID": run.experiment_id,
        "MLFLOW_EXPERIMENT_NAME": None,
        "PYTHONUNBUFFERED": os.environ.get("PYTHONUNBUFFERED", "1"),  # output is live in a pipe too
    }
    if store.uri.startswith("http"):
        yield variables  # the server's address and credentials are in the environment already
        return
    with closing(Endpoint(store, *reach)) as endpoint:
        not_proxied = ",".join(filter(None, (os.environ.get("NO_PROXY", ""), endpoint.host)))
        yield {
            **variables,
            "MLFLOW_TRACKING_URI": endpoint.url,
            "MLFLOW_TRACKING_TOKEN": endpoint.token,
            "MLFLOW_TRACKING_USERNAME": None,
            "MLFLOW_TRACKING_PASSWORD": None,
            "NO_PROXY": not_proxied,
            "no_proxy": not_proxied,
            "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # the address ends with the run
        }
