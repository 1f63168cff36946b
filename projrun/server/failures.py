"""Errors in MLflow's shape: a status, and a JSON object with error_code and message."""

from __future__ import annotations

import logging

from projrun.errors import ProjrunError, TrackingError
from projrun.tracking.wire import Json

STATUSES = {
    "BAD_REQUEST": 400,
    "INVALID_PARAMETER_VALUE": 400,
    "RESOURCE_ALREADY_EXISTS": 400,
    "PERMISSION_DENIED": 403,
    "ENDPOINT_NOT_FOUND": 404,
    "RESOURCE_DOES_NOT_EXIST": 404,
    "NOT_IMPLEMENTED": 501,
    "TEMPORARILY_UNAVAILABLE": 503,
}

_log = logging.getLogger("projrun.server")
_log.addHandler(logging.NullHandler())


def failure(error: Exception, asked: str) -> tuple[int, Json]:
    """What is answered to a request that raised `error`. asked: method and path, for the log."""
    if isinstance(error, TrackingError):
        return _failure(error.error_code, str(error))
    if isinstance(error, ProjrunError):
        return _failure("INTERNAL_ERROR", str(error))
    _log.error("%s", asked, exc_info=error)
    return _failure("INTERNAL_ERROR", f"{type(error).__name__}: {error}")


def _failure(error_code: str, message: str) -> tuple[int, Json]:
    return STATUSES.get(error_code, 500), {"error_code": error_code, "message": message}
