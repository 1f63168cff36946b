"""Two runs side by side."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import git
import pytest

from tests.cli.test_bundle import run
from tests.conftest import MakeProject, Projrun
from tests.whole_runs.test_record import LOG

LOCAL = ("--env-manager", "local")
MLPROJECT = """
name: demo
entry_points: {main: {parameters: {seed: {default: 1}, word: a}, command: 'python main.py {seed} {word}'}}
"""
MAIN = "import sys\nopen('out.txt', 'w').write(sys.argv[1])\n"


@pytest.fixture
def project(make_project: MakeProject) -> Path:
    files = {"main.py": MAIN, "gone.txt": "gone\n", "log.py": LOG, ".projrunignore": "out.txt\n"}
    return make_project(MLproject=MLPROJECT, **files)


def test_all_that_differs_is_shown(projrun: Projrun, project: Path) -> None:
    first = run(projrun, project, *LOCAL, "-P", "word=x")
    (project / "main.py").write_text(MAIN + "exec(open('log.py').read())")
    (project / "gone.txt").unlink()
    (project / "new.bin").write_bytes(b"\0\1")
    (project / "log.py").chmod(0o755)
    second = run(projrun, project, *LOCAL, "-P", "word=x", "-P", "seed=2")
    done = projrun("diff", first, second)
    assert done.returncode == 1, done.stderr
    assert "-gone\n" in done.stdout
    assert "+exec(open('log.py').read())\n\\ No newline at end of file" in done.stdout
    assert "added new.bin (not text, or too large to be shown)" in done.stdout
    assert "changed log.py (not executable, then executable)" in done.stdout
    assert "parameters\n  ~ seed 1 -> 2\n" in done.stdout
    assert "metric rmse: none, then 0.25" in done.stdout
    assert "output out.txt: 1 bytes, sha256 6b86b273ff34, then 1 bytes" in done.stdout
    assert "word" not in done.stdout.partition("parameters")[2]
    found = json.loads(projrun("diff", first, second, "--format", "json").stdout)
    assert not found["same"]
    changes = {one["path"]: one["change"] for one in found["source"]["files"]}
    assert changes == {"gone.txt": "removed", "log.py": "changed", "main.py": "changed", "new.bin": "added"}


def test_states_and_lines_have_their_colours(projrun: Projrun, project: Path, tmp_path: Path) -> None:
    first = run(projrun, project, *LOCAL, "-P", "word=x")
    (project / "main.py").write_text(MAIN + "sys.exit(3)\n")
    failed = projrun("run", project, *LOCAL, "-P", "word=x", "-P", "seed=2")
    assert failed.returncode == 3
    second = json.loads(projrun("runs", "list", "--json").stdout)[0]["run_id"]
    forced = {"FORCE_COLOR": "1"}
    shown = projrun("diff", first, second, environ=forced).stdout
    assert "\033[32mFINISHED\033[0m, exit code 0, then \033[31mFAILED\033[0m, exit code 3" in shown
    assert "\n\033[32m+sys.exit(3)\033[0m\n" in shown
    assert "  \033[33m~ seed 1 -> 2\033[0m\n" in shown
    plain = projrun("diff", first, second, environ={**forced, "NO_COLOR": "1"}).stdout
    assert plain == re.sub("\033\\[[0-9]+m", "", shown)
    projrun("diff", first, second, "-o", tmp_path / "report", environ=forced)
    assert (tmp_path / "report").read_text() == plain, "a file is no terminal"


def test_the_shown_source_is_a_patch(projrun: Projrun, project: Path, tmp_path: Path) -> None:
    shutil.copytree(project, tmp_path / "before")
    first = run(projrun, project, *LOCAL, "-P", "word=x")
    (project / "main.py").write_text("import os\n" + MAIN.rstrip())
    (project / "more").mkdir()
    (project / "more" / "b.txt").write_text("b\n")
    second = run(projrun, project, *LOCAL, "-P", "word=x")
    found = json.loads(projrun("diff", first, second, "--format", "json").stdout)
    patch = "".join(one["diff"] for one in found["source"]["files"])
    subprocess.run(["git", "apply", "-"], cwd=tmp_path / "before", input=patch, text=True, check=True)
    for name in ("main.py", "more/b.txt"):
        assert (tmp_path / "before" / name).read_text() == (project / name).read_text()


def test_commits_between_two_runs_are_shown(projrun: Projrun, project: Path) -> None:
    with git.Repo.init(project) as repo:
        repo.git.add("--all")
        repo.index.commit("first")
        first = run(projrun, project, *LOCAL, "-P", "word=x")
        (project / "gone.txt").rename(project / "there.txt")
        repo.git.add("--all")
        commit = repo.index.commit("Rename <b>", author=git.Actor("Ann", "ann@example.org")).hexsha
    second = run(projrun, project, *LOCAL, "-P", "word=x")
    lines = f"  + {commit[:12]} {{}} Ann: Rename <b>\n  renamed gone.txt -> there.txt\n"
    text = projrun("diff", first, second).stdout
    date = text.partition(commit[:12] + " ")[2][:10]
    assert f"\ncommits\n{lines.format(date)}\nsource\n" in text
    history = json.loads(projrun("diff", first, second, "--format", "json").stdout)["source"]["history"]
    assert [one["subject"] for one in history["added"]] == ["Rename <b>"]
    assert history["renames"] == [{"before": "gone.txt", "after": "there.txt"}]
    assert f"{date} Ann: Rename &lt;b&gt;" in projrun("diff", first, second, "--format", "html").stdout
    shown = projrun("runs", "show", second).stdout
    assert f"commit       {commit[:12]} {date} Ann: Rename <b>\n" in shown
    assert shown.endswith(f"commits since run {first[:8]}:\n{lines.format(date)}")
    assert "commits since" not in projrun("runs", "show", first).stdout


def test_nothing_differs_between_a_run_and_itself_done_again(projrun: Projrun, project: Path) -> None:
    first = run(projrun, project, *LOCAL, "-P", "word=x")
    assert projrun("reproduce", first, "--run-name", "again").returncode == 0
    listed = json.loads(projrun("runs", "list", "--json").stdout)
    again = next(one["run_id"] for one in listed if one["run_id"] != first)
    done = projrun("diff", first, again)
    assert (done.returncode, done.stderr) == (0, "")
    assert "nothing differs" in done.stdout
    shutil.rmtree(project)
    assert projrun("diff", first, again).returncode == 0, "equal sources need not be there"


def test_packages_are_compared(projrun: Projrun, make_project: MakeProject) -> None:
    ids = []
    for dependencies in ("[idna==3.7, six==1.16.0]", "[idna==3.8]"):
        text = "python_env: env.yaml\nentry_points: {main: {command: 'true'}}"
        project = make_project(MLproject=text, **{"env.yaml": f"dependencies: {dependencies}\n"})
        ids.append(run(projrun, project))
    done = projrun("diff", *ids)
    assert "packages\n  ~ idna 3.7 -> 3.8\n  - six 1.16.0\n" in done.stdout
    assert "lock" not in done.stdout


def test_a_source_that_is_gone_is_told_and_the_rest_is_shown(
    projrun: Projrun, project: Path, tmp_path: Path
) -> None:
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "one"]):
        subprocess.run(["git", *command], cwd=project, check=True)
    remote = tmp_path / "remote.git"
    subprocess.run(["git", "clone", "-q", "--bare", project, remote], check=True)
    subprocess.run(["git", "remote", "add", "origin", f"file://{remote}"], cwd=project, check=True)
    subprocess.run(["git", "fetch", "-q", "origin"], cwd=project, check=True)
    first = run(projrun, project, *LOCAL, "-P", "word=x")
    (project / "main.py").write_text(MAIN + "#")
    second = run(projrun, project, *LOCAL, "-P", "word=y")
    shutil.rmtree(remote)
    done = projrun("diff", first, second)
    assert done.returncode == 1
    assert "the files cannot be compared: " in done.stdout
    assert "~ word x -> y" in done.stdout


def test_the_page_needs_nothing_else_and_runs_nothing(
    projrun: Projrun, project: Path, tmp_path: Path
) -> None:
    attack = "<script>alert(1)</script>"
    first = run(projrun, project, *LOCAL, "-P", "word=x")
    (project / "main.py").write_text(MAIN + f"# {attack}\n")
    (project / "<b>.txt").write_text("b")
    second = run(projrun, project, *LOCAL, "-P", f"word={attack}")
    page = tmp_path / "page.html"
    done = projrun("diff", first, second, "--format", "html", "-o", page)
    assert (done.returncode, done.stdout) == (1, "")
    text = page.read_text()
    assert "&lt;script&gt;alert(1)" in text
    tags, attributes = parsed(text)
    assert "script" not in tags
    assert tags.count("b") == 0
    assert not [name for name, _ in attributes if name in ("src", "href", "style") or name.startswith("on")]
    style = text.partition("<style>")[2].partition("</style>")[0]
    [policy] = re.findall(r"default-src 'none'; style-src 'sha256-([^']+)'", text)
    assert policy == base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()


def parsed(text: str) -> tuple[list[str], list[tuple[str, str | None]]]:
    tags: list[str] = []
    attributes: list[tuple[str, str | None]] = []

    class Parser(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            tags.append(tag)
            attributes.extend(attrs)

    Parser().feed(text)
    return tags, attributes


def test_what_a_terminal_would_obey_is_not_shown(projrun: Projrun, project: Path) -> None:
    first = run(projrun, project, *LOCAL, "-P", "word=x")
    (project / "main.py").write_text(MAIN + "# \x1b]0;title\x07 " + "long " * 1000)
    second = run(projrun, project, *LOCAL, "-P", "word=x")
    done = projrun("diff", first, second)
    assert "\x1b" not in done.stdout
    assert max(map(len, done.stdout.splitlines())) < 400


def test_names_that_do_not_exist_are_errors(projrun: Projrun, project: Path) -> None:
    first = run(projrun, project, *LOCAL, "-P", "word=x")
    done = projrun("diff", first, "nothing")
    assert (done.returncode, done.stdout) == (125, "")
    assert "there is no file 'nothing.zip'" in projrun("diff", first, "nothing.zip").stderr
    done = projrun("diff", first, first, "-o", project / "main.py" / "x")
    assert (done.returncode, done.stdout) == (125, "")
