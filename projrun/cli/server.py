"""projrun server"""

from __future__ import annotations

import click

from projrun.cli.verbs import Verb


@click.command(cls=Verb)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("-p", "--port", default=5000, show_default=True, help="Port to listen on; 0 takes a free one.")
@click.option(
    "--token",
    envvar="PROJRUN_SERVER_TOKEN",
    default="",
    metavar="TEXT",
    help="Token that clients must send (MLFLOW_TRACKING_TOKEN). Other users can see the command line: set"
    " PROJRUN_SERVER_TOKEN instead. Beyond loopback, projrun makes a token if none is given.",
)
@click.option(
    "--allowed-host",
    "names",
    multiple=True,
    metavar="NAME",
    help="Host name under which clients may reach the server; repeatable.",
)
@click.option("--cert", default="", metavar="FILE", help="Certificate (PEM), for https.")
@click.option("--key", default="", metavar="FILE", help="The certificate's private key (PEM).")
def server(host: str, port: int, token: str, names: tuple[str, ...], cert: str, key: str) -> None:
    """Serve the store of runs to mlflow clients: `mlflow.set_tracking_uri("http://127.0.0.1:5000")`.

    It serves projrun's own store and ignores MLFLOW_TRACKING_URI. Besides MLflow's REST API it has /health,
    /version and, for Prometheus, /metrics.
    """
    import os
    from contextlib import closing

    from projrun.backends import reclaim_stored
    from projrun.console import say
    from projrun.disk import home_from
    from projrun.errors import UsageError
    from projrun.server.standalone import ServerSettings, is_loopback, serve
    from projrun.tracking import sqlite
    from projrun.tracking.supervision import settle_lost_runs

    if bool(cert) != bool(key):
        raise UsageError("--cert and --key belong together", "give both")
    # Beyond loopback anyone on the network could read and delete runs
    is_generated = not token and not is_loopback(host)
    token = os.urandom(24).hex() if is_generated else token
    settings = ServerSettings(host=host, port=port, token=token, names=names, certificate=cert, key=key)

    def ready(url: str) -> None:
        say(f"serving the runs of {home.data} on {url} (^C stops it)")
        if is_generated:
            say(f"clients need MLFLOW_TRACKING_TOKEN={token}")

    home = home_from()
    # Not the store of MLFLOW_TRACKING_URI, which may be this very server
    with closing(sqlite.open_store(home)) as store:
        store.remove_abandoned_uploads()
        settle_lost_runs(home, store, reclaim_stored)
        try:
            serve(store, settings, ready)
        except KeyboardInterrupt:
            say("stopped")
