"""From a request to a record: the only room that knows all stations.

run:  check -> fetch -> plan -> (create the run) -> gather the inputs -> provide the environment
      -> execute -> remember
"""

from __future__ import annotations

from contextlib import ExitStack, closing

from projrun import sources
from projrun.backends import backend_named
from projrun.environments import manager_named
from projrun.errors import ProjrunError, UsageError
from projrun.home import Home
from projrun.inputs.storage import discard, storage_for
from projrun.masking import hide
from projrun.network import offline
from projrun.output import warn
from projrun.plan import Checkout
from projrun.record import Record
from projrun.request import Request
from projrun.runner.performing import perform
from projrun.runner.planning import make_plan
from projrun.sources.closure import Captured
from projrun.tracking.entities import RunStatus
from projrun.tracking.hook import RunHook
from projrun.tracking.supervision import settled_store, supervising
from projrun.usage import now_ms


def run(request: Request, home: Home, supervision: str = "") -> Record:
    """Do what the request says and wait for its end.

    supervision: what `supervising` takes when another process has scheduled the run.

    Returns the record of a process that ran to its end, whatever its exit code. Raises ProjrunError when
    it could not be run, and KeyboardInterrupt when it was interrupted; a run that exists by then is settled.
    """
    hide(request.variables.values(), in_output=request.mask_output)
    check(request)
    started = now_ms()
    with (
        offline(request.offline),
        closing(settled_store(home)) as store,
        supervising(home, store, supervision) as supervisor,
        ExitStack() as stack,
    ):
        hook = RunHook(store, request, supervisor)
        try:
            checkout, captured = _source(request, home, stack)
            hook.note_directory(checkout)
            storage = storage_for(request.storage_dir, home)
            stack.callback(discard, storage)
            planned = make_plan(request, checkout, storage)
        except ProjrunError as error:
            hook.give_up(error, started)
            raise
        return perform(store, hook.open(planned.plan), planned, captured, home, request.docker_auth)


def _source(request: Request, home: Home, stack: ExitStack) -> tuple[Checkout, Captured]:
    """The tree that is run, and what is kept of it."""
    checkout = sources.fetch(
        request.uri, request.version, home, sha256=request.sha256, offline=request.offline
    )
    given_back = sources.keep if request.keep else sources.release
    stack.callback(given_back, checkout, home)
    if request.require_clean:
        sources.require_clean(checkout)
    captured = sources.capture(checkout, home)
    for notice in (*checkout.notices, *captured.notices):
        warn(notice)
    if request.isolated:
        checkout = sources.isolated(checkout, captured, home)
        stack.callback(given_back, checkout, home)
    return checkout, captured


def status_of(run_id: str, home: Home) -> RunStatus:
    with closing(settled_store(home)) as store:
        return store.get_run(run_id).status


def check(request: Request) -> None:
    """Refuse what cannot work whatever the project says, before anything is fetched."""
    if request.experiment_name and request.experiment_id:
        raise UsageError("--experiment-name and --experiment-id exclude each other", "give one of them")
    backend_named(request.backend)
    if request.env_manager:
        manager_named(request.env_manager)
