"""The bundle: a record with its source, inputs and outputs in one zip. What lies where in it.

ro-crate-metadata.json   what it is, for programs that know Workflow Run RO-Crates and not projrun
tree/…                   the source, as it was when the run started
run/…                    the run's artifacts by their own names, `projrun/record.json` among them
inputs/PARAMETER/NAME    what the parameters of type path named
packages/…               the wheels of the lock, if they were asked for
bundle.json              size and sha256 of all of these
"""

from __future__ import annotations

from urllib.parse import quote

import msgspec

from projrun.errors import RecordError
from projrun.record import RECORD_ARTIFACT

BUNDLE_VERSION = 1
METADATA = "ro-crate-metadata.json"
MANIFEST = "bundle.json"
TREE, RUN, INPUTS, PACKAGES = "tree", "run", "inputs", "packages"
RECORD = f"{RUN}/{RECORD_ARTIFACT}"


def place_of_input(parameter: str) -> str:
    """The directory in the bundle that holds what a parameter named, and nothing else."""
    return f"{INPUTS}/{quote(parameter, safe='')}"


class Packed(msgspec.Struct, frozen=True):
    size: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    bundle_version: int = BUNDLE_VERSION
    # By name in the bundle; of a symbolic link, the digest is of the text that it holds
    files: dict[str, Packed]


def manifest_from(text: bytes) -> Manifest:
    """Raises RecordError."""
    try:
        manifest = msgspec.json.decode(text, type=Manifest)
    except msgspec.MsgspecError as error:
        raise RecordError(f"the bundle's {MANIFEST} cannot be read: {error}", "get it once more") from None
    if manifest.bundle_version > BUNDLE_VERSION:
        raise RecordError(
            f"the bundle has version {manifest.bundle_version}, this projrun reads up to {BUNDLE_VERSION}",
            "install a newer projrun",
        )
    return manifest
