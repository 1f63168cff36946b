"""Reading a bundle: it is unpacked safely and checked file by file."""

from __future__ import annotations

import os
import shutil
from contextlib import ExitStack
from pathlib import Path

from projrun import sources
from projrun.bundle_layout import MANIFEST, RECORD, TREE, manifest_from, place_of_input
from projrun.console import one_line
from projrun.disk import Home
from projrun.disk.file_operations import sha256_files, sha256_text, temporary_directory
from projrun.disk.file_tree import walk_tree
from projrun.disk.unpack import ArchiveLimits, unpack
from projrun.errors import RecordError, SourceError
from projrun.plan import Checkout
from projrun.record import Record
from projrun.sources.checkouts import new_checkout_directory
from projrun.sources.location import directory_within


def is_bundle(file: Path) -> bool:
    with file.open("rb") as opened:
        return opened.read(4) == b"PK\3\4"


def unpack_bundle(file: Path, stack: ExitStack) -> Path:
    """Unpack a bundle and check its files, in a directory that goes with the stack. Raises RecordError."""
    root = stack.enter_context(temporary_directory())
    try:
        unpack(file, root, ArchiveLimits.from_environment()._replace(strict=False))
    except SourceError as error:
        raise RecordError(one_line(f"{file}: {error.message}"), error.hint) from None
    entries = walk_tree(root)
    files = {path: root / path for path, entry in entries if not entry.is_dir(follow_symlinks=False)}
    if MANIFEST not in files or RECORD not in files:
        raise RecordError(f"{file} is no bundle of projrun", "make one with `projrun bundle RUN -o FILE`")
    if fault := _fault(root, files):
        raise RecordError(f"{file}: {fault}", "get the bundle once more")
    return root


def _fault(root: Path, files: dict[str, Path]) -> str:
    """Describe what is not as it was packed; '' if nothing. Links are allowed in the source alone."""
    links = {name for name, path in files.items() if path.is_symlink()}
    if outside := [name for name in links if not name.startswith(f"{TREE}/")]:
        return f"{outside[0]} is a link"  # told first: even the manifest could be read from elsewhere
    packed = manifest_from((root / MANIFEST).read_bytes()).files
    files.pop(MANIFEST)
    if odd := sorted(files.keys() ^ packed.keys()):
        return f"{odd[0]} is {'missing' if odd[0] in packed else 'no part of the bundle'}"
    names = sorted(files.keys() - links)
    size = sum(packed[name].size for name in names)
    digests = dict(zip(names, sha256_files([files[name] for name in names], size, "checking")))
    digests.update({name: sha256_text(os.readlink(files[name])) for name in links})
    changed = [name for name, digest in digests.items() if digest != packed[name].sha256]
    return f"{changed[0]} is not what was packed" if changed else ""


def check_out_bundle(bundle: Path, record: Record, home: Home, stack: ExitStack) -> Checkout:
    """Check out the source of a bundle; the checkout goes with the stack."""
    source = record.plan.source
    with new_checkout_directory(home, _name(record)) as root:
        shutil.copytree(bundle / TREE, root, symlinks=True, dirs_exist_ok=True)
        directory = directory_within(root, source.subdirectory, "the bundle's source")
        checkout = Checkout(source=source, root=root, directory=directory, temporary=True)
    stack.callback(sources.release, checkout, home)
    return checkout


def _name(record: Record) -> str:
    """Name the top of the tree as it was: a project without a name is called by its directory."""
    name = os.path.basename(record.root)
    return "project" if name in ("", ".", "..") or "\0" in name else name


def find_bundled_input(bundle: Path, parameter: str) -> Path | None:
    """Return the file or directory that a parameter named, if the bundle has it."""
    directory = bundle / place_of_input(parameter)
    return next(iter(directory.iterdir()), None) if directory.is_dir() else None
