"""Conda environments: solved, locked and installed from channels on this machine."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from projrun.disk import Home
from projrun.environments import interpreters
from projrun.environments.conda import conda_manager, rattler
from projrun.environments.conda.pypi_names import needs_conda
from projrun.environments.environment_store import Provided
from projrun.errors import BuildError, UnavailableError
from projrun.plan import Descriptor
from projrun.processes import merge_environ
from projrun.processes.programs import run_program
from projrun.project import read_project
from projrun.project.environment.conda_file import platform_name
from tests import test_startup
from tests.conftest import MakeProject, Projrun
from tests.environments.test_environment_store import provided, python_says
from tests.support import conda_packages
from tests.support.chaos import MARK, processes_marked
from tests.support.conda_packages import PLACEHOLDER, Channel, served

RUNNING = ".".join(map(str, sys.version_info[:3]))
MINOR = ".".join(map(str, sys.version_info[:2]))
PYTHONS = [python for python in interpreters.installed() if conda_packages.relocatable(python)]
"""Looked for here, where HOME is still the user's."""

Provide = Callable[..., Provided]


@pytest.fixture
def environment(tmp_path: Path, home: Home) -> Provide:
    """`environment("a", "b=1")`: a conda environment of a project whose environment.yml lists these."""

    def make(*packages: str, rest: str = "", pip: tuple[str, ...] = (), **files: str) -> Provided:
        directory = tmp_path / "project"
        directory.mkdir(exist_ok=True)
        listed: list[object] = [*packages, {"pip": list(pip)}] if pip else list(packages)
        (directory / "environment.yml").write_text(f"dependencies: {json.dumps(listed)}\n{rest}\n")
        for name, text in files.items():
            (directory / name.replace("__", ".")).write_text(text)
        return provided(read_project(directory).descriptor, home, directory, "conda")

    return make


def packages_of(environment: Provided) -> dict[str, str]:
    return {package.name: package.version for package in environment.environment.packages}


def prefix_of(environment: Provided) -> Path:
    return Path(str(environment.launch.variables["CONDA_PREFIX"]))


def shell_says(environment: Provided, command: str) -> str:
    launch = environment.launch
    path = os.pathsep.join([*launch.path_entries, os.environ["PATH"]])
    answer = run_program(
        ["bash", "-c", command], environ=merge_environ(os.environ, launch.variables, {"PATH": path})
    )
    assert answer.ok, answer.stderr
    return answer.stdout.strip()


# packages


def test_packages_of_every_sort_are_installed(environment: Provide) -> None:
    made = environment("python", "tinylib", "native", "data")
    assert packages_of(made) == {
        "python": RUNNING,
        "python_abi": MINOR,
        "tinylib": "2.0.0",
        "native": "1.0",
        "data": "1.0",
    }
    prefix = prefix_of(made)
    assert (made.lock.python, made.environment.python) == (RUNNING, RUNNING)
    assert shell_says(made, "tiny") == "tinylib 2.0.0"
    assert python_says(made, "import sys; print(sys.prefix)") == str(prefix)
    assert (prefix / "share" / "data.txt").read_text() == "data\n"


def test_prefixes_in_text_and_binaries_are_the_final_ones(environment: Provide) -> None:
    made = environment("native")
    prefix = prefix_of(made)
    assert shell_says(made, "native") == f"{prefix}/share"
    binary = (prefix / "lib" / "libnative.so").read_bytes()
    assert f"{prefix}/lib\0".encode() in binary
    assert binary.endswith(b"\0after")
    assert len(binary) == len(b"\x7fELF\0" + PLACEHOLDER.encode() + b"/lib\0after")
    assert not list(prefix.parent.glob("*.tmp"))


@pytest.mark.parametrize("minor", ["3.8", "3.11"])
def test_a_whole_interpreter_is_moved_into_its_prefix(
    minor: str, environment: Provide, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = next((one for one in PYTHONS if one.version_text.startswith(f"{minor}.")), None)
    if python is None:
        pytest.skip(f"no Python {minor} on this machine that can be packed")
    channel = Channel(tmp_path / "pythons")
    conda_packages.add_whole_python(channel, python)
    conda_packages.add_library(channel, "1.0.0")
    monkeypatch.setenv("CONDA_CHANNELS", channel.index().url)
    made = environment(f"python={minor}", "tinylib=1", pip=("six==1.16.0",))
    script = "import ctypes, json, six, sys, tinylib; print(*sys.version_info[:2], sys.prefix, six.__file__)"
    major, number, prefix, six = python_says(made, script).split()
    assert (f"{major}.{number}", prefix) == (minor, str(prefix_of(made)))
    assert six.startswith(prefix)
    assert shell_says(made, "tiny") == "tinylib 1.0.0"
    assert packages_of(made)["six"] == "1.16.0"


def test_a_compiled_library_knows_its_prefix(environment: Provide, tmp_path: Path) -> None:
    if shutil.which("cc") is None:
        pytest.skip("no C compiler on this machine")
    (tmp_path / "where.c").write_text(f'const char *where(void) {{ return "{PLACEHOLDER}/share"; }}\n')
    library = tmp_path / "libwhere.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, tmp_path / "where.c"], check=True)
    own = Channel(tmp_path / "own")
    own.add("where", "1", {"lib/libwhere.so": library}, prefixes={"lib/libwhere.so": "binary"})
    own.index()
    made = environment("python", "where", rest="channels: [../own]")
    script = (
        "import ctypes, sys; library = ctypes.CDLL(sys.prefix + '/lib/libwhere.so')\n"
        "library.where.restype = ctypes.c_char_p; print(library.where().decode())"
    )
    assert python_says(made, script) == f"{prefix_of(made)}/share"


@pytest.mark.parametrize(
    ("spec", "version"),
    [
        ("tinylib=1", "1.0.0"),
        ("tinylib==1.0.0", "1.0.0"),
        ("tinylib>=1,<2", "1.0.0"),
        ("tinylib >=1, <2", "1.0.0"),
        ("tinylib=2.0.0=py_0", "2.0.0"),
        ("tinylib 1.*", "1.0.0"),
        ("tinylib=1|3", "1.0.0"),
        ("tinylib[version='<2']", "1.0.0"),
        ("TinyLib", "2.0.0"),
        ("CHANNEL::tinylib=1", "1.0.0"),
    ],
)
def test_pins_of_every_form(spec: str, version: str, conda_channel: Channel, tmp_path: Path) -> None:
    written = spec.replace("CHANNEL", conda_channel.url)
    descriptor = Descriptor(kind="conda_env", file="environment.yml", conda_specs=(written,))
    lock = conda_manager.lock(descriptor, tmp_path, tmp_path / "log")
    assert f"tinylib-{version}-py_0" in lock.conda


@pytest.mark.dates
def test_what_came_later_than_a_date_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = Channel(tmp_path / "own")
    for version, year in (("1", 2020), ("2", 2024)):
        milliseconds = (year - 1970) * 31_557_600_000
        own.add("dated", version, {"share/d": version.encode()}, timestamp=milliseconds)
    own.index()
    monkeypatch.setenv("CONDA_CHANNELS", own.url)
    descriptor = Descriptor(kind="conda_env", conda_specs=("dated",))
    for as_of, version in (("2022-01-01T00:00:00Z", "1"), ("2022-01-01", "1"), ("", "2")):
        lock = conda_manager.lock(descriptor, tmp_path, tmp_path / "log", as_of)
        assert f"dated-{version}-0.conda" in lock.conda


def test_virtual_packages_count(environment: Provide, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BuildError, match="__cuda"):
        environment("needs-cuda")
    monkeypatch.setenv("CONDA_OVERRIDE_CUDA", "12.4")
    assert packages_of(environment("needs-cuda")) == {"needs-cuda": "1.0"}


def test_what_cannot_be_solved_is_told_in_the_solvers_words(environment: Provide) -> None:
    with pytest.raises(BuildError, match=r"needs-old.*tinylib <2") as caught:
        environment("needs-old", "tinylib=2")
    assert "\n" not in str(caught.value)


def test_an_export_of_another_platform_says_what_cannot_be_had(environment: Provide) -> None:
    with pytest.raises(BuildError, match=r"no only-elsewhere ==1\.0 0 .*there for win-64"):
        environment("tinylib=1", "only-elsewhere=1.0=0", rest="name: x\nprefix: C:\\\\x")


def test_what_is_no_match_spec_is_named(environment: Provide) -> None:
    with pytest.raises(BuildError, match="'plain=>=!' is not a conda package"):
        environment("plain=>=!")


def test_a_utf16_export_with_builds_is_read(conda_channel: Channel, tmp_path: Path, home: Home) -> None:
    text = f"name: x\nchannels: [{conda_channel.url}]\ndependencies:\n- tinylib=1.0.0=py_0\nprefix: /home/x\n"
    (tmp_path / "environment.yml").write_bytes(text.encode("utf-16"))
    made = provided(read_project(tmp_path).descriptor, home, tmp_path, "conda")
    assert packages_of(made)["tinylib"] == "1.0.0"


def test_link_scripts_are_refused_unless_allowed(
    environment: Provide, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(BuildError, match="scripted: wants to run a script"):
        environment("scripted")
    assert not list((home.environments / "conda").glob("*/"))
    monkeypatch.setenv("PROJRUN_CONDA_LINK_SCRIPTS", "1")
    assert (prefix_of(environment("scripted")) / "scripted").exists()


@pytest.mark.parametrize("over_http", [False, True])
def test_a_package_with_a_wrong_hash_is_refused(
    over_http: bool, environment: Provide, home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel = Channel(tmp_path / "damaged")
    path = channel.add("data", "1.0", {"share/data.txt": b"good\n"}, noarch="generic")
    channel.index()
    path.write_bytes(path.read_bytes().replace(b"good\n", b"evil\n"))
    with served(channel) as host:
        monkeypatch.setenv("CONDA_CHANNELS", f"http://{host}" if over_http else channel.url)
        with pytest.raises(
            BuildError, match=r"sha256 is another|Invalid checksum.* the package was changed or damaged"
        ):
            environment("data")
    assert not list((home.environments / "conda").glob("*/"))


# channels


def test_channels_need_what_opens_them(
    environment: Provide, conda_channel: Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    with served(conda_channel, user="me:p@ss") as host:
        monkeypatch.setenv("CONDA_CHANNELS", "")
        with pytest.raises(BuildError, match="401") as caught:
            environment("data", rest=f"channels: [http://{host}]")
        assert "log in to the channel" in str(caught.value)
        with pytest.raises(BuildError, match="needs the variable CHANNEL_USER"):
            environment("data", rest=f"channels: ['http://${{CHANNEL_USER}}:${{CHANNEL_PASSWORD}}@{host}']")
        monkeypatch.setenv("CHANNEL_USER", "me")
        monkeypatch.setenv("CHANNEL_PASSWORD", "p%40ss")
        made = environment(
            "data", rest=f"channels: ['http://${{CHANNEL_USER}}:${{CHANNEL_PASSWORD}}@{host}']"
        )
        assert packages_of(made) == {"data": "1.0"}
        assert f"http://{host}/noarch/data" in made.lock.conda
        assert "p%40ss" not in made.lock.conda


def test_credentials_of_the_usual_places(
    environment: Provide, conda_channel: Channel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with served(conda_channel, user="me:secret") as host:
        monkeypatch.setenv("CONDA_CHANNELS", f"http://{host}")
        login = {host.split(":")[0]: {"BasicHTTP": {"username": "me", "password": "secret"}}}
        (tmp_path / "auth.json").write_text(json.dumps(login))
        monkeypatch.setenv("RATTLER_AUTH_FILE", str(tmp_path / "auth.json"))
        assert packages_of(environment("data")) == {"data": "1.0"}


def test_a_token_in_the_condarc_reaches_neither_lock_nor_cache(
    environment: Provide, conda_channel: Channel, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CONDA_CHANNELS")
    with served(conda_channel, token="to-ken-42") as host:
        condarc = Path(os.environ["HOME"]) / ".condarc"
        condarc.parent.mkdir(parents=True, exist_ok=True)
        condarc.write_text(f"channels:\n- http://{host}/t/to-ken-42/\nchannel_priority: strict\n")
        made = environment("data", "native")
    assert packages_of(made) == {"data": "1.0", "native": "1.0"}
    for path in home.cache.rglob("*"):
        assert not path.is_file() or b"to-ken-42" not in path.read_bytes()


def test_a_literal_password_in_the_project_is_left_out_with_a_warning(tmp_path: Path) -> None:
    text = (
        "channels: ['https://me:secret@example.org/c', 'https://example.org/t/abc/c']\ndependencies: [a=1]\n"
    )
    (tmp_path / "conda.yaml").write_text(text)
    project = read_project(tmp_path)
    assert project.descriptor.channels == ("https://example.org/c", "https://example.org/c")
    assert any("name a variable" in warning for warning in project.warnings)


def test_mirrors_of_rattlers_configuration_are_asked(
    environment: Provide, conda_channel: Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    with served(conda_channel) as host:
        config = Path(os.environ["XDG_CONFIG_HOME"]) / "rattler" / "config.toml"
        config.parent.mkdir(parents=True)
        config.write_text(f'[mirrors]\n"https://conda.invalid/x" = ["http://{host}"]\n')
        monkeypatch.setenv("CONDA_CHANNELS", "https://conda.invalid/x")
        assert "https://conda.invalid/x/noarch/data" in environment("data").lock.conda


@pytest.mark.parametrize(
    ("priority", "version"), [("strict", None), ("flexible", "2.0.0"), ("disabled", "2.0.0")]
)
def test_channel_priority(
    priority: str,
    version: str | None,
    environment: Provide,
    conda_channel: Channel,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = Channel(tmp_path / "first")
    conda_packages.add_library(first, "1.5.0")
    first.index()
    monkeypatch.setenv("CONDA_CHANNEL_PRIORITY", priority)
    channels = f"channels: [{first.url}, {conda_channel.url}, nodefaults]"
    if version:
        assert packages_of(environment("tinylib>=2", rest=channels))["tinylib"] == version
        return
    assert packages_of(environment("tinylib", rest=channels))["tinylib"] == "1.5.0"
    with pytest.raises(BuildError, match="tinylib"):
        environment("tinylib>=2", rest=channels)


def test_nodefaults_keeps_the_users_channels_out(environment: Provide, tmp_path: Path) -> None:
    own = Channel(tmp_path / "own")
    own.add("mine", "1", {"share/mine": b""})
    own.index()
    with pytest.raises(BuildError, match="no data"):
        environment("data", rest="channels: [../own, nodefaults]")
    assert packages_of(environment("data", "mine", rest="channels: [../own]")) == {"data": "1.0", "mine": "1"}


def test_offline_works_from_the_cache_alone(
    environment: Provide, conda_channel: Channel, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    with served(conda_channel) as host:
        monkeypatch.setenv("CONDA_CHANNELS", f"http://{host}")
        environment("native")
    with pytest.raises(BuildError, match="PROJRUN_OFFLINE=1 uses what is in the cache"):
        environment("native", "data")
    monkeypatch.setenv("PROJRUN_OFFLINE", "1")
    made = environment("native", rest="variables: {ANOTHER: environment}")
    assert packages_of(made) == {"native": "1.0"}
    with pytest.raises(BuildError, match=r"not in the package cache: data-1\.0") as caught:
        environment("native", "data")
    assert "once without PROJRUN_OFFLINE" in str(caught.value)


# the pip section


def test_the_pip_section_is_locked_and_installed_into_the_prefix(environment: Provide) -> None:
    made = environment("python", "tinylib", pip=("-r more.txt", "iniconfig"), more__txt="six==1.16.0\n")
    assert {"six": "1.16.0", "tinylib": "2.0.0"}.items() <= packages_of(made).items()
    assert "sha256" in made.lock.pylock
    assert python_says(made, "import six, iniconfig; print(six.__file__)").startswith(str(prefix_of(made)))


def test_commands_of_the_pip_section_name_the_final_prefix(environment: Provide) -> None:
    made = environment("python", pip=("pyflakes==3.2.0",))
    assert "3.2.0" in shell_says(made, "pyflakes --version")


def test_python_comes_with_the_pip_section(environment: Provide) -> None:
    made = environment("data", pip=("six==1.16.0",))
    assert {"python": RUNNING, "six": "1.16.0"}.items() <= packages_of(made).items()


def test_conda_packages_stay_unless_the_pip_section_says_otherwise(
    environment: Provide, tmp_path: Path, conda_channel: Channel
) -> None:
    own = Channel(tmp_path / "own")
    metadata = b"Metadata-Version: 2.1\nName: six\nVersion: 1.15.0\n"
    info = "site-packages/six-1.15.0.dist-info"
    files = {"site-packages/six.py": b"__version__ = '1.15.0'\n", f"{info}/METADATA": metadata}
    files |= {f"{info}/INSTALLER": b"conda\n"}
    files |= {f"{info}/RECORD": f"six.py,,\n{info[14:]}/METADATA,,\n{info[14:]}/RECORD,,\n".encode()}
    own.add("six", "1.15.0", files, noarch="python", depends=("python",))
    own.index()
    kept = environment("six", pip=("python-dateutil==2.9.0",), rest="channels: [../own]")
    assert python_says(kept, "import six, dateutil; print(six.__version__)") == "1.15.0"
    assert kept.lock.notices == ()
    replaced = environment("six", pip=("six==1.16.0",), rest="channels: [../own]")
    assert python_says(replaced, "import six; print(six.__version__)") == "1.16.0"
    assert "replaces" in replaced.lock.notices[0]
    assert packages_of(replaced)["six"] == "1.16.0"


# launch


def test_activation_scripts_and_variables_are_data(
    environment: Provide, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = environment("native", rest="variables: {GREETING: 'it''s $5', FROM_FILE: x, NUMBER: 1}")
    prefix = prefix_of(made)
    variables = made.launch.variables
    assert variables["NATIVE_DATA"] == f"{prefix}/share/native"
    assert variables["GREETING"] == "it's $5"
    assert variables["NUMBER"] == "1"
    assert variables["FROM_FILE"] is None  # the script unsets it
    assert made.launch.path_entries == (f"{prefix}/libexec", f"{prefix}/bin")
    assert shell_says(made, "inner") == "inner"
    asked = "a warm start asks rattler"
    monkeypatch.setattr(rattler, "run_with_progress", lambda *_, **__: pytest.fail(asked))
    again = environment("native", rest="variables: {GREETING: 'it''s $5', FROM_FILE: x, NUMBER: 1}")
    for part in ("environment", "launch", "lock"):
        assert getattr(again, part) == getattr(made, part)


def test_activation_sees_nothing_of_the_callers_environment(
    environment: Provide, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = Channel(tmp_path / "own")
    script = b"export COPIED=${TOKEN:-none}\nfalse\n"
    own.add("nosy", "1", {"etc/conda/activate.d/n.sh": script})
    own.add("broken", "1", {"etc/conda/activate.d/b.sh": b"echo a reason >&2\nexit 3\n"})
    own.index()
    monkeypatch.setenv("TOKEN", "secret")
    assert environment("nosy", rest="channels: [../own]").launch.variables["COPIED"] == "none"
    with pytest.raises(BuildError, match="activation scripts of the environment failed: a reason"):
        environment("broken", rest="channels: [../own]")


def test_a_warm_start_loads_no_rattler_and_starts_no_shell_of_its_own(
    make_project: MakeProject, tmp_path: Path
) -> None:
    noop = make_project(MLproject=test_startup.NOOP)
    test_startup.test_a_warm_run_outside_git_starts_two_processes(noop, "conda", tmp_path)
    loaded = test_startup.modules_after("run", noop, "--env-manager", "conda")
    modules = test_startup.without_what_the_test_imports(loaded)
    assert test_startup.foreign(modules) <= test_startup.THIRD_PARTY


# locks of the project


@pytest.fixture
def locked_elsewhere(conda_channel: Channel) -> dict[str, str]:
    """The same packages as a lock of each kind: plain 1, though 2 is there."""
    platform = platform_name()
    names = {"plain-1.0-0.tar.bz2": "noarch", "data-1.0-0.tar.bz2": "noarch"}
    records = {f"{conda_channel.url}/{sub}/{name}": conda_channel.record(name) for name, sub in names.items()}
    explicit = "".join(f"{url}#{record['md5']}\n" for url, record in records.items())
    packages = "".join(
        f"- name: {record['name']}\n  version: '{record['version']}'\n  manager: conda\n"
        f"  platform: {platform}\n"
        f"  dependencies: {{}}\n  url: {url}\n  hash: {{md5: {record['md5']}, sha256: {record['sha256']}}}\n"
        "  category: main\n  optional: false\n"
        for url, record in records.items()
    )
    metadata = f"content_hash: {{{platform}: x}}\n  channels: []\n  platforms: [{platform}]\n  sources: [x]"
    return {
        "explicit": f"# platform: {platform}\n@EXPLICIT\n{explicit}",
        "conda-lock": f"version: 1\nmetadata:\n  {metadata}\npackage:\n{packages}",
    }


def test_a_lock_in_the_project_takes_the_place_of_solving(
    environment: Provide, locked_elsewhere: dict[str, str], tmp_path: Path
) -> None:
    lock = tmp_path / "project" / "conda-lock.yml"
    made = environment("plain", "data", **{"conda-lock.yml": locked_elsewhere["conda-lock"]})
    assert packages_of(made) == {"plain": "1.0", "data": "1.0"}
    with pytest.raises(BuildError, match=r"conda-lock\.yml: .*does not fit 'plain=2': it has plain 1\.0"):
        environment("plain=2")
    lock.unlink()
    (lock.parent / f"conda-{platform_name()}.lock").write_text(locked_elsewhere["explicit"])
    assert packages_of(environment("plain", "data")) == {"plain": "1.0", "data": "1.0"}
    (lock.parent / f"conda-{platform_name()}.lock").unlink()
    assert packages_of(environment("plain", "data"))["plain"] == "2.0"


def test_our_own_lock_is_one_in_the_project(environment: Provide) -> None:
    made = environment("plain=1", "data")
    again = environment("plain", "data", **{"pixi.lock": made.lock.conda})
    assert packages_of(again) == packages_of(made)


def test_an_explicit_file_is_a_descriptor(
    locked_elsewhere: dict[str, str], tmp_path: Path, home: Home
) -> None:
    (tmp_path / "MLproject").write_text("conda_env: spec-file.txt\n")
    (tmp_path / "spec-file.txt").write_text(locked_elsewhere["explicit"])
    made = provided(read_project(tmp_path).descriptor, home, tmp_path, "conda")
    assert packages_of(made) == {"plain": "1.0", "data": "1.0"}
    (tmp_path / "spec-file.txt").write_text(f"{locked_elsewhere['explicit'][:-5]}0000\n")
    with pytest.raises(BuildError, match="not the file that the lock names"):
        provided(read_project(tmp_path).descriptor, home, tmp_path, "conda")


def test_pixi_toml_with_its_lock_is_a_descriptor(environment: Provide, tmp_path: Path, home: Home) -> None:
    lock = environment("plain=1", "data").lock.conda
    directory = tmp_path / "pixi"
    directory.mkdir()
    text = '[workspace]\nchannels = ["x"]\nplatforms = []\n[dependencies]\nplain = "*"\n'
    text += 'data = { version = ">=1", build = "*" }\n[activation.env]\nMODE = "fast"\n'
    (directory / "pixi.toml").write_text(text)
    assert read_project(directory).descriptor.kind == "none"
    (directory / "pixi.lock").write_text(lock)
    project = read_project(directory)
    assert project.descriptor.file == "pixi.toml"
    made = provided(project.descriptor, home, directory, "conda")
    assert packages_of(made)["plain"] == "1.0"
    assert made.launch.variables["MODE"] == "fast"


# whole runs


def test_a_run_of_a_conda_project_keeps_its_lock(
    projrun: Projrun, make_project: MakeProject, home: Home
) -> None:
    listed = "dependencies: [python, tinylib=1]\nvariables: {GREETING: hello}\n"
    command = "entry_points: {main: {command: 'tiny && echo $GREETING'}}\n"
    project = make_project(MLproject=command, **{"environment.yml": listed})
    done = projrun("run", project, "--env-manager", "conda")
    assert (done.returncode, done.stdout) == (0, "tinylib 1.0.0\nhello\n"), done.stderr
    (kept,) = home.artifacts.rglob("projrun/pixi.lock")
    assert "tinylib-1.0.0-py_0" in kept.read_text()


@pytest.mark.parametrize(
    ("listed", "channels", "needed"),
    [
        ((), (), False),
        (("numpy=1.26", "scikit-learn"), ("conda-forge",), False),
        (("numpy", "r-base"), ("conda-forge",), True),
        (("numpy", "cudatoolkit=11.8"), (), True),
        (("numpy",), ("https://conda.example.org/ours",), True),
        ((), ("https://conda.example.org/ours",), False),
    ],
)
def test_conda_is_the_default_where_pypi_will_not_do(
    listed: tuple[str, ...], channels: tuple[str, ...], needed: bool
) -> None:
    descriptor = Descriptor(kind="conda_env", conda_dependencies=listed, channels=channels)
    assert needs_conda(descriptor) == needed


def test_a_conda_file_without_conda_packages_is_given_to_uv(
    projrun: Projrun, make_project: MakeProject
) -> None:
    command = "entry_points: {main: {command: 'true'}}\n"
    done = projrun("run", make_project(MLproject=command, **{"conda.yaml": "dependencies: [pip]\n"}))
    assert "building the uv environment" in done.stderr


# programs, and what is missing


def test_a_program_of_the_users_makes_the_prefix(
    environment: Provide, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "my conda"
    program.write_text(
        f"#!{sys.executable}\n"
        "import json, os, sys\n"
        "create, yes, option, prefix, file_option, file, *rest = sys.argv[1:]\n"
        "assert (create, yes, option, file_option) == ('create', '--yes', '--prefix', '--file')\n"
        "assert not rest, sys.argv\n"
        "first, *urls = open(file).read().splitlines()\n"
        "assert first == '@EXPLICIT' and len(urls) == 1\n"
        "url, _, digest = urls[0].partition('#sha256:')\n"
        "assert url.endswith('/noarch/data-1.0-0.tar.bz2') and len(digest) == 64\n"
        "assert not os.path.exists(prefix)\n"
        "os.makedirs(prefix + '/conda-meta')\n"
        "open(prefix + '/made-at', 'w').write(prefix)\n"
        "json.dump({'name': 'data', 'version': '1.0'}, open(prefix + '/conda-meta/data-1.0-0.json', 'w'))\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PROJRUN_CONDA_EXE", str(program))
    made = environment("data")
    assert packages_of(made) == {"data": "1.0"}
    assert (prefix_of(made) / "made-at").read_text() == str(prefix_of(made))


def test_a_program_that_fails_is_named(environment: Provide, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROJRUN_CONDA_EXE", "false")
    with pytest.raises(BuildError, match=r"false \(PROJRUN_CONDA_EXE\) exited with code 1"):
        environment("data")


def test_a_missing_extra_is_one_line(environment: Provide, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UnavailableError, match="pip install 'projrun"):
        environment("data")


# crashes


def test_killed_while_building_is_rebuilt(
    environment: Provide,
    home: Home,
    tmp_path: Path,
    conda_channel: Channel,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(MARK, str(tmp_path))
    directory = tmp_path / "project"
    directory.mkdir()
    text = "dependencies: [python, tinylib, native, {pip: [six==1.16.0]}]\n"
    (directory / "environment.yml").write_text(text)
    script = (
        "from pathlib import Path\n"
        "from projrun.disk import home_from\n"
        "from projrun.project import read_project\n"
        "from tests.environments.test_environment_store import provided\n"
        f"d = Path({str(directory)!r})\n"
        "provided(read_project(d).descriptor, home_from(), d, 'conda')\n"
    )
    for delay_s in (0.3, 0.6, 0.9, 1.2):
        with subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.DEVNULL) as one:
            time.sleep(delay_s)
            one.kill()
    assert not processes_marked(str(tmp_path)), "what the killed ones had started goes on"
    made = provided(read_project(directory).descriptor, home, directory, "conda")
    assert python_says(made, "import six, tinylib; print(six.__version__)") == "1.16.0"
    assert not list(home.environments.rglob("*.tmp"))


def test_many_processes_build_once(home: Home, tmp_path: Path, conda_channel: Channel) -> None:
    (tmp_path / "environment.yml").write_text("dependencies: [native, data]\n")
    script = (
        "from pathlib import Path\n"
        "from projrun.disk import home_from\n"
        "from projrun.project import read_project\n"
        "from tests.environments.test_environment_store import provided\n"
        f"d = Path({str(tmp_path)!r})\n"
        "print(provided(read_project(d).descriptor, home_from(), d, 'conda').environment.key)\n"
    )
    pipe = subprocess.PIPE
    processes = [
        subprocess.Popen([sys.executable, "-c", script], stdout=pipe, stderr=pipe, text=True)
        for _ in range(5)
    ]
    said = [process.communicate() for process in processes]
    assert len({out for out, _ in said}) == 1
    assert "".join(err for _, err in said).count("building the conda environment") == 1
