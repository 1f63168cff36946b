"""The search language of MLflow: one AND-chain of `identifier comparator value`, and order_by clauses.

metrics.loss < 0.1 and params.model = 'tree' AND tags.`my tag` LIKE 'a%' and attributes.status IN ('FAILED')
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from projrun.errors import TrackingError
from projrun.tracking.limits import MAX_FILTER, invalid_parameter, quote_short

MAX_CLAUSES = 100
MAX_LIST = 10_000

Value = str | int | float | tuple[str, ...] | None


class Clause(NamedTuple):
    entity: str  # metric, parameter, tag, attribute or dataset
    key: str
    comparator: str  # upper case
    value: Value


class Order(NamedTuple):
    entity: str
    key: str
    descending: bool


class Column(NamedTuple):
    sql: str
    is_number: bool


class SearchTarget(NamedTuple):
    """The subject of a search: its columns, and the tables of its tags, parameters, …"""

    attributes: Mapping[str, Column]
    tables: Mapping[str, str]  # entity -> table of keys and values
    link: str  # the column of those tables with the id of the subject
    owner: str  # the expression for that id in the SELECT of the subject


DATASET_KEYS = ("name", "digest", "context")

_ENTITIES = {
    **dict.fromkeys(("metric", "metrics"), "metric"),
    **dict.fromkeys(("parameter", "parameters", "param", "params"), "parameter"),
    **dict.fromkeys(("tag", "tags"), "tag"),
    **dict.fromkeys(("attribute", "attributes", "attr", "run"), "attribute"),
    **dict.fromkeys(("dataset", "datasets"), "dataset"),
}
_SHOWN = {"metric": "metrics.…", "parameter": "params.…", "tag": "tags.…", "dataset": "datasets.…"}
_NUMERIC = ("=", "!=", ">", ">=", "<", "<=")
_LIKE = ("=", "!=", "LIKE", "ILIKE")
_COMPARATORS = {
    "metric": _NUMERIC,
    "parameter": (*_LIKE, "IS NULL", "IS NOT NULL"),
    "tag": (*_LIKE, "IS NULL", "IS NOT NULL"),
    "attribute": (*_LIKE, "IN", "NOT IN"),
    "dataset": (*_LIKE, "IN", "NOT IN"),
}

_BLANKS = re.compile(r"\s*")
_IDENTIFIER = re.compile(
    r"""(?:(?P<entity>`\w+`|\w+)\.)?(?:`(?P<q1>[^`]*)`|"(?P<q2>[^"]*)"|(?P<bare>[\w./:\-]+))"""
)
_COMPARATOR = re.compile(
    r">=|<=|!=|=|>|<|(?:NOT\s+IN|IN|LIKE|ILIKE|IS\s+NOT\s+NULL|IS\s+NULL)(?!\w)", re.IGNORECASE
)
_AND = re.compile(r"AND(?!\w)", re.IGNORECASE)
_TEXT = re.compile(r"""'((?:[^']|'')*)'|"((?:[^"]|"")*)\"""")
_NUMBER = re.compile(r"[+-]?(?:\d+(?P<float>\.\d*)?|(?P<dot>\.\d+))(?P<exponent>[eE][+-]?\d+)?(?!\w)")
_DIRECTION = re.compile(r"(ASC|DESC)(?!\w)", re.IGNORECASE)


def parse_filter(text: str, subject: SearchTarget) -> list[Clause]:
    """Parse a filter. Raises INVALID_PARAMETER_VALUE that names the position of the fault."""
    if len(text) > MAX_FILTER:
        raise invalid_parameter(f"the filter is longer than {MAX_FILTER} characters")
    scanner = _Scanner(text, "filter")
    clauses: list[Clause] = []
    while not scanner.at_end() or clauses:
        clauses.append(_clause(scanner, subject))
        if len(clauses) > MAX_CLAUSES:
            raise invalid_parameter(f"the filter has more than {MAX_CLAUSES} clauses")
        if scanner.at_end():
            break
        scanner.expect(_AND, "AND")
    return clauses


def parse_order(text: str, subject: SearchTarget) -> Order:
    scanner = _Scanner(text, "order_by")
    entity, key = _identifier(scanner, subject)
    if entity == "dataset":
        raise scanner.error("a metric, parameter, tag or attribute")
    direction = scanner.take(_DIRECTION)
    if not scanner.at_end():
        raise scanner.error("ASC, DESC or nothing more")
    return Order(entity, key, direction is not None and direction[0].upper() == "DESC")


def find_column(key: str, subject: SearchTarget) -> Column | None:
    return subject.attributes.get(key) or subject.attributes.get(key.lower())


class _Scanner:
    def __init__(self, text: str, kind: str) -> None:
        self.text, self.kind, self.position = text, kind, 0

    def take(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        self._skip_blanks()
        match = pattern.match(self.text, self.position)
        if match:
            self.position = match.end()
        return match

    def expect(self, pattern: re.Pattern[str], expected: str) -> re.Match[str]:
        match = self.take(pattern)
        if match is None:
            raise self.error(expected)
        return match

    def at_end(self) -> bool:
        self._skip_blanks()
        return self.position == len(self.text)

    def error(self, expected: str) -> TrackingError:
        rest = "the end" if self.at_end() else quote_short(self.text[self.position :])
        return invalid_parameter(
            f"{self.kind} {quote_short(self.text)}:"
            f" expected {expected} at character {self.position + 1}, found {rest}"
        )

    def _skip_blanks(self) -> None:
        match = _BLANKS.match(self.text, self.position)
        self.position = match.end() if match else self.position


def _clause(scanner: _Scanner, subject: SearchTarget) -> Clause:
    entity, key = _identifier(scanner, subject)
    column = find_column(key, subject) if entity == "attribute" else None
    is_number = entity == "metric" or (column is not None and column.is_number)
    allowed = _NUMERIC if is_number else _COMPARATORS[entity]
    start = scanner.position
    comparator = " ".join(scanner.expect(_COMPARATOR, f"one of {' '.join(allowed)}")[0].upper().split())
    if comparator not in allowed:
        scanner.position = start
        raise scanner.error(f"one of {' '.join(allowed)}")
    return Clause(entity, key, comparator, _value(scanner, comparator, is_number))


def _identifier(scanner: _Scanner, subject: SearchTarget) -> tuple[str, str]:
    scanner.at_end()
    start = scanner.position
    match = scanner.expect(_IDENTIFIER, "an identifier such as metrics.loss")
    name = (match["entity"] or "attribute").strip("`")
    key = next(part for part in (match["q1"], match["q2"], match["bare"]) if part is not None)
    entity = _ENTITIES.get(name, "")
    if entity == "attribute":
        known = find_column(key, subject) is not None
    else:
        known = entity in subject.tables and (entity != "dataset" or key in DATASET_KEYS)
    if not known:
        scanner.position = start
        raise scanner.error(_choices(subject))
    return entity, key


def _choices(subject: SearchTarget) -> str:
    others = ", ".join(name for entity, name in _SHOWN.items() if entity in subject.tables)
    return f"{others} or one of the attributes {', '.join(subject.attributes)}"


def _value(scanner: _Scanner, comparator: str, is_number: bool) -> Value:
    if comparator.startswith("IS "):
        return None
    if is_number:
        return _number(scanner.expect(_NUMBER, "a number"))
    if comparator.endswith("IN"):
        return _texts(scanner)
    return _text(scanner)


def _number(match: re.Match[str]) -> int | float:
    is_float = match["float"] or match["dot"] or match["exponent"]
    return float(match[0]) if is_float or len(match[0]) > 18 else int(match[0])


def _text(scanner: _Scanner) -> str:
    match = scanner.expect(_TEXT, "a text in quotes, such as 'value'")
    return match[1].replace("''", "'") if match[1] is not None else match[2].replace('""', '"')


_OPEN, _COMMA, _CLOSE = re.compile(r"\("), re.compile(","), re.compile(r"\)")


def _texts(scanner: _Scanner) -> tuple[str, ...]:
    scanner.expect(_OPEN, "a list such as ('a', 'b')")
    texts = [_text(scanner)]
    while scanner.take(_COMMA):
        texts.append(_text(scanner))
        if len(texts) > MAX_LIST:
            raise invalid_parameter(f"the filter has a list of more than {MAX_LIST} values")
    scanner.expect(_CLOSE, ", or )")
    return tuple(texts)
