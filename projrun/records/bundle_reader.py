"""Read a bundle: a record with its source, inputs and outputs in one zip.

ro-crate-metadata.json   describes the bundle to programs that read Workflow Run RO-Crates
tree/…                   the source as it was when the run started
run/…                    the run's artifacts by their own names, `projrun/record.json` among them
inputs/PARAMETER/NAME    the files that the parameters of type path named
packages/…               the wheels of the lock, if they were asked for
bundle.json              size and sha256 of all of these
"""

from __future__ import annotations

import os
import shutil
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import quote

import msgspec

from projrun import sources
from projrun.console import one_line
from projrun.disk import Home
from projrun.disk.file_operations import sha256_files, sha256_text, temporary_directory
from projrun.disk.file_tree import walk_tree
from projrun.disk.unpack import ArchiveLimits, unpack
from projrun.errors import RecordError, SourceError
from projrun.plan import Checkout
from projrun.record import BUNDLE_RECORD, BUNDLE_TREE, Record
from projrun.sources.checkouts import new_checkout_directory
from projrun.sources.location import directory_within

BUNDLE_VERSION = 1
MANIFEST = "bundle.json"
ARTIFACTS = "run"
PACKAGES = "packages"


class Packed(msgspec.Struct, frozen=True):
    size: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    bundle_version: int = BUNDLE_VERSION
    # By name in the bundle; of a symbolic link, the digest is that of its target's path
    files: dict[str, Packed]


def input_directory(parameter: str) -> str:
    """Return the directory in the bundle that holds the file or directory that a parameter named."""
    return f"inputs/{quote(parameter, safe='')}"


def is_bundle(file: Path) -> bool:
    with file.open("rb") as opened:
        return opened.read(4) == b"PK\3\4"  # the signature of a zip


def unpack_bundle(file: Path, stack: ExitStack) -> Path:
    """Unpack a bundle and check its files. The directory is removed with the stack. Raises RecordError."""
    root = stack.enter_context(temporary_directory())
    try:
        unpack(file, root, ArchiveLimits.from_environment()._replace(strict=False))
    except SourceError as error:
        raise RecordError(one_line(f"{file}: {error.message}"), error.hint) from None
    entries = walk_tree(root)
    files = {path: root / path for path, entry in entries if not entry.is_dir(follow_symlinks=False)}
    if MANIFEST not in files or BUNDLE_RECORD not in files:
        raise RecordError(f"{file} is no bundle of projrun", "make one with `projrun bundle RUN -o FILE`")
    if fault := _find_fault(root, files):
        raise RecordError(f"{file}: {fault}", "get the bundle once more")
    return root


def _find_fault(root: Path, files: dict[str, Path]) -> str:
    """Describe the first file that is not as it was packed; '' if there is none."""
    links = {name for name, path in files.items() if path.is_symlink()}
    # Links may be in the source alone. They are looked for first: the manifest itself could be one
    if outside := [name for name in links if not name.startswith(f"{BUNDLE_TREE}/")]:
        return f"{outside[0]} is a link"
    packed = _decode_manifest((root / MANIFEST).read_bytes()).files
    files.pop(MANIFEST)
    if odd := sorted(files.keys() ^ packed.keys()):
        return f"{odd[0]} is {'missing' if odd[0] in packed else 'no part of the bundle'}"
    names = sorted(files.keys() - links)
    size = sum(packed[name].size for name in names)
    digests = dict(zip(names, sha256_files([files[name] for name in names], size, "checking")))
    digests.update({name: sha256_text(os.readlink(files[name])) for name in links})
    changed = [name for name, digest in digests.items() if digest != packed[name].sha256]
    return f"{changed[0]} is not what was packed" if changed else ""


def _decode_manifest(text: bytes) -> Manifest:
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


def check_out_bundle(bundle: Path, record: Record, home: Home, stack: ExitStack) -> Checkout:
    """Check out the source of a bundle. The checkout is removed with the stack."""
    source = record.plan.source
    with new_checkout_directory(home, _directory_name(record)) as root:
        shutil.copytree(bundle / BUNDLE_TREE, root, symlinks=True, dirs_exist_ok=True)
        directory = directory_within(root, source.subdirectory, "the bundle's source")
        checkout = Checkout(source=source, root=root, directory=directory, temporary=True)
    stack.callback(sources.release, checkout, home)
    return checkout


def _directory_name(record: Record) -> str:
    # The same name as it had, because a project without a name is called by its directory
    name = os.path.basename(record.root)
    return "project" if name in ("", ".", "..") or "\0" in name else name


def find_bundled_input(bundle: Path, parameter: str) -> Path | None:
    """Return the file or directory that a parameter named, if the bundle has it."""
    directory = bundle / input_directory(parameter)
    return next(iter(directory.iterdir()), None) if directory.is_dir() else None
