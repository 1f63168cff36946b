"""All errors of projrun, in one tree.

ProjrunError                one line for the user, exit code 125 unless said otherwise
├── UsageError              the command line or the call makes no sense (exit code 2)
├── UnavailableError        an option whose engine is not part of this version, or not installed
├── SourceError             the project could not be fetched
├── ProjectError            the project's own files are wrong; carries file, line and column
├── ParameterError          a value that the user gave does not fit the entry point
├── InputError              a file that the run reads could not be downloaded or read
├── BuildError              the environment could not be resolved or built
├── LaunchError             the process of the run could not be started
├── RecordError             a record or a bundle could not be read, or is of a newer version
├── ExecutionError          the run's command ran and failed (raised by the Python API alone)
├── TrackingError           the store of runs could not be read or written, or refused
│   └── LostAnswerError     (`tracking.rest.http_client`) the server may have done what it was asked to
├── OutputError             the answer to a command could not be written to stdout
├── WebError                (`net.web_client`) a request failed; its caller turns it into an error of its own
└── EngineError             (`engine`) the container engine could not be asked, or refused

Any other exception is a bug in projrun; ``projrun.cli.main`` writes it to a file.
"""

from __future__ import annotations


class ProjrunError(Exception):
    """An error that the user can correct.

    message: what is wrong, one line, no final full stop.
    hint: the next step, one line, imperative; may be empty.
    """

    exit_code = 125

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}; {self.hint}" if self.hint else self.message


class UsageError(ProjrunError):
    exit_code = 2


class UnavailableError(ProjrunError):
    pass


class SourceError(ProjrunError):
    pass


class ProjectError(ProjrunError):
    """file: its name for the user; line and column count from 1, 0 without one.

    rule: the id under which `projrun validate` reports it; empty if it has no rule.
    """

    def __init__(
        self,
        message: str,
        hint: str = "",
        *,
        file: str = "",
        line: int = 0,
        column: int = 0,
        rule: str = "",
    ) -> None:
        super().__init__(message, hint)
        self.file, self.line, self.column, self.rule = file, line, column, rule

    def __str__(self) -> str:
        position = ":".join(str(part) for part in (self.file, self.line, self.column) if part)
        text = super().__str__()
        return f"{position}: {text}" if position else text


class ParameterError(ProjrunError):
    pass


class InputError(ProjrunError):
    pass


class BuildError(ProjrunError):
    """An environment could not be made."""


# The hint when the disk of the cache is full
FREE_SPACE = "free some space, or name another disk with PROJRUN_CACHE_DIR, then run it again"


class LaunchError(ProjrunError):
    pass


class RecordError(ProjrunError):
    pass


class OutputError(ProjrunError):
    pass


class ExecutionError(ProjrunError):
    """run_id: id of the failed run; exit_code: exit code of its command."""

    def __init__(self, message: str, hint: str, *, run_id: str, exit_code: int) -> None:
        super().__init__(message, hint)
        self.run_id, self.exit_code = run_id, exit_code


class TrackingError(ProjrunError):
    """error_code: the code in MLflow's REST API (INVALID_PARAMETER_VALUE, …)."""

    def __init__(self, message: str, hint: str = "", *, error_code: str = "INTERNAL_ERROR") -> None:
        super().__init__(message, hint)
        self.error_code = error_code
