"""Requests of every shape for every endpoint, made from the messages that the endpoints declare."""

from __future__ import annotations

import random
from typing import Any

import msgspec

from projrun.server.handlers import Handler

TEXTS = (
    "",
    "a",
    "0",
    "1",
    "ä" * 251,
    "a" * 10_000,
    "\x00",
    "../x",
    "%2e%2e",
    "name",
    "'",
    "1 OR 1=1",
    "\ud800",
)
FILTERS = (
    "metrics.loss < 1",
    "metrics.loss < 'x'",
    "params.`a b` LIKE '%'",
    "tags.a = 'x' AND attributes.status != 'FAILED'",
    "name = 'x'",
    "status IN ('a')",
    "metrics.",
    "a = = b",
    "' OR 1=1 --",
    "((((",
    "params.x = 'unclosed",
)
ORDERS = (
    "metrics.loss DESC",
    "start_time",
    "name ASC",
    "tags.`a b`",
    "nonsense",
    "start_time; DROP TABLE runs",
)
NUMBERS = (0, 1, -1, 2, 50_001, 2**31, 2**63, -(2**63) - 1, 10**30, 1.5, "1", "NaN", "Infinity", "x", True)
ODD: tuple[Any, ...] = (None, [], {}, [None], [[]], {"a": {}}, True, 7, "text", [{"key": "k"}], "9" * 400)


class Fuzzer:
    """known: values that exist in the store, by the field that takes them. The same seed, the same."""

    def __init__(self, seed: int, known: dict[str, Any]) -> None:
        self._random = random.Random(seed)
        self._known = known

    def content(self, handler: Handler) -> dict[str, Any]:
        """The body of a request: most fields as they should be, some missing, some odd."""
        return self._struct(msgspec.inspect.type_info(handler.message))

    def _struct(self, info: Any) -> dict[str, Any]:
        fields = [field for field in info.fields if self._random.random() < 0.8]
        return {field.encode_name: self._field(field.encode_name, field.type) for field in fields}

    def _field(self, name: str, kind: Any) -> Any:
        chance = self._random.random()
        if chance < 0.1:
            return self._random.choice(ODD)
        if name in self._known and chance < 0.75:
            return self._known[name]
        return self._value(name, kind)

    def _value(self, name: str, kind: Any) -> Any:
        pick = self._random.choice
        if isinstance(kind, msgspec.inspect.UnionType):
            return self._value(name, pick([one for one in kind.types if not _is_none(one)]))
        if isinstance(kind, msgspec.inspect.StructType):
            return self._struct(kind)
        if isinstance(kind, (msgspec.inspect.ListType, msgspec.inspect.VarTupleType)):
            return [self._field(name, kind.item_type) for _ in range(pick((0, 1, 1, 2, 3)))]
        if isinstance(kind, (msgspec.inspect.IntType, msgspec.inspect.FloatType)):
            return pick(NUMBERS)
        if name == "filter":
            return pick(FILTERS)
        return pick(ORDERS if name == "order_by" else TEXTS)


def _is_none(kind: Any) -> bool:
    return isinstance(kind, msgspec.inspect.NoneType)
