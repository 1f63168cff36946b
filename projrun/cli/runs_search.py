"""projrun runs search"""

from __future__ import annotations

import click

from projrun.cli.finding import opened_store
from projrun.cli.runs import experiment_ids, listing


@click.command("search")
@click.argument("filter_string", metavar="FILTER", default="")
@click.option("--experiment-name", default="", metavar="NAME", help="Only runs of this experiment.")
@click.option(
    "--order-by",
    multiple=True,
    metavar="NAME [ASC|DESC]",
    help="For example 'metrics.loss ASC'; may be given again. Without it, newest first.",
)
@click.option("-n", "--max-results", default=100, show_default=True, help="How many.")
@click.option("--deleted", is_flag=True, help="Search the deleted runs instead.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array in MLflow's words.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV, a column per parameter, metric and tag.")
def search_(
    filter_string: str,
    experiment_name: str,
    order_by: tuple[str, ...],
    max_results: int,
    deleted: bool,
    as_json: bool,
    as_csv: bool,
) -> None:
    """Find runs by MLflow's search language: `metrics.loss < 0.1 and params.depth = '3'`."""
    from projrun.output import data

    with opened_store() as store:
        found, _ = store.search_runs(
            experiment_ids(store, experiment_name),
            filter_string,
            order_by,
            max_results,
            run_view_type="DELETED_ONLY" if deleted else "ACTIVE_ONLY",
        )
        data(listing(store, found, as_json=as_json, as_csv=as_csv))
