"""Download from http and https."""

from __future__ import annotations

from pathlib import Path

from projrun.console.progress import Progress
from projrun.errors import InputError, ParameterError
from projrun.inputs import RunArtifacts
from projrun.net import is_offline
from projrun.net.web_client import WebError, is_valid_url, is_web_url, open_url


def claims(url: str) -> bool:
    return is_web_url(url)


def check(url: str) -> None:
    if not is_valid_url(url):
        raise ParameterError("is not a URL of a web server", "write https://host/path, %20 for a blank")


def fetch(url: str, target: Path, run_artifacts: RunArtifacts, progress: Progress) -> None:
    if is_offline():
        raise InputError("it would have to be downloaded, and --offline forbids it", "give a local copy")
    try:
        with open_url(url) as response, open(target, "xb") as file:
            progress.copy_response(response, file)
    except WebError as error:
        raise InputError(error.message, error.hint) from None
