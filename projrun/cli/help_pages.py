"""The end of each verb's help: examples, exit codes, environment variables, further reading."""

from __future__ import annotations

from typing import NamedTuple

import click

Rows = tuple[tuple[str, str], ...]


class Page(NamedTuple):
    examples: tuple[str, ...]  # command lines; a test parses each of them
    see_also: tuple[str, ...]
    exit_codes: Rows = ()  # exit codes of this verb, in addition to COMMON
    environment: Rows = ()


COMMON: Rows = (
    ("0", "Success."),
    ("2", "The command line is wrong."),
    ("3", "A bug in projrun; the message names a file for the report."),
    ("125", "It could not be done; the message says why and what to do."),
    ("130, 143", "Interrupted, by ^C or SIGTERM."),
)
RUNS_AGAIN: Rows = (("1", "The results differ."),)
STORE: Rows = (
    ("PROJRUN_HOME", "Where runs are kept, without a tracking server."),
    ("MLFLOW_TRACKING_URI", "The MLflow server that keeps the runs instead."),
)
CACHE: Rows = (("PROJRUN_CACHE_DIR", "Where environments, repositories and downloads are kept."),)

PAGES = {
    "projrun": Page(
        examples=(
            "projrun run examples/elasticnet -P alpha=0.05",
            "projrun runs list",
            "projrun verify 1f0c9a3e",
            "projrun -q run . -P alpha=0.5",
        ),
        see_also=("projrun COMMAND --help", "docs/cli.md"),
        environment=(
            *STORE,
            *CACHE,
            ("NO_COLOR", "Turns colours off, also on a terminal."),
            ("FORCE_COLOR", "Turns colours on, also in pipes."),
        ),
    ),
    "run": Page(
        examples=(
            "projrun run . -P alpha=0.5",
            "projrun run . -e validate --help",
            "projrun run https://git.example.org/team/models.git#churn -v v1.2 -e check",
            "projrun run . --env-manager local --timeout 2h --env-file .env",
            "projrun run . --dry-run --json",
        ),
        see_also=("projrun init", "projrun describe", "projrun runs", "docs/mlproject.md", "docs/sources.md"),
        exit_codes=(
            ("N", "The command's own exit code; 128 + n when it ended by signal n."),
            ("124", "It took longer than --timeout."),
        ),
        environment=(
            *STORE,
            *CACHE,
            ("PROJRUN_OFFLINE", "1: use no network, as with --offline."),
            ("PROJRUN_PYTHON_DOWNLOADS", "Whether a Python that is missing may be downloaded."),
            ("PROJRUN_DOCKER_BASE_IMAGE", "The image that containers start from."),
            ("PROJRUN_GIT_TIMEOUT", "Seconds that a fetch may take."),
            ("PROJRUN_HELPER_TIMEOUT", "Seconds that another helper program may take."),
            ("PROJRUN_LOCK_TIMEOUT", "Seconds to wait for another projrun."),
        ),
    ),
    "init": Page(
        examples=("projrun init --dry-run", "projrun init churn --name churn-model"),
        see_also=("projrun validate", "projrun run", "docs/mlproject.md"),
    ),
    "describe": Page(
        examples=("projrun describe", "projrun describe gh:team/models#churn -v v1.2 --json"),
        see_also=("projrun run URI -e NAME --help", "projrun validate"),
    ),
    "validate": Page(
        examples=("projrun validate", "projrun validate . --format github"),
        see_also=("docs/validate.md", "docs/mlproject.md"),
        exit_codes=(("1", "There are errors in the project's files."),),
    ),
    "reproduce": Page(
        examples=("projrun reproduce 1f0c9a3e", "projrun reproduce run.zip"),
        see_also=("projrun verify", "docs/reproducibility.md"),
        exit_codes=(("N", "The command's own exit code."),),
        environment=(*STORE, *CACHE),
    ),
    "verify": Page(
        examples=(
            "projrun verify 1f0c9a3e",
            "projrun verify 1f0c9a3e --metric rmse=rtol=1e-6 --report junit=report.xml",
            "projrun verify run.zip --format markdown",
        ),
        see_also=("projrun diff", "projrun bundle", "docs/reproducibility.md"),
        exit_codes=RUNS_AGAIN,
        environment=(*STORE, *CACHE),
    ),
    "diff": Page(
        examples=(
            "projrun diff 1f0c9a3e 8b21d07c",
            "projrun diff 1f0c9a3e 8b21d07c --format html -o diff.html",
        ),
        see_also=("projrun runs compare", "projrun verify"),
        exit_codes=(("1", "They differ."),),
    ),
    "bundle": Page(
        examples=("projrun bundle 1f0c9a3e -o run.zip",),
        see_also=("projrun verify", "docs/reproducibility.md"),
    ),
    "runs": Page(
        examples=(
            "projrun runs list -n 20",
            "projrun runs show 1f0c9a3e --json",
            "projrun runs search \"metrics.rmse < 0.8 and params.alpha = '0.5'\"",
            "projrun runs compare 1f0c9a3e 8b21d07c",
            "projrun runs logs -f 1f0c9a3e",
        ),
        see_also=("projrun diff", "docs/tracking.md"),
        environment=STORE,
    ),
    "lock": Page(
        examples=("projrun lock", "projrun lock . --check"),
        see_also=("projrun env", "docs/environments.md"),
    ),
    "env": Page(
        examples=("projrun env list", "projrun env build .", "projrun env prune --older-than 30 --dry-run"),
        see_also=("projrun cache", "projrun shell", "docs/environments-build.md"),
        environment=CACHE,
    ),
    "shell": Page(examples=("projrun shell .",), see_also=("projrun env", "docs/environments-build.md")),
    "dockerfile": Page(
        examples=("projrun dockerfile . -o build",), see_also=("docker build", "docs/docker.md")
    ),
    "cache": Page(
        examples=("projrun cache info", "projrun cache prune --older-than 30d --max-size 5GB --dry-run"),
        see_also=("projrun env", "docs/sources.md"),
        environment=CACHE,
    ),
    "doctor": Page(
        examples=("projrun doctor", "projrun doctor --json"),
        see_also=("README.md",),
        exit_codes=(("1", "Something is broken."),),
    ),
    "server": Page(examples=("projrun server",), see_also=("docs/tracking.md",), environment=STORE),
    "completion": Page(examples=("projrun completion bash",), see_also=("README.md",)),
}


def write_page(name: str, formatter: click.HelpFormatter) -> None:
    """Write the page of a verb, if it has one."""
    page = PAGES.get(name)
    if page is None:
        return
    with formatter.section("Examples"):
        for example in page.examples:
            formatter.write(f"{'':>{formatter.current_indent}}{example}\n")
    with formatter.section("Exit codes"):
        formatter.write_dl(sorted((*COMMON, *page.exit_codes), key=_first_number))
    if page.environment:
        with formatter.section("Environment variables"):
            formatter.write_dl(page.environment)
    with formatter.section("See also"):
        formatter.write_text(", ".join(page.see_also))


def _first_number(row: tuple[str, str]) -> int:
    digits = row[0].split(",")[0]
    return int(digits) if digits.isdigit() else -1
