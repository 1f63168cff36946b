"""What the process of a run must know to log into it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from typing import cast

from projrun.masking import hidden_in_output
from projrun.server.endpoint import Endpoint
from projrun.server.ownrun import OwnRun
from projrun.tracking import Store
from projrun.tracking.entities import Run

ENDPOINT = "PROJRUN_ENDPOINT"
"""Says that a tracking URI is the endpoint of a run, which ends with it."""


def without_endpoint(environ: Mapping[str, str]) -> dict[str, str]:
    """`environ` for a process that outlives the run that we are part of: it opens the store itself."""
    given = environ.get("MLFLOW_TRACKING_URI")
    of_a_run = {ENDPOINT, "MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_TOKEN"}
    if not given or given != environ.get(ENDPOINT):
        return dict(environ)
    return {name: value for name, value in environ.items() if name not in of_a_run}


@contextmanager
def tracking_variables(
    store: Store, run: Run, reach: tuple[str, str] = ("", ""), *, pinned: bool = False
) -> Iterator[dict[str, str | None]]:
    """Environment variables from which an unmodified mlflow client logs into `run`, while the block runs.

    reach: address and device at which a process in a container finds this machine.
    pinned: the user named its experiment, so that the client cannot.
    """
    variables: dict[str, str | None] = {
        "MLFLOW_RUN_ID": run.run_id,
        "MLFLOW_EXPERIMENT_ID": run.experiment_id,
        "MLFLOW_EXPERIMENT_NAME": None,
        "PYTHONUNBUFFERED": os.environ.get("PYTHONUNBUFFERED", "1"),  # output is live in a pipe too
    }
    if store.uri.startswith("http"):
        # The server's address and credentials are in the environment already.
        with hidden_in_output(os.environ.get("MLFLOW_TRACKING_TOKEN", "")):
            yield variables
        return
    own = OwnRun(store, run.run_id, pinned=pinned)
    with closing(Endpoint(cast(Store, own), *reach)) as endpoint, ExitStack() as stack:
        stack.callback(own.release)
        stack.enter_context(hidden_in_output(endpoint.token))
        not_proxied = ",".join(filter(None, (os.environ.get("NO_PROXY", ""), endpoint.host)))
        yield {
            **variables,
            "MLFLOW_TRACKING_URI": endpoint.url,
            ENDPOINT: endpoint.url,
            "MLFLOW_TRACKING_TOKEN": endpoint.token,
            "MLFLOW_TRACKING_USERNAME": None,
            "MLFLOW_TRACKING_PASSWORD": None,
            "NO_PROXY": not_proxied,
            "no_proxy": not_proxied,
            "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # the address ends with the run
        }
