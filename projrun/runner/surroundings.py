"""What of the machine and of the caller's session can change a result. Read in about a millisecond."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from projrun.net.urls import without_credentials
from projrun.record import Platform
from projrun.version import __version__

NAMES = frozenset(
    (
        "LANG",
        "LANGUAGE",
        "TZ",
        "SOURCE_DATE_EPOCH",
        "LD_PRELOAD",
        "LD_LIBRARY_PATH",
        "GLIBC_TUNABLES",
        "PYTHONHASHSEED",
        "PYTHONPATH",
        "PYTHONOPTIMIZE",
        "PYTHONUTF8",
        "PYTHONINTMAXSTRDIGITS",
        "PYTHONNOUSERSITE",
        "PYTHONSAFEPATH",
        "PYTHONIOENCODING",
        "PYTHONWARNINGS",
        "PYTHONMALLOC",
        "PYTHON_GIL",
        "PYTHON_JIT",
        "CUDA_VISIBLE_DEVICES",
        "CUDA_DEVICE_ORDER",
        "CUDA_LAUNCH_BLOCKING",
        "CUBLAS_WORKSPACE_CONFIG",
        "NVIDIA_TF32_OVERRIDE",
        "TF_DETERMINISTIC_OPS",
        "TF_CUDNN_DETERMINISTIC",
        "TF_ENABLE_ONEDNN_OPTS",
        "TF_NUM_INTEROP_THREADS",
        "TF_NUM_INTRAOP_THREADS",
        "XLA_FLAGS",
        "TORCH_DETERMINISTIC",
        "HF_HUB_OFFLINE",
        "PYTORCH_ALLOC_CONF",
        "PYTORCH_CUDA_ALLOC_CONF",
        "PYTORCH_HIP_ALLOC_CONF",
    )
)
PREFIXES = (
    "LC_",
    "MALLOC_",
    "OMP_",
    "MKL_",
    "OPENBLAS_",
    "GOTO_",
    "BLIS_",
    "NUMEXPR_",
    "NUMBA_",
    "VECLIB_",
    "KMP_",
    "TBB_",
    "POLARS_",
    "RAYON_",
    "NPY_",
    "JAX_",
    "TORCH_CUDNN_",
    "TORCH_ALLOW_TF32",
)
"""Variables whose values are recorded, and set again by reproduce: none of them is a place for a secret."""

SIMD = frozenset(("sse4_2", "avx", "avx2", "avx_vnni", "fma", "f16c", "sve", "sve2", "neon"))
SIMD_PREFIXES = ("avx512", "amx", "asimd")
"""Instruction sets that numeric libraries choose their kernels by."""


def surroundings(environ: Mapping[str, str]) -> Platform:
    """environ: the environment that the process gets."""
    system = os.uname()
    cpu, simd = _processor()
    return Platform(
        system=system.sysname,
        machine=system.machine,
        projrun=__version__,
        release=system.release,
        distribution=_distribution(),
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
    """Whether a variable of this name is known to change what programs compute."""
    return name in NAMES or name.startswith(PREFIXES)


def _processor() -> tuple[str, tuple[str, ...]]:
    """Model and instruction sets of the first processor."""
    text = _text("/proc/cpuinfo", 8192)
    flags = _line(text, "flags", "Features").split()
    return _line(text, "model name"), tuple(
        sorted({flag for flag in flags if flag in SIMD or flag.startswith(SIMD_PREFIXES)})
    )


def _gpus() -> tuple[str, ...]:
    """Models of the NVIDIA GPUs, as their driver tells."""
    found = sorted(Path("/proc/driver/nvidia/gpus").glob("*/information"))
    return tuple(_line(_text(str(file)), "Model") for file in found)


def _gpu_driver() -> str:
    text = _text("/proc/driver/nvidia/version")
    found = re.search(r"Kernel Module\D*([\d.]+)", text) if text else None
    return found[1] if found else ""


def _distribution() -> str:
    return _line(_text("/etc/os-release"), "PRETTY_NAME", sign="=").strip('"')


def _libc() -> str:
    try:
        return os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (ValueError, OSError):  # another libc
        return ""


def _timezone() -> str:
    """The system's, such as `Europe/Berlin`; '' where it is not told by a link."""
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
    """What the first line of one of these names says; '' without one."""
    for line in text.splitlines():
        name, _, value = line.partition(sign)
        if name.strip() in names:
            return value.strip()
    return ""
