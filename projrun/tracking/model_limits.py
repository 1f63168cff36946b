"""The names and lengths that MLflow's model registry allows."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from projrun.tracking.limits import (
    check_length,
    check_text,
    check_text_length,
    invalid_parameter,
    quote_short,
)
from projrun.tracking.models import ACTIVE_STAGES, STAGES, STATUSES, LoggedModelStatus, Stage

MAX_NAME = 256
MAX_LOGGED_NAME = 500
MAX_MODEL_TYPE = 500
MAX_RUN_ID = 32
MAX_MODEL_ID = 36
MAX_ALIAS = 255
MAX_TAG_KEY = 250
MAX_TAG_VALUE = 100_000
MAX_DESCRIPTION = 100_000
MAX_RUN_LINK = 500
MAX_MODELS_PER_PAGE = 1000
MAX_VERSIONS_PER_PAGE = 200_000
MAX_LINKS = 1000
MAX_DATASETS = 100

_ALIAS = re.compile(r"[\w\-]+")
_VERSION_ALIAS = re.compile(r"[vV]\d+")


def check_model_name(name: str) -> str:
    """Check the name of a registered model, which clients use in paths, and return it."""
    check_text("model name", name)
    if not name.strip():
        raise invalid_parameter("the model name is empty", "give the model a name")
    if "/" in name or ":" in name or os.path.normpath(name) != name or name in (".", ".."):
        raise invalid_parameter(f"the model name {quote_short(name)} cannot be used", "leave out / and :")
    check_length("model name", name, MAX_NAME)
    return name


def check_logged_model_name(name: str) -> str:
    check_text("model name", name)
    if any(char in name for char in "/:.%\"'"):
        raise invalid_parameter(
            f"the model name {quote_short(name)} cannot be used", "leave out / : . % and quotes"
        )
    return check_text_length("model name", name, MAX_LOGGED_NAME)


def parse_version(version: str) -> int:
    if not re.fullmatch(r"-?[0-9]{1,18}", version):
        raise invalid_parameter(f"the model version {quote_short(version)} is not a number")
    return int(version)


def check_alias(alias: str, *, new: bool = False) -> str:
    check_text("alias", alias)
    if not _ALIAS.fullmatch(alias):
        raise invalid_parameter(
            f"the alias {quote_short(alias)} cannot be used", "use letters, digits, _ and -"
        )
    check_length("alias", alias, MAX_ALIAS)
    if new and (alias.lower() == "latest" or _VERSION_ALIAS.fullmatch(alias)):
        raise invalid_parameter(f"the alias {quote_short(alias)} is reserved", "use another one")
    return alias


def check_registry_tags(tags: Mapping[str, str]) -> dict[str, str]:
    for key, value in tags.items():
        if not key:
            raise invalid_parameter("a tag has no name")
        check_text_length("tag name", key, MAX_TAG_KEY)
        check_text_length("tag value", value, MAX_TAG_VALUE)
    return dict(tags)


def parse_stage(stage: str, *, active: bool = False) -> Stage:
    """Return the stage in MLflow's spelling; clients may write it in any case."""
    for known in STAGES:
        if known.lower() == stage.lower() and (not active or known in ACTIVE_STAGES):
            return known
    allowed = ACTIVE_STAGES if active else STAGES
    raise invalid_parameter(
        f"{quote_short(stage)} is not a stage that can be used here", f"use one of {', '.join(allowed)}"
    )


def parse_model_status(status: str) -> LoggedModelStatus:
    for known in STATUSES:
        if known == status:
            return known
    raise invalid_parameter(
        f"{quote_short(status)} is not a status of a model", f"use one of {', '.join(STATUSES)}"
    )
