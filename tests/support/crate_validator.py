"""The RO-Crate validator in an environment of its own, working without the web.

It reads the JSON-LD context of RO-Crate 1.1 from the web. What it would get is put into its cache: those
terms of the context that our crates use, with the meaning that the specification gives them.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

VALIDATOR = ("roc-validator==0.13.*",)
_SCHEMA = """
    about additionalType actionStatus agent contentSize CreateAction CreativeWork ComputerLanguage Dataset
    datePublished description encodingFormat endTime error exampleOfWork hasPart identifier instrument
    isBasedOn license mainEntity mentions name object programmingLanguage PropertyValue result
    SoftwareApplication SoftwareSourceCode softwareVersion startTime url value version workExample
"""
CONTEXT = {
    "@context": {
        **{term: f"http://schema.org/{term}" for term in _SCHEMA.split()},
        "File": "http://schema.org/MediaObject",
        "conformsTo": "http://purl.org/dc/terms/conformsTo",
        "ComputationalWorkflow": "https://bioschemas.org/ComputationalWorkflow",
        "FormalParameter": "https://bioschemas.org/FormalParameter",
        "input": "https://bioschemas.org/properties/input",
        "output": "https://bioschemas.org/properties/output",
    }
}
_SEED = """
import sys
from requests_cache import CachedSession
from urllib3 import HTTPResponse
from io import BytesIO
from requests.adapters import HTTPAdapter

class Given(HTTPAdapter):
    def send(self, request, **_):
        headers = {"Content-Type": "application/ld+json"}
        body = BytesIO(sys.argv[2].encode())
        return self.build_response(request, HTTPResponse(body, headers, 200, preload_content=False))

session = CachedSession(cache_name=sys.argv[1], backend="sqlite", expire_after=-1)
session.mount("https://", Given())
for accept in ("application/ld+json, application/json", "application/ld+json"):
    session.get("https://w3id.org/ro/crate/1.1/context", headers={"Accept": accept})
"""


def complaint(python: Path, crate: Path, profile: str, scratch: Path) -> str:
    """Return the validator's complaints at level REQUIRED, or ''. `python` has VALIDATOR installed."""
    cache = scratch / "cache"
    if not cache.with_suffix(".sqlite").exists():
        subprocess.run([python, "-c", _SEED, cache, json.dumps(CONTEXT)], check=True, capture_output=True)
    options = ["--no-paging", "-v", "--offline", "--cache-path", cache, "-p", profile, "-l", "required"]
    validator = python.with_name("rocrate-validator")
    done = subprocess.run(
        [validator, "-y", "validate", *map(str, options), crate], capture_output=True, text=True
    )
    if done.returncode == 0:
        assert f"is a valid {profile}" in done.stdout
        return ""
    return done.stdout + done.stderr
