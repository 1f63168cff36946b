"""The same requests to a real `mlflow server` and to ours: the same error code, or a reason why not."""

from __future__ import annotations

import http.client
import json
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

from projrun.server.app import EVERY
from projrun.server.handlers import Handler
from tests.server.conftest import Ask
from tests.server.fuzz import Fuzzer
from tests.server.test_fuzz import addressed, plain
from tests.support.mlflow_clients import MLFLOW_FULL, Client
from tests.support.mlflow_server import free_port, mlflow_server

SEEDS = range(6)
MISSING = (404, "RESOURCE_DOES_NOT_EXIST")
INVALID = (400, "INVALID_PARAMETER_VALUE")
NO_PAGE = (404, "")
DONE = (200, "")

Outcome = tuple[int, str]


class Difference(NamedTuple):
    theirs: tuple[Outcome, ...]
    ours: Outcome
    says: str
    """Part of our answer."""
    why: str


ACCEPTED = (
    Difference(
        (DONE, MISSING, (400, "BAD_REQUEST"), (500, "")),
        INVALID,
        "The request does not fit",
        "A field of the wrong type is an error before anything is looked up or stored; mlflow drops many of"
        " them in silence, stores numbers that do not fit into its database, answers with its SQL error, or"
        " fails inside.",
    ),
    Difference(
        (NO_PAGE,),
        INVALID,
        "",
        "experiments/list, registered-models/list and metrics/get-history-bulk are served to older clients.",
    ),
    Difference((NO_PAGE,), (404, "ENDPOINT_NOT_FOUND"), "there is no", "Unknown paths are JSON too."),
    Difference(
        (MISSING,), DONE, "{}", "run_uuid alone names a run, as it did for clients before run_id was there."
    ),
    Difference(
        (DONE,),
        INVALID,
        "the run name",
        "SQLite takes longer names than mlflow's own column, of 250 characters; other databases do not.",
    ),
    Difference(
        (DONE,),
        INVALID,
        "the parameter name",
        "Names of a logged model's parameters have the limits of a run's.",
    ),
    Difference(
        (MISSING,),
        INVALID,
        "more than once",
        "A batch is looked through before its logged model is looked up.",
    ),
    Difference((MISSING,), INVALID, "is no status", "… and so is a status."),
    Difference((INVALID,), MISSING, "there is no logged model", "… but an empty one is not an error."),
    Difference((INVALID,), DONE, "{}", "An empty list of outputs is nothing to do, not an error."),
    Difference(
        (INVALID,),
        MISSING,
        "there is no registered model",
        "The model is looked up before the version's source.",
    ),
)


class Answer(NamedTuple):
    outcome: Outcome
    text: str


def test_errors_are_those_of_mlflow_but_for_good_reasons(
    ask: Ask, client_python: Client, tmp_path: Path
) -> None:
    differing: list[tuple[str, Answer, Answer]] = []
    used: set[Difference] = set()
    port = free_port()
    with mlflow_server(client_python("", *MLFLOW_FULL), tmp_path, port):

        def theirs(method: str, path: str, body: bytes | None) -> Answer:
            with closing(http.client.HTTPConnection("127.0.0.1", port)) as connection:
                headers = {"Content-Type": "application/json"}
                connection.request(method, f"/api/2.0/mlflow/{path}", body, headers)
                answer = connection.getresponse()
                return outcome(answer.status, answer.read())

        def ours(method: str, path: str, body: bytes | None) -> Answer:
            answer = ask(method, path, body)
            return outcome(answer.status, answer.body)

        runs = [known(send("POST", "runs/create", b'{"experiment_id": "0"}')) for send in (theirs, ours)]
        for handler in EVERY:
            for seed in SEEDS:
                expected, found = (
                    send(*request(handler, seed, run)) for send, run in zip((theirs, ours), runs, strict=True)
                )
                if expected.outcome != found.outcome:
                    reasons = [each for each in ACCEPTED if explains(each, expected, found)]
                    used.update(reasons[:1])
                    if not reasons:
                        differing.append((f"{handler.path} {seed}", expected, found))
    assert differing == [], "\n".join(map(str, differing))
    assert used == set(ACCEPTED), "a difference that is no more"


def known(answer: Answer) -> dict[str, Any]:
    run_id = json.loads(answer.text)["run"]["info"]["run_id"]
    ids = {"experiment_id": "0", "run_id": run_id, "run_uuid": run_id, "experiment_ids": ["0"]}
    return {**ids, "key": "loss", "metric_key": "loss", "name": "prices", "version": "1", "path": ""}


def request(handler: Handler, seed: int, run: dict[str, Any]) -> tuple[str, str, bytes | None]:
    method, content = handler.methods[-1], Fuzzer(seed, run).content(handler)
    path = addressed(handler.path, content, seed)
    if method == "GET":
        return method, f"{path}?{urlencode(plain(content), doseq=True)}", None
    return method, path, json.dumps(content).encode()


def outcome(status: int, body: bytes) -> Answer:
    try:
        code = str(json.loads(body).get("error_code", ""))
    except ValueError:  # a page for people
        code = ""
    return Answer((status, code), body.decode(errors="replace"))


def explains(difference: Difference, theirs: Answer, ours: Answer) -> bool:
    return (
        theirs.outcome in difference.theirs
        and ours.outcome == difference.ours
        and difference.says in ours.text
    )
