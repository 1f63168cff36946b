"""Observe a run for its record: the files that it makes, and the machine that it has."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Literal

from projrun.console import say, warn
from projrun.disk import Home
from projrun.disk.file_operations import CHUNK, sha256_of_readable, utf8_name
from projrun.disk.file_tree import walk_tree
from projrun.errors import TrackingError
from projrun.net import without_credentials
from projrun.plan import Checkout, Rule, VerifyRules
from projrun.record import KEPT_OUTPUTS, Output, Platform
from projrun.tracking import Store
from projrun.tracking.artifacts import walk_artifacts
from projrun.version import __version__

# Larger trees are not searched: that would take longer than people wait for a run to start
MAX_FILES = 100_000
_SKIPPED = frozenset({".git", "__pycache__"})

# Path below the root -> what changes with the file: type and mode, size, both times in ns, inode
Snapshot = Mapping[str, tuple[int, ...]]


def snapshot(root: Path, excluded: Collection[Path] = ()) -> Snapshot | None:
    """Return every file and link below `root`, or None if there are more than MAX_FILES.

    It leaves out .git, __pycache__, virtual environments, special files and the directories `excluded`.
    """
    files: dict[str, tuple[int, ...]] = {}
    top = os.path.realpath(root)
    real = frozenset(os.path.realpath(path) for path in excluded)

    def leave_out(path: str, is_directory: bool) -> bool:
        return is_directory and (path.rpartition("/")[2] in _SKIPPED or f"{top}/{path}" in real)

    for path, entry in walk_tree(top, leave_out, with_environments=False, skip_unreadable=True):
        try:
            state = entry.stat(follow_symlinks=False)
        except OSError:  # removed meanwhile
            continue
        if stat.S_ISDIR(state.st_mode):
            continue
        if len(files) == MAX_FILES:
            return None
        files[path] = (state.st_mode, state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino)
    return files


def outputs(root: Path, before: Snapshot, after: Snapshot, digests: bool = True) -> tuple[Output, ...]:
    """Return the files that are new, changed or deleted in `after`, sorted by path.

    digests: False leaves them out, for a run that must end at once.
    """
    touched = [path for path, state in after.items() if before.get(path) != state]
    made: list[Output] = []
    size = sum(after[path][1] for path in touched)
    regular = [path for path in touched if stat.S_ISREG(after[path][0])]
    paths = [root / path for path in regular] if digests else []
    hashed = dict(zip(regular, sha256_of_readable(paths, size, "taking digests of")))
    for path in touched:
        mode, length = after[path][:2]
        change: Literal["made", "changed"] = "changed" if path in before else "made"
        made.append(
            Output(
                path=utf8_name(path),
                change=change,
                size=length,
                sha256=hashed.get(path, ""),
                link=_target(root / path) if stat.S_ISLNK(mode) else "",
            )
        )
    gone = [Output(path=utf8_name(path), change="deleted") for path in before if path not in after]
    return tuple(sorted((*made, *gone), key=lambda output: output.path))


def _target(link: Path) -> str:
    try:
        return utf8_name(os.readlink(link))
    except OSError:
        return ""


OWN = "projrun/"  # directory of the artifacts that projrun itself writes


class Observer:
    """Observes one run from just before its command starts."""

    def __init__(self, store: Store, run_id: str, checkout: Checkout, home: Home) -> None:
        self._store, self._run_id, self._root = store, run_id, checkout.root
        self._own = (home.data, home.cache)
        self._before = snapshot(self._root, self._own)
        if self._before is None:
            say(f"files that the run makes in its tree are not recorded: it has more than {MAX_FILES}")

    def outputs(self, ended: bool, rules: VerifyRules) -> tuple[Output, ...] | None:
        """Return artifacts, then files. ended: False leaves out digests, because the run was interrupted."""
        try:
            try:
                return self._all_outputs(ended, rules)
            except KeyboardInterrupt:
                warn("interrupted: the record lacks the digests of what the run made")
                return (*self._artifacts(False), *self._files(False))
        except TrackingError as error:
            warn(f"what the run made is not recorded: {error}")
            return None

    def _all_outputs(self, ended: bool, rules: VerifyRules) -> tuple[Output, ...]:
        files = self._files(ended)
        if rules.outputs:
            keep(self._store, self._run_id, self._root, files, rules)
        return (*self._artifacts(ended), *files)

    def _artifacts(self, digests: bool) -> tuple[Output, ...]:
        artifacts = sorted(
            (info.path, info.file_size or 0)
            for info in walk_artifacts(self._store, self._run_id)
            if not info.path.startswith(OWN)
        )
        files: dict[str, Path] = {}  # empty also for artifacts on a server, which are not downloaded for this
        for path, _ in artifacts if digests else ():
            if file := self._store.artifact_file(self._run_id, path):
                files[path] = file
        total = sum(size for _, size in artifacts)
        hashed = dict(zip(files, sha256_of_readable(list(files.values()), total, "taking digests of")))
        return tuple(
            Output(path=path, change="logged", size=size, sha256=hashed.get(path, ""))
            for path, size in artifacts
        )

    def _files(self, digests: bool) -> tuple[Output, ...]:
        if self._before is None or (after := snapshot(self._root, self._own)) is None:
            return ()
        return outputs(self._root, self._before, after, digests)

    def metrics(self) -> dict[str, float | str]:
        try:
            metrics = self._store.get_run(self._run_id).metrics
        except TrackingError:
            return {}
        if not metrics:
            return {}
        from projrun.tracking.wire import encode_number

        return {name: encode_number(metric.value) for name, metric in sorted(metrics.items())}


# Bytes of a file of the tree that is kept; a larger one can only be compared by its digest
MAX_KEPT = 100_000_000


def keep(store: Store, run_id: str, root: Path, outputs: Sequence[Output], rules: VerifyRules) -> None:
    """Keep the files of the tree that are to be compared by value; artifacts are kept in any case."""
    from projrun.disk.file_tree import rule_for

    for output in outputs:
        if output.change in ("logged", "deleted") or not output.sha256:
            continue
        if rule_for(output.path, rules.outputs, Rule()).how != "value":
            continue
        if output.size > MAX_KEPT:
            warn(f"{output.path} is too large to be kept: it can only be compared by its digest")
            continue
        try:
            with (root / output.path).open("rb") as file:
                parts = iter(partial(file.read, CHUNK), b"")
                store.write_artifact(run_id, f"{KEPT_OUTPUTS}/{output.path}", parts)
        except (TrackingError, OSError) as error:
            warn(f"{output.path} is not kept: it can only be compared by its digest ({error})")


# Variables whose values are recorded, and set again by reproduce. None of them is likely to hold a secret
NAMES = frozenset(
    (
        *("LANG", "LANGUAGE", "TZ", "SOURCE_DATE_EPOCH", "LD_PRELOAD", "LD_LIBRARY_PATH", "GLIBC_TUNABLES"),
        *("PYTHONHASHSEED", "PYTHONPATH", "PYTHONOPTIMIZE", "PYTHONUTF8", "PYTHONINTMAXSTRDIGITS"),
        *("PYTHONNOUSERSITE", "PYTHONSAFEPATH", "PYTHONIOENCODING", "PYTHONWARNINGS", "PYTHONMALLOC"),
        *("PYTHON_GIL", "PYTHON_JIT"),
        *("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "CUDA_LAUNCH_BLOCKING", "CUBLAS_WORKSPACE_CONFIG"),
        *("NVIDIA_TF32_OVERRIDE", "TF_DETERMINISTIC_OPS", "TF_CUDNN_DETERMINISTIC", "TF_ENABLE_ONEDNN_OPTS"),
        *("TF_NUM_INTEROP_THREADS", "TF_NUM_INTRAOP_THREADS", "XLA_FLAGS", "TORCH_DETERMINISTIC"),
        *("HF_HUB_OFFLINE", "PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_HIP_ALLOC_CONF"),
    )
)
PREFIXES = (
    *("LC_", "MALLOC_", "OMP_", "MKL_", "OPENBLAS_", "GOTO_", "BLIS_", "NUMEXPR_", "NUMBA_", "VECLIB_"),
    *("KMP_", "TBB_", "POLARS_", "RAYON_", "NPY_", "JAX_", "TORCH_CUDNN_", "TORCH_ALLOW_TF32"),
)

SIMD = frozenset(("sse4_2", "avx", "avx2", "avx_vnni", "fma", "f16c", "sve", "sve2", "neon"))
SIMD_PREFIXES = ("avx512", "amx", "asimd")  # instruction sets that numeric libraries choose their kernels by


def surroundings(environ: Mapping[str, str]) -> Platform:
    """Describe the machine and the session. environ: the environment of the process."""
    system = os.uname()
    cpu, simd = _processor()
    return Platform(
        system=system.sysname,
        machine=system.machine,
        projrun=__version__,
        release=system.release,
        distribution=_line(_text("/etc/os-release"), "PRETTY_NAME", sign="=").strip('"'),
        libc=_libc(),
        cpu=cpu,
        simd=simd,
        cpus=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 0,
        memory=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        gpus=_gpus(),
        gpu_driver=_gpu_driver(),
        timezone=environ.get("TZ") or _timezone(),
        umask=_line(_text("/proc/self/status"), "Umask"),
        variables={
            name: without_credentials(value)
            for name, value in sorted(environ.items())
            if can_change_results(name)
        },
    )


def can_change_results(name: str) -> bool:
    """Return True if a variable of this name is known to change what programs compute."""
    return name in NAMES or name.startswith(PREFIXES)


def _processor() -> tuple[str, tuple[str, ...]]:
    """Return the model and the instruction sets of the first processor."""
    text = _text("/proc/cpuinfo", 8192)
    flags = _line(text, "flags", "Features").split()
    return _line(text, "model name"), tuple(
        sorted({flag for flag in flags if flag in SIMD or flag.startswith(SIMD_PREFIXES)})
    )


def _gpus() -> tuple[str, ...]:
    # Read from the driver of NVIDIA itself: no program is started for it
    files = sorted(Path("/proc/driver/nvidia/gpus").glob("*/information"))
    return tuple(_line(_text(str(file)), "Model") for file in files)


def _gpu_driver() -> str:
    text = _text("/proc/driver/nvidia/version")
    version = re.search(r"Kernel Module\D*([\d.]+)", text) if text else None
    return version[1] if version else ""


def _libc() -> str:
    try:
        return os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (ValueError, OSError):  # another libc
        return ""


def _timezone() -> str:
    """Return the time zone of the system, such as `Europe/Berlin`; '' if /etc/localtime is no link to it."""
    try:
        return os.readlink("/etc/localtime").partition("zoneinfo/")[2]
    except OSError:
        return ""


def _text(path: str, limit: int = 1 << 16) -> str:
    try:
        with open(path, "rb") as file:
            return file.read(limit).decode(errors="replace")
    except OSError:
        return ""


def _line(text: str, *names: str, sign: str = ":") -> str:
    """Return the value of the first line with one of these names, or ''."""
    for line in text.splitlines():
        name, _, value = line.partition(sign)
        if name.strip() in names:
            return value.strip()
    return ""
