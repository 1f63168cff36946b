"""Pack a run into one zip, from which it can be reproduced elsewhere.

The source is packed as its files, not as a commit: whoever reproduces it needs neither the remote nor Git,
and the project finds no history there.
"""

from __future__ import annotations

import hashlib
import os
import stat
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from pathlib import Path

import msgspec

from projrun import inputs
from projrun.backends import reclaim_stored
from projrun.console import warn
from projrun.console.progress import Progress, format_size
from projrun.disk import Home
from projrun.disk.file_operations import CHUNK, temporary_beside, temporary_directory
from projrun.disk.file_tree import list_files
from projrun.environments import manager_named
from projrun.errors import ProjrunError, RecordError
from projrun.plan import PlannedInput
from projrun.project.mlproject import find_mlproject
from projrun.record import (
    BUNDLE_RECORD,
    BUNDLE_TREE,
    ENVIRONMENT_LOG_ARTIFACT,
    KEPT_OUTPUTS,
    OUTPUT_ARTIFACT,
    OUTPUT_INDEX_ARTIFACT,
    SOURCE_ARTIFACT,
    Input,
    to_json,
)
from projrun.records.availability import is_unchanged, lock_files
from projrun.records.bundle_reader import (
    ARTIFACTS,
    MANIFEST,
    PACKAGES,
    Manifest,
    Packed,
    find_bundled_input,
    input_directory,
)
from projrun.records.crate import METADATA, Contents, output_key, render_metadata
from projrun.records.stored_runs import StoredRun, restore_source
from projrun.tracking.supervision import settled_store

# Artifacts of projrun's own that are packed, besides those of the lock.
OWN_ARTIFACTS = (OUTPUT_ARTIFACT, OUTPUT_INDEX_ARTIFACT, ENVIRONMENT_LOG_ARTIFACT, SOURCE_ARTIFACT)
# The largest input or output, in bytes, that is packed; a larger one is listed by its digest.
MAX_SIZE = 100_000_000

Files = dict[str, Path | bytes]


class BundleOptions(msgspec.Struct, frozen=True, kw_only=True):
    source: bool = True
    inputs: bool = True
    packages: bool = False
    max_size: int = MAX_SIZE


def write_bundle(stored_run: StoredRun, target: Path, home: Home, options: BundleOptions) -> tuple[str, ...]:
    """Write the bundle of a run. Return one line for each file that is left out. Raises ProjrunError."""
    record = stored_run.record
    files: Files = {BUNDLE_RECORD: to_json(record)}
    left_out: list[str] = []
    with ExitStack() as stack:
        manager = manager_named(record.environment.manager) if record.environment else None
        lock_artifacts = manager.LOCK_ARTIFACTS if manager else ()
        for name in (*lock_artifacts, *OWN_ARTIFACTS) if options.source else ():
            if file := stored_run.artifacts.file(name):
                files[f"{ARTIFACTS}/{name}"] = file
        others = [*files]
        outputs = dict(_find_outputs(stored_run, options.max_size, left_out))
        files.update({f"{ARTIFACTS}/{name}": file for name, file in outputs.values()})
        read = _find_inputs(stored_run, options.max_size, left_out, home, stack) if options.inputs else {}
        files.update(_list_input_files(read))
        tree = restore_source(stored_run, home, stack) if options.source else None
        if tree is not None:
            files.update({f"{BUNDLE_TREE}/{name}": path for name, path in list_files(tree.root).items()})
        if options.packages:
            packages = _find_packages(stored_run, stack)
            files.update(packages)
            others += packages
        prefix = "/".join(filter(None, (BUNDLE_TREE, record.plan.source.subdirectory)))
        workflow = find_mlproject(tree.directory) if tree else ""
        contents = Contents(
            workflow=f"{prefix}/{workflow}" if workflow else "",
            has_tree=tree is not None,
            license=next((name for name in _LICENSES if name in files), ""),
            inputs={parameter: name for parameter, (name, _) in read.items()},
            outputs={key: f"{ARTIFACTS}/{name}" for key, (name, _) in outputs.items()},
            others=others,
        )
        files[METADATA] = render_metadata(record, contents)
        _write(target, files)
    return tuple(left_out)


_LICENSES = tuple(
    f"{BUNDLE_TREE}/{name}{suffix}"
    for name in ("LICENSE", "LICENCE", "COPYING")
    for suffix in ("", ".txt", ".md")
)


# Not the time of a file: the bytes of a bundle depend on its content alone
_EPOCH = (1980, 1, 1, 0, 0, 0)
# Suffixes of files that are compressed already
_STORED = (".whl", ".gz", ".zip", ".png", ".jpg", ".jpeg", ".xz", ".bz2", ".npz", ".parquet")


def _write(target: Path, files: Files) -> None:
    """Write the archive in one step: the files by name, then their manifest."""
    for name in files:
        if any(0xD800 <= ord(char) < 0xE000 for char in name):
            raise RecordError(f"the name {name!a} is not UTF-8: a zip cannot hold it", "rename the file")
    try:
        with temporary_beside(target) as temporary:
            with Progress(target.name, "packing") as progress, zipfile.ZipFile(temporary, "x") as archive:
                progress.total = sum(map(_size, files.values()))
                packed = {name: _add(archive, name, files[name], progress) for name in sorted(files)}
                manifest = msgspec.json.format(msgspec.json.encode(Manifest(files=packed)), indent=1)
                _add(archive, MANIFEST, manifest + b"\n", progress)
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            os.replace(temporary, target)
    except OSError as error:
        reason = error.strerror or error
        raise RecordError(f"{target} cannot be written: {reason}", "name another place") from None


def _size(content: Path | bytes) -> int:
    return len(content) if isinstance(content, bytes) else content.lstat().st_size


def _add(archive: zipfile.ZipFile, name: str, content: Path | bytes, progress: Progress) -> Packed:
    """Add content, a file, or a symbolic link as such; return its size and digest."""
    if isinstance(content, bytes):
        return _add_bytes(archive, _member(name, stat.S_IFREG | 0o644), content)
    if content.is_symlink():
        # A link is a member that holds its target; the mode alone makes it a link.
        return _add_bytes(archive, _member(name, stat.S_IFLNK | 0o777), os.fsencode(os.readlink(content)))
    digest, size, status = hashlib.sha256(), 0, content.stat()
    member = _member(name, stat.S_IFREG | (0o755 if status.st_mode & 0o100 else 0o644))
    member.file_size = status.st_size
    with content.open("rb") as source, archive.open(member, "w") as target:
        while chunk := source.read(CHUNK):
            digest.update(chunk)
            target.write(chunk)
            size += len(chunk)
            progress.add(len(chunk))
    return Packed(size, digest.hexdigest())


def _add_bytes(archive: zipfile.ZipFile, member: zipfile.ZipInfo, content: bytes) -> Packed:
    archive.writestr(member, content)
    return Packed(len(content), hashlib.sha256(content).hexdigest())


def _member(name: str, mode: int) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo(name, _EPOCH)
    member.create_system = 3  # Unix, so the upper half of external_attr is a mode
    member.external_attr = mode << 16
    member.compress_type = zipfile.ZIP_STORED if name.endswith(_STORED) else zipfile.ZIP_DEFLATED
    return member


def _find_outputs(
    stored_run: StoredRun, max_size: int, left_out: list[str]
) -> Iterator[tuple[str, tuple[str, Path]]]:
    """Yield the key of each output, its name among the run's artifacts, and the file."""
    for output in stored_run.record.outputs or ():
        if output.change == "deleted" or output.link:
            continue
        if output.size > max_size:
            left_out.append(f"the output {output.path} ({format_size(output.size)}) is listed by its digest")
        elif file := stored_run.content(output):
            name = output.path if output.change == "logged" else f"{KEPT_OUTPUTS}/{output.path}"
            yield output_key(output), (name, file)
        else:
            left_out.append(f"the output {output.path} was not kept: it is listed by its digest")


def _find_inputs(
    stored_run: StoredRun, max_size: int, left_out: list[str], home: Home, stack: ExitStack
) -> dict[str, tuple[str, Path]]:
    """Return the unchanged inputs by parameter: the name in the bundle, and the path."""
    recorded = {measured.parameter: measured for measured in stored_run.record.inputs}
    paths: dict[str, tuple[str, Path]] = {}
    for planned in stored_run.record.plan.inputs:
        before = recorded.get(planned.parameter)
        if before is None:
            continue
        if before.size > max_size:
            size = format_size(before.size)
            left_out.append(f"the input '{planned.parameter}' ({size}) is listed by its digest")
        elif path := _find_input(stored_run, planned, before, home, stack):
            paths[planned.parameter] = f"{input_directory(planned.parameter)}/{path.name}", path
        else:
            left_out.append(
                f"the input '{planned.parameter}' ({planned.value}) is not what the run read any more:"
                " it is listed by its digest"
            )
    return paths


def _find_input(
    stored_run: StoredRun, planned: PlannedInput, before: Input, home: Home, stack: ExitStack
) -> Path | None:
    if stored_run.bundle and (bundled := find_bundled_input(stored_run.bundle, planned.parameter)):
        return bundled
    path = Path(planned.path)
    if planned.remote and not path.exists():  # it was downloaded for the run alone
        path = stack.enter_context(temporary_directory()) / path.name
        store = stack.enter_context(closing(settled_store(home, reclaim_stored)))
        try:
            again = msgspec.structs.replace(planned, path=str(path))
            inputs.gather([again], {planned.parameter: planned.value}, store)
        except ProjrunError as error:
            warn(str(error))
            return None
    return path if is_unchanged(planned, path, before) else None


def _list_input_files(inputs: Mapping[str, tuple[str, Path]]) -> Iterator[tuple[str, Path]]:
    # Links are resolved: their targets are not in the bundle
    for name, path in inputs.values():
        if path.is_dir():
            files = list_files(path).items()
            yield from ((f"{name}/{inner}", file.resolve()) for inner, file in files if file.is_file())
        else:
            yield name, path.resolve()


def _find_packages(stored_run: StoredRun, stack: ExitStack) -> dict[str, Path]:
    environment = stored_run.record.environment
    if environment is None or not environment.lock_sha256:
        return {}
    if stored_run.bundle and (bundled := stored_run.bundle / PACKAGES).is_dir():
        directory = bundled
    else:
        texts = lock_files(stored_run, environment)
        if not any(texts.values()):
            raise RecordError("the lock of the environment is gone", f"restore {' and '.join(texts)}")
        directory = stack.enter_context(temporary_directory())
        log = directory.with_name(f"{directory.name}.log")
        manager_named(environment.manager).download_packages(environment, texts, directory, log)
    files = sorted(directory.iterdir())
    for path in files:
        if path.suffix != ".whl":
            warn(f"{path.name} is no wheel: what builds it is not taken along, and is asked of the index")
    return {f"{PACKAGES}/{path.name}": path for path in files}
