"""Where an experiment may ask its clients to keep artifacts. projrun itself never opens such a place."""

from __future__ import annotations

from pathlib import Path

from projrun.tracking.limits import MAX_ARTIFACT_LOCATION, check_length, check_text, invalid, shown

SCHEMES = ("abfss", "dbfs", "file", "gs", "hdfs", "r2", "s3", "viewfs", "wasb", "wasbs")


def checked_location(location: str, root_uri: str) -> str:
    """`location` as a URI without a slash at its end; '' stays ''. A plain path becomes a file URI."""
    check_text("artifact location", location)
    check_length("artifact location", location, MAX_ARTIFACT_LOCATION)
    if not location:
        return ""
    scheme, colon, rest = location.partition(":")
    if not colon or "/" in scheme:
        return Path(location).absolute().as_uri()
    if scheme.lower() not in SCHEMES or not rest.strip("/"):
        raise invalid(
            f"the artifact location {shown(location)} is of no kind that clients may be sent to",
            f"leave it out, or use one of {', '.join(SCHEMES)}",
        )
    if any(char in location for char in "?#\\") or ".." in rest.split("/"):
        raise invalid(f"the artifact location {shown(location)} has '..', '?', '#' or a backslash in it")
    if location.startswith(root_uri):
        raise invalid(f"the artifact location {shown(location)} is projrun's own directory", "leave it out")
    return location.rstrip("/")
