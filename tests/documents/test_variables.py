"""Test values that come from environment variables."""

from __future__ import annotations

import pytest

from projrun.disk import Home
from projrun.disk.file_locks import FileLock
from projrun.documents.variables import is_on, read_number, read_whole_number
from projrun.errors import ProjrunError
from tests.conftest import Projrun


@pytest.mark.parametrize(("text", "says"), [("", 7), (" ", 7), ("0", 0), ("0.5", 0.5), (" 1e3 ", 1000)])
def test_a_number_is_read(text: str, says: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROJRUN_X", text)
    assert read_number("PROJRUN_X", 7) == says
    monkeypatch.delenv("PROJRUN_X")
    assert (read_number("PROJRUN_X", 7), read_whole_number("PROJRUN_X", 7)) == (7, 7)


@pytest.mark.parametrize("text", ["soon", "-1", "nan", "inf", "1,5"])
def test_what_is_no_number_is_named_with_what_is_expected(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROJRUN_X", text)
    with pytest.raises(ProjrunError) as caught:
        read_number("PROJRUN_X", 600)
    assert str(caught.value) == (
        f"PROJRUN_X={text} is not a number of seconds, 0 or more; give one such as 600, or unset it"
    )


@pytest.mark.parametrize("text", ["1.5", "-1", "many", "²"])
def test_what_is_counted_is_a_whole_number(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROJRUN_X", text)
    with pytest.raises(ProjrunError, match="is not a whole number, 0 or more; give one such as 200"):
        read_whole_number("PROJRUN_X", 200)
    monkeypatch.setenv("PROJRUN_X", "12")
    assert read_whole_number("PROJRUN_X", 200) == 12


@pytest.mark.parametrize("text", ["", "0", "false", "False", "no", "OFF", "never"])
def test_the_usual_words_for_no_are_off(text: str) -> None:
    assert not is_on(text)
    assert all(is_on(word) for word in ("1", "true", "yes", "on", "automatic"))


def test_a_lock_is_waited_for_as_long_as_a_variable_says(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    held, wanted = (FileLock(home.cache / "x.lock") for _ in range(2))
    held.acquire()
    monkeypatch.setenv("PROJRUN_LOCK_TIMEOUT", "0")
    with pytest.raises(ProjrunError, match="waited 0 s for"):
        wanted.acquire()
    monkeypatch.setenv("PROJRUN_LOCK_TIMEOUT", "long")
    with pytest.raises(ProjrunError, match="PROJRUN_LOCK_TIMEOUT=long is not a number"):
        wanted.acquire()
    held.release()


@pytest.mark.parametrize("variable", ["MLFLOW_HTTP_REQUEST_TIMEOUT", "MLFLOW_HTTP_REQUEST_MAX_RETRIES"])
def test_a_wrong_number_for_the_tracking_server_is_one_line(variable: str, projrun: Projrun) -> None:
    environ = {"MLFLOW_TRACKING_URI": "http://127.0.0.1:1", variable: "few"}
    done = projrun("runs", "list", environ=environ)
    assert done.returncode == 125
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"projrun: error: {variable}=few is not a ")
