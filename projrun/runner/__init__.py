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
from projrun.record import Record
from projrun.request import Request
from projrun.runner.performing import perform
from projrun.runner.planning import make_plan
from projrun.tracking.entities import RunStatus
from projrun.tracking.hook import RunHook, now
from projrun.tracking.supervision import settled_store, supervising


def run(request: Request, home: Home) -> Record:
    """Do what the request says and wait for its end.

    Returns the record of a process that ran to its end, whatever its exit code. Raises ProjrunError when
    it could not be run, and KeyboardInterrupt when it was interrupted; a run that exists by then is settled.
    """
    check(request)
    started = now()
    with closing(settled_store(home)) as store, supervising(home, store) as supervisor, ExitStack() as stack:
        hook = RunHook(store, request, supervisor)
        try:
            checkout = sources.fetch(request.uri, request.version, home)
            stack.callback(sources.release, checkout, home)
            storage = storage_for(request.storage_dir, home)
            stack.callback(discard, storage)
            planned = make_plan(request, checkout, storage)
        except ProjrunError as error:
            hook.give_up(error, started)
            raise
        return perform(store, hook.open(planned.plan), planned, home, request.docker_auth)


def schedule(request: Request, home: Home) -> str:
    """A new run, SCHEDULED, for another process to perform as its `run_id`. Returns its id."""
    check(request)
    with closing(settled_store(home)) as store:
        return RunHook(store, request).open().run_id


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
