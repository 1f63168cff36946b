from __future__ import annotations

import urllib.error
import urllib.request

import pytest

from projrun.disk import Home
from projrun.server import app
from projrun.server.endpoint import Endpoint
from projrun.tracking import open_store


def test_a_server_that_cannot_start_refuses_its_clients_at_once(
    home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_arguments: object, **_options: object) -> None:
        raise ImportError("no module named 'starlette'")

    monkeypatch.setattr(app, "create_app", broken)
    store = open_store(home)
    endpoint = Endpoint(store)
    with pytest.raises(OSError):
        urllib.request.urlopen(endpoint.url + "/health", timeout=60)
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(endpoint.url + "/health", timeout=60)
    endpoint.close()
    store.close()
    assert "tracking endpoint ended: ImportError" in capsys.readouterr().err
