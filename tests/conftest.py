"""Every test has a home of its own; the real one is out of reach."""

from __future__ import annotations

import pytest

from projrun.home import Home


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Home:
    """Fresh cache and data directories, named in the environment; HOME leads nowhere."""
    root = tmp_path_factory.mktemp("home")
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_TRACKING_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PROJRUN_CACHE_DIR", str(root / "cache"))
    monkeypatch.setenv("PROJRUN_HOME", str(root / "data"))
    monkeypatch.setenv("HOME", str(root / "user"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(root / "user" / ".config"))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(root / "gitconfig"))
    (root / "gitconfig").write_text(
        "[user]\n\tname = Test\n\temail = test@example.org\n[init]\n\tdefaultBranch = main\n"
    )
    return Home(root / "cache", root / "data")
