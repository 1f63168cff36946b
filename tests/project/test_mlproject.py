"""Finding and reading MLproject files: what is refused, where, and what to do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from projrun.errors import ProjectError
from projrun.project import read_project
from projrun.project.mlproject import suggest_name

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Make a project: `write("text of MLproject", name__ext="text of another file")`."""

    def make(text: str | None = None, **files: str) -> Path:
        directory = tmp_path / "demo"
        directory.mkdir(exist_ok=True)
        if text is not None:
            (directory / "MLproject").write_text(text)
        for name, content in files.items():
            (directory / name.replace("__", ".")).write_text(content)
        return directory

    return make


def refused(directory: Path) -> str:
    with pytest.raises(ProjectError) as caught:
        read_project(directory)
    return str(caught.value)


def test_everything_that_a_file_says(write: Write) -> None:
    project = read_project(
        write(
            "name: iris\npython_env: env.yaml\nentry_points:\n  main:\n    parameters:\n"
            "      alpha: {type: float, default: .01, description: rate, min: 0, max: 1e0}\n"
            "      mode: {type: string, choices: [fast, 2], required: false}\n"
            "      out: {type: path, output: true}\n"
            "      shuffle: {type: bool, flag: --shuffle}\n"
            "    command: python {alpha}\n",
            env__yaml="python: '3.11'\n",
        )
    )
    main = project.entry_points["main"]
    assert (project.name, project.file, project.descriptor.file) == ("iris", "MLproject", "env.yaml")
    assert (main.name, main.command, main.file, main.line, main.column) == (
        "main",
        "python {alpha}",
        "MLproject",
        10,
        5,
    )
    alpha, mode, out, shuffle = main.parameters.values()
    assert (alpha.type, alpha.default, alpha.description, alpha.min, alpha.max) == (
        "float",
        "0.01",
        "rate",
        0,
        1,
    )
    assert (mode.choices, mode.required, mode.default) == (("fast", "2"), False, None)
    assert (out.output, shuffle.flag) == (True, "--shuffle")


def test_the_directory_names_a_project_without_a_name(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_project(write("name:\n")).name == "demo"
    monkeypatch.chdir(write())
    assert read_project(Path(".")).name == "demo"


def test_a_directory_called_mlproject_is_not_the_file(write: Write) -> None:
    directory = write()
    (directory / "MLproject").mkdir()
    (directory / "MLproject" / "MLproject").write_text("name: inner\n")
    assert read_project(directory).file == ""
    assert read_project(directory / "MLproject").name == "inner"


def test_a_link_to_the_file_is_followed(write: Write) -> None:
    directory = write(real="name: linked\n")
    (directory / "MLproject").symlink_to("real")
    assert read_project(directory).name == "linked"


def test_a_broken_link_is_an_error(write: Write) -> None:
    directory = write()
    (directory / "MLproject").symlink_to("nowhere")
    assert "MLproject: cannot be read" in refused(directory)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a\n", "MLproject:1:1: is not a mapping"),
        ("name: a\nname: b\n", "MLproject:2:1: has the key 'name' twice"),
        ("name: [a\n", "MLproject:2:1: is not valid YAML"),
        ("entry_points: [main]\n", "MLproject:1:1: 'entry_points' is not a mapping"),
        ("entry_points:\n  main: ls\n", "MLproject:2:3: entry point 'main' is not a mapping"),
        (
            "entry_points:\n  main: {command: a, parameters: [a]}\n",
            "MLproject:2:22: 'parameters' of entry point",
        ),
        (
            "entry_points:\n  main:\n    parameters:\n      a: 5\n",
            "MLproject:4:7: parameter 'a' is neither a type",
        ),
        (
            "entry_points:\n  main:\n    parameters:\n      a: {min: low}\n",
            "MLproject:4:11: 'min' of parameter 'a': expected",
        ),
        ("entry_points: {m: {parameters: {a: {choices: []}}}}\n", "'choices' of parameter 'a': expected"),
        ("entry_points: {m: {parameters: {a: {flag: shuffle}}}}\n", "'flag' of parameter 'a': expected"),
        (
            "python_env: a\nconda_env: b\n",
            "MLproject:2:1: has 'python_env' and 'conda_env', which exclude each other",
        ),
        (
            "name: a\nconda_env: no.yaml\n",
            "MLproject:2:1: 'conda_env' names 'no.yaml', which does not exist; add",
        ),
        ("python_env: {python: '3.8'}\n", "MLproject:1:1: 'python_env' is to be the name of a file"),
        (
            "docker_env: {volumes: [a]}\n",
            "MLproject:1:1: 'docker_env': object missing required field `image`",
        ),
        (
            "docker_env: {image: a, volumes: [1]}\n",
            "MLproject:1:34: 'volumes' of 'docker_env': expected `str`",
        ),
    ],
)
def test_what_is_wrong_is_told_with_its_place(write: Write, text: str, message: str) -> None:
    assert message in refused(write(text))


def test_two_files_are_both_named(write: Write) -> None:
    message = refused(write("name: a\n", mlproject="name: b\n"))
    assert "'MLproject' and 'mlproject'" in message


def test_a_missing_directory_is_an_error(tmp_path: Path) -> None:
    assert "cannot be read" in refused(tmp_path / "nowhere")


def test_one_bad_entry_point_leaves_the_others(write: Write) -> None:
    project = read_project(write("entry_points:\n  main: {parameters: {}}\n  other: {command: ls}\n"))
    assert project.entry_point("other").command == "ls"
    with pytest.raises(
        ProjectError, match=r"MLproject:2:3: entry point 'main' has no command; write command"
    ):
        project.entry_point("main")


def test_unknown_entry_points_get_the_nearest_name(write: Write) -> None:
    project = read_project(write("entry_points: {train: {command: ls}, evaluate: {command: ls}}\n"))
    with pytest.raises(ProjectError) as caught:
        project.entry_point("trian")
    assert str(caught.value) == (
        "MLproject: there is no entry point 'trian'; did you mean 'train'? "
        "choose one of train, evaluate, or a script (.py, .sh, .R, .ipynb)"
    )


def test_without_a_file_scripts_can_be_run(write: Write) -> None:
    project = read_project(write(train__py=""))
    assert project.entry_point("train.py").command == "python train.py"
    with pytest.raises(ProjectError, match=r"no MLproject file and 'main' is no script; name a script"):
        project.entry_point("main")
    with pytest.raises(ProjectError, match=r"there is no script 'missing.sh' in the project"):
        project.entry_point("missing.sh")


def test_keys_without_a_blank_behind_the_colon_are_told(write: Write) -> None:
    project = read_project(
        write("entry_points:\n  main:\n    parameters:\n      a: {type:int}\n    command: ls\n")
    )
    main = project.entry_points["main"]
    assert main.parameters["a"].type == "string"
    assert main.warnings == (
        "MLproject:4: parameter 'a' has a key 'type:int', which means nothing; "
        "write 'type: int' with a blank",
    )


def test_a_constant_as_a_name_is_told(write: Write) -> None:
    project = read_project(write("entry_points: {main: {parameters: {no: int}, command: ls}}\n"))
    assert "'False'" in project.entry_points["main"].warnings[0]


def test_names_that_no_file_can_have_are_missing_files(write: Write) -> None:
    long = "x" * 300
    assert "which does not exist" in refused(write(f"conda_env: {long}\n"))
    with pytest.raises(ProjectError, match="there is no script"):
        read_project(write("name: a\n")).entry_point(f"{long}.py")


def test_endless_numbers_are_refused(write: Write) -> None:
    assert "cannot be used" in refused(write(f"name: 0x{'f' * 5000}\n"))


@pytest.mark.parametrize(("name", "meant"), [("nmae", "name"), ("alhpa", "alpha"), ("zeta", ""), ("", "")])
def test_the_name_that_is_probably_meant(name: str, meant: str) -> None:
    assert suggest_name(name, ["name", "alpha", "beta"]) == meant
