"""Measure projrun beside mlflow and other tools, and write the tables and plots of docs/performance.md.

    python -m benchmarks                      everything (about a quarter of an hour)
    python -m benchmarks startup docker       some of it
    python -m benchmarks --profile            where the time of a warm run goes

projrun is installed from this tree, compiled, into its own environment, as users do, and so is the newest
mlflow. Commands are measured in turn: trust the ratios, and run nothing else on the machine.
"""

from __future__ import annotations

import argparse
import importlib
import tempfile
from pathlib import Path

from benchmarks import pages, profile, programs
from benchmarks.measure import Bench

NAMES = ("startup", "loop", "sources", "environments", "conda", "docker", "tracking")


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}")
    parser.add_argument(
        "--runs", type=int, help="how often each command is run (default: enough for a median)"
    )
    parser.add_argument("--mlflow", help="path of the mlflow command; none: leave mlflow out")
    parser.add_argument("--no-write", action="store_true", help="print only")
    parser.add_argument(
        "--profile", action="store_true", help="show where the time of a warm run goes instead"
    )
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(NAMES):
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        projrun = programs.install_projrun(place / "projrun")
        if arguments.profile:
            print(
                profile.of_a_warm_run(
                    Bench(projrun, "", place, programs.environ(place), arguments.runs or 10)
                )
            )
            return
        mlflow = arguments.mlflow or programs.install_mlflow(place / "mlflow")
        mlflow = "" if mlflow == "none" else mlflow
        for name in arguments.names or NAMES:
            module = importlib.import_module(f"benchmarks.{name}")
            own = place / name
            own.mkdir()
            bench = Bench(projrun, mlflow, own, programs.environ(own), arguments.runs or module.RUNS)
            print(f"\n{module.TITLE} ({bench.runs} runs)\n", flush=True)
            measured = module.measure(bench)
            machine = programs.machine(bench)
            print(f"{measured.table}\n\n{machine}", flush=True)
            if not arguments.no_write:
                pages.write(name, module.TITLE, measured, machine)


if __name__ == "__main__":
    main()
