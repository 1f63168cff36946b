"""The tags of a run: MLflow's names where MLflow has one, `projrun.…` for the rest."""

from __future__ import annotations

from projrun.plan import Plan
from projrun.record import Outcome
from projrun.tracking.limits import MAX_TAG_VALUE
from projrun.version import __version__

DIRECTORY = "projrun.directory"
ENVIRONMENT_KEY = "projrun.environment.key"
CREATION = "projrun.creation"
"""Of runs on a server: tells, after a lost answer, whether the run was made."""
EXIT_CODE = "projrun.exit_code"
REASON = "projrun.reason"
SUPERVISOR = "projrun.supervisor"
REPRODUCES = "projrun.reproduces"
"""Id of the run that was done again."""
VARIES = "projrun.varies"
"""What was not as in that run, on purpose."""
PROJECT = "projrun.project"
ENTRY_POINT = "mlflow.project.entryPoint"
SOURCE_NAME = "mlflow.source.name"
SOURCE_TYPE = "mlflow.source.type"
PARENT_RUN_ID = "mlflow.parentRunId"


def tags_of_request(uri: str, entry_point: str, user: str) -> dict[str, str]:
    """What is known of a run before its project is."""
    return {
        "mlflow.user": user,
        ENTRY_POINT: entry_point,
        SOURCE_NAME: uri,
        SOURCE_TYPE: "PROJECT",
        "projrun.version": __version__,
    }


def tags_of_plan(plan: Plan) -> dict[str, str]:
    source = plan.source
    tags = {
        "mlflow.project.env": plan.environment.manager,
        "mlflow.project.backend": plan.backend,
        "mlflow.source.git.commit": source.commit,
        "mlflow.source.git.repoURL": source.repository,
        "mlflow.source.git.branch": source.branch,
        "projrun.source.dirty": str(source.dirty).lower() if source.commit else "",
        "projrun.source.subdirectory": source.subdirectory,
        "projrun.source.version": source.version,
        PROJECT: plan.project,
        "projrun.command": plan.command[:MAX_TAG_VALUE],
    }
    return {name: value for name, value in tags.items() if value}


def tags_of_outcome(outcome: Outcome) -> dict[str, str]:
    tags = {REASON: outcome.reason[:MAX_TAG_VALUE]} if outcome.reason else {}
    if outcome.exit_code is not None:
        tags[EXIT_CODE] = str(outcome.exit_code)
    return tags
