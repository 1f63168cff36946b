"""No request, however wrong, is answered with a 5xx other than 501: clients would repeat it for minutes."""

from __future__ import annotations

import json
import os
import random
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from projrun.server import artifact_files, model_handlers
from projrun.server.handlers import HANDLERS, Handler
from projrun.tracking import Store
from tests.server.conftest import Ask
from tests.server.fuzz import Fuzzer

EXAMPLES = int(os.environ.get("PROJRUN_TEST_EXAMPLES", "0")) or 10
EVERY = (*HANDLERS, *model_handlers.MODEL_HANDLERS, *model_handlers.REGISTRY_HANDLERS)
BODIES = (
    b"",
    b"{",
    b"[]",
    b"null",
    b'"x"',
    b"\xff\xfe",
    b"[" * 100_000,
    b'{"a":' * 5_000,
    b'{"run_id": 1e999}',
)


ODD_PATHS = (
    "",
    "%00",
    "..",
    "%2e%2e/x",
    "a//b",
    "%ff",
    "%ED%A0%80",
    "C:%5Cx",
    "x" * 5_000,
    "a/" * 500,
    "?path=%",
    "%0a",
)


@pytest.fixture
def known(store: Store) -> dict[str, Any]:
    run = store.create_run("0")
    values = {"experiment_id": "0", "run_id": run.run_id, "run_uuid": run.run_id, "experiment_ids": ["0"]}
    return {**values, "key": "loss", "metric_key": "loss", "name": "prices", "version": "1", "path": ""}


@pytest.mark.parametrize("handler", EVERY, ids=lambda handler: f"{handler.methods[0]} {handler.path}")
def test_no_request_breaks_the_server(ask: Ask, known: dict[str, Any], handler: Handler) -> None:
    for seed in range(EXAMPLES):
        fuzzer = Fuzzer(seed, known)
        for method in handler.methods:
            content = fuzzer.content(handler)
            path = addressed(handler.path, content, seed)
            if method == "GET":
                answer = ask(method, f"{path}?{urlencode(plain(content), doseq=True)}")
            else:
                answer = ask(method, path, json.dumps(content).encode())
            check(answer, (method, path, content))
    for body in BODIES:
        answer = ask(handler.methods[-1], addressed(handler.path, {}, 0), body)
        check(answer, (handler.path, body[:80]))


TARGETS = (
    *ODD_PATHS,
    "0/{run}/artifacts/a",
    "0/{run}/artifacts/",
    "0/{run}/artifacts",
    "0/models/{run}/artifacts/a",
)
HEADERS: tuple[dict[str, str], ...] = (
    {},
    {"Range": "bytes=5-"},
    {"Range": "bytes=9-1,,x"},
    {"Range": "bytes=-999999999999999999999"},
    {"Content-Type": "text/html"},
    {"Expect": "nonsense"},
    {"If-Range": "x", "Range": "bytes=0-0"},
)


@pytest.mark.parametrize(("method", "path"), [(method, path) for method, path, _ in artifact_files.ENDPOINTS])
def test_no_request_for_artifacts_breaks_the_server(
    ask: Ask, known: dict[str, Any], store: Store, method: str, path: str
) -> None:
    for target in (target.replace("{run}", known["run_id"]) for target in TARGETS):
        for headers in HEADERS:
            store.write_artifact(known["run_id"], "a", b"text")
            place = f"/api/2.0/mlflow-artifacts/{path}".replace("{address:path}", target)
            asked = f"{place}?path={target}" if place.endswith("artifacts") else place
            body = b"x" if method == "PUT" else None
            answer = ask(method, asked, body, headers=headers)
            assert answer.status < 500, (asked, headers, answer.body)


def check(answer: Any, asked: object) -> None:
    assert answer.status < 500 or answer.status == 501, (asked, answer.body)
    if answer.status >= 400:
        assert answer.error[1] != "INTERNAL_ERROR", (asked, answer.body)


def addressed(path: str, content: dict[str, Any], seed: int) -> str:
    """The path with its placeholders filled, from the content where that has them."""
    chance = random.Random(seed)
    while "{" in path:
        head, _, rest = path.partition("{")
        name, _, tail = rest.partition("}")
        value = content.get(name) or chance.choice(("m-1", "%00", "..", "x" * 300))
        path = f"{head}{quote(str(value)[:300].encode('utf-8', 'replace'), safe='')}{tail}"
    return path


def plain(content: dict[str, Any]) -> dict[str, Any]:
    """Return the content as values of a query string."""
    return {
        key: [str(one).encode("utf-8", "replace") for one in value]
        if isinstance(value, list)
        else str(value).encode("utf-8", "replace")
        for key, value in content.items()
    }
