"""Compare files by value: numbers within a tolerance, all else equal, the layout ignored."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Callable, Iterator
from itertools import zip_longest
from pathlib import Path, PurePosixPath
from typing import Any

from projrun.console import one_line
from projrun.errors import UnavailableError
from projrun.plan import Rule

# The place and kind of a difference, and True if it is within the tolerance.
ValueDifference = tuple[str, bool]

_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|[-+]?(?:nan|inf(?:inity)?)\b", re.IGNORECASE)
_MLMODEL_OWN = re.compile(r"\s*(run_id|model_id|model_uuid|utc_time_created|artifact_path|mlflow_version):.*")
_NONE = object()


def compare_files(name: str, first: Path, second: Path, rule: Rule) -> Iterator[ValueDifference]:
    """Yield all differences of two files, in order. The suffix of `name` tells their type."""
    suffix = PurePosixPath(name).suffix.lower()
    is_mlmodel = PurePosixPath(name).name == "MLmodel"
    compare = _of_mlmodels if is_mlmodel else _KINDS.get(suffix, _of_texts)
    try:
        yield from compare(first, second, rule)
    except (ValueError, OSError, EOFError) as error:
        if difference := first_difference(first, second):
            yield f"{difference} (not readable as {suffix or 'text'}: {one_line(str(error), 100)})", False


def first_difference(first: Path, second: Path) -> str:
    """Describe the first bytes that differ; '' when there are none."""
    offset = 0
    with first.open("rb") as left, second.open("rb") as right:
        while True:
            a, b = left.read(1 << 20), right.read(1 << 20)
            if a == b:
                if not a:
                    return ""
                offset += len(a)
                continue
            at = next((i for i, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))
            return f"byte {offset + at}: {_bytes(a[at : at + 16])} and {_bytes(b[at : at + 16])}"


def is_within(first: float, second: float, rule: Rule) -> bool:
    if first == second or (math.isnan(first) and math.isnan(second)):
        return True
    if math.isinf(first) or math.isinf(second):
        return False
    return abs(first - second) <= rule.atol + rule.rtol * abs(first)


def _bytes(part: bytes) -> str:
    if not part:
        return "the end"
    try:
        return repr(part.decode("ascii")) if part.decode("ascii").isprintable() else part.hex(" ")
    except UnicodeDecodeError:
        return part.hex(" ")


def _numbers(where: str, first: float, second: float, rule: Rule) -> Iterator[ValueDifference]:
    if first != second and not (math.isnan(first) and math.isnan(second)):
        yield f"{where}: {first!r} and {second!r}", is_within(first, second, rule)


def _of_texts(first: Path, second: Path, rule: Rule) -> Iterator[ValueDifference]:
    """Compare line by line: numbers by value, the text between them exactly."""
    lines = zip_longest(_lines(first), _lines(second))
    for number, (left, right) in enumerate(lines, 1):
        if left != right:
            yield from _of_lines(f"line {number}", left, right, rule)


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def _of_lines(where: str, left: str | None, right: str | None, rule: Rule) -> Iterator[ValueDifference]:
    if left is None or right is None or _NUMBER.split(left) != _NUMBER.split(right):
        yield f"{where}: {_format(left)} and {_format(right)}", False
        return
    for a, b in zip(_NUMBER.findall(left), _NUMBER.findall(right)):
        yield from _numbers(where, float(a), float(b), rule)


def _format(value: object) -> str:
    return "nothing" if value is None else one_line(repr(value), 80)


def _of_mlmodels(first: Path, second: Path, rule: Rule) -> Iterator[ValueDifference]:
    """Compare MLmodel files without ids and times, which are new in every run."""
    texts = ([line for line in _lines(path) if not _MLMODEL_OWN.fullmatch(line)] for path in (first, second))
    for number, (left, right) in enumerate(zip_longest(*texts), 1):
        if left != right:
            yield from _of_lines(f"line {number} without ids and times", left, right, rule)


def _of_json(first: Path, second: Path, rule: Rule) -> Iterator[ValueDifference]:
    left, right = (json.loads(path.read_bytes()) for path in (first, second))
    yield from _of_data("$", left, right, rule)


def _of_json_lines(first: Path, second: Path, rule: Rule) -> Iterator[ValueDifference]:
    left, right = ([json.loads(line) for line in _lines(path) if line.strip()] for path in (first, second))
    yield from _of_data("$", left, right, rule)


def _of_data(where: str, left: Any, right: Any, rule: Rule) -> Iterator[ValueDifference]:
    if isinstance(left, dict) and isinstance(right, dict):
        for key in {**left, **right}:
            yield from _of_data(f"{where}.{key}", left.get(key, _NONE), right.get(key, _NONE), rule)
    elif isinstance(left, list) and isinstance(right, list):
        for index, (a, b) in enumerate(zip_longest(left, right, fillvalue=_NONE)):
            yield from _of_data(f"{where}[{index}]", a, b, rule)
    elif _is_number(left) and _is_number(right):
        yield from _numbers(where, left, right, rule)
    elif type(left) is not type(right) or left != right:  # True equals 1, but is another value in JSON
        yield f"{where}: {_in_json(left)} and {_in_json(right)}", False


def _in_json(value: object) -> str:
    return "nothing" if value is _NONE else one_line(json.dumps(value), 80)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _of_tables(first: Path, second: Path, rule: Rule) -> Iterator[ValueDifference]:
    rows = (_rows(path) for path in (first, second))
    for number, (left, right) in enumerate(zip_longest(*rows), 1):
        if left is None or right is None:
            yield f"row {number}: {_format(left)} and {_format(right)}", False
            continue
        for column, (a, b) in enumerate(zip_longest(left, right), 1):
            yield from _of_cells(f"row {number}, column {column}", a, b, rule)


def _rows(path: Path) -> Iterator[list[str]]:
    text = path.read_text(encoding="utf-8")
    try:
        dialect: type[csv.Dialect] = csv.Sniffer().sniff(text[:8192], ",;\t|")
    except csv.Error:
        dialect = csv.excel
    yield from csv.reader(io.StringIO(text, newline=""), dialect)


def _of_cells(where: str, left: str | None, right: str | None, rule: Rule) -> Iterator[ValueDifference]:
    if left == right:
        return
    if left and right and _NUMBER.fullmatch(left.strip()) and _NUMBER.fullmatch(right.strip()):
        yield from _numbers(where, float(left), float(right), rule)
    else:
        yield f"{where}: {_format(left)} and {_format(right)}", False


def _of_arrays(first: Path, second: Path, rule: Rule) -> Iterator[ValueDifference]:
    numpy = _library("numpy")
    left, right = (numpy.load(path, allow_pickle=False) for path in (first, second))
    if isinstance(left, numpy.ndarray):
        yield from _of_elements("", left, right, rule)
        return
    with left, right:
        for name in sorted({*left.files, *right.files}):
            if name not in left.files or name not in right.files:
                yield f"array '{name}' is only in the {'second' if name in right.files else 'first'}", False
            else:
                yield from _of_elements(f"array '{name}' ", left[name], right[name], rule)


def _of_elements(where: str, left: Any, right: Any, rule: Rule) -> Iterator[ValueDifference]:
    numpy = _library("numpy")
    if left.shape != right.shape or left.dtype.kind != right.dtype.kind:
        yield f"{where}{left.shape} {left.dtype} and {right.shape} {right.dtype}", False
        return
    unequal = left != right
    if left.dtype.kind in "fc":
        unequal &= ~(numpy.isnan(left) & numpy.isnan(right))
    if not unequal.any():
        return
    outside = unequal
    if left.dtype.kind in "fciu":
        # isclose takes the tolerance relative to its second argument: the first run's value
        outside = unequal & ~numpy.isclose(right, left, rtol=rule.rtol, atol=rule.atol, equal_nan=True)
    shown = outside if outside.any() else unequal
    index = tuple(int(axis) for axis in numpy.argwhere(shown)[0]) if left.ndim else ()
    at = f"[{', '.join(map(str, index))}]" if index else "the value"
    count = f" ({int(shown.sum())} of {left.size} differ)" if left.size > 1 else ""
    yield f"{where}{at}: {left[index]!s} and {right[index]!s}{count}", not outside.any()


def _of_pictures(first: Path, second: Path, rule: Rule) -> Iterator[ValueDifference]:
    """Compare pixels, from 0 to 255 in each channel; metadata of the files is ignored."""
    numpy, image = _library("numpy"), _library("PIL.Image")
    with image.open(first) as a, image.open(second) as b:
        left, right = (numpy.asarray(picture.convert("RGBA"), dtype=float) for picture in (a, b))
    yield from _of_elements("pixel ", left, right, rule)


def _library(name: str) -> Any:
    from importlib import import_module

    try:
        return import_module(name)
    except ImportError:
        raise UnavailableError(
            f"comparing arrays and pictures by value needs {name.split('.')[0]}",
            "install it: pip install 'projrun[verify]'",
        ) from None


_KINDS: dict[str, Callable[[Path, Path, Rule], Iterator[ValueDifference]]] = {
    ".json": _of_json,
    ".jsonl": _of_json_lines,
    ".csv": _of_tables,
    ".tsv": _of_tables,
    **dict.fromkeys((".npy", ".npz"), _of_arrays),
    **dict.fromkeys((".png", ".jpg", ".jpeg", ".gif", ".bmp", ".tif", ".tiff", ".webp"), _of_pictures),
}
