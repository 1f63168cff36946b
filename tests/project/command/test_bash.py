"""Real bash, real programs: a value arrives in argv exactly as given, and starts nothing."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from projrun.errors import ParameterError
from projrun.project.command import render_command
from projrun.project.mlproject import EntryPoint, Parameter

PARAMETERS = {name: Parameter(name=name) for name in ("x", "y-z")}
SHOW = "#!/bin/sh\nexec /usr/bin/printf '%s\\0' @ \"$@\"\n"
"""A program that shows its argv, every argument ended by NUL; @ starts a new one."""

NASTY = [
    "",
    " ",
    "a b",
    "it's",
    'say "hi"',
    "$HOME",
    "$(touch canary)",
    "`touch canary`",
    "; touch canary;",
    "'; touch canary; '",
    '"; touch canary; "',
    "\ntouch canary\n",
    "a\nEND\ntouch canary",
    "back\\slash",
    "\\",
    "\\'",
    "'\\''",
    "\\n",
    "!!",
    "*",
    "~",
    "#",
    "a=b",
    "1,2",
    "1..3",
    "2",
    "-n",
    "--",
    "{x}",
    "%s",
    "é€\u2028",
    "\t\r\x1b",
    "}",
    ")",
    "a[$(id)]",
]

values = st.one_of(
    st.sampled_from(NASTY),
    st.text(st.sampled_from("'\"$`\\ \n;&|<>()#{}*!~=-,.aE1")),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20),
)

TEMPLATES: dict[str, list[str]] = {
    # template: the words that arrive, with @ where a program starts
    "P {x}": ["@", "{x}"],
    "P '{x}'": ["@", "{x}"],
    'P "{x}"': ["@", "{x}"],
    "P $'{x}'": ["@", "{x}"],
    "P --k={x}": ["@", "--k={x}"],
    "P pre{x}suf": ["@", "pre{x}suf"],
    'P "pre {x} suf"': ["@", "pre {x} suf"],
    "P 'a'{x}\"b\"{y-z}": ["@", "a{x}b{y-z}"],
    "P {x}{y-z}": ["@", "{x}{y-z}"],
    "P {x}>&3": ["@", "{x}"],
    "P a{{{x}}}b": ["@", "a{{x}}b"],
    "P {{a,{x}}}": ["@", "a", "{x}"],
    "P {a,{x}}": ["@", "a", "{x}"],
    "P \\{x}": ["@", "{x}"],
    'P "\\{x}"': ["@", "\\{x}"],
    "P \\'{x}\\'": ["@", "'{x}'"],
    "P $V{x}": ["@", "v{x}"],
    'P "$V{x}"': ["@", "v{x}"],
    'P "${V}{x}"': ["@", "v{x}"],
    "P $V\\\n{x}": ["@", "v{x}"],
    "P {x} # {x} '": ["@", "{x}"],
    "# {x}\nP {y-z}": ["@", "{y-z}"],
    "P a#{x}": ["@", "a#{x}"],
    ": $(P {x} >&3)": ["@", "{x}"],
    ': $(P "{x}" >&3)': ["@", "{x}"],
    ": \"$(P '{x}' >&3)\"": ["@", "{x}"],
    ': "$(P "{x}" >&3)"': ["@", "{x}"],
    ': "$(: "$(P "a{x}" {y-z} >&3)")"': ["@", "a{x}", "{y-z}"],
    ': "a $(P {x} >&3) {x}"; P "{x}"': ["@", "{x}", "@", "{x}"],
    ": `P {x} >&3`": ["@", "{x}"],
    ": `P '{x}' >&3`": ["@", "{x}"],
    ': `P "{x}" >&3`': ["@", "{x}"],
    ': "`P {x} >&3`"': ["@", "{x}"],
    ": \"`P '{x}' >&3`\"": ["@", "{x}"],
    ": $(# it's\nP {x} >&3)": ["@", "{x}"],
    ": $(case {x} in a) P {x} >&3;; *) P {x} >&3;; esac); P '{x}'": ["@", "{x}", "@", "{x}"],
    ": $(case a in (a) P {x} >&3;; esac) \"$(P '{x}' >&3)\"": ["@", "{x}", "@", "{x}"],
    "f() {\n case {x} in *) P {x};; esac\n}; f; P {y-z}": ["@", "{x}", "@", "{y-z}"],
    'V={x}; P "$V"': ["@", "{x}"],
    'V="{x}" W={y-z} bash -c \'P "$V" "$W"\'': ["@", "{x}", "{y-z}"],
    'a=( {x} "{y-z}" ); P "${a[@]}"': ["@", "{x}", "{y-z}"],
    "for i in {x} '{y-z}'; do P \"$i\"; done": ["@", "{x}", "@", "{y-z}"],
    'if [[ {x} == "{x}" ]]; then P {x}; fi': ["@", "{x}"],
    "(P {x}; P '{y-z}') && P \"{x}\" | cat": ["@", "{x}", "@", "{y-z}", "@", "{x}"],
    "cat <(P {x})": ["@", "{x}"],
    'P \\\n  --a {x} \\\n  "{y-z}"\n': ["@", "--a", "{x}", "{y-z}"],
    "P {x} 2>/dev/null {y-z} </dev/null": ["@", "{x}", "{y-z}"],
    "awk 'BEGIN {print 1}' >/dev/null; P {x} \"$(( 1 + 1 ))\" ${V:-{}}": ["@", "{x}", "2", "v}"],
    "P {x} $((1<<2)) '{y-z}'": ["@", "{x}", "4", "{y-z}"],
    "P {x} \"$(cat <<'E F'\n$V\nE F\n)\" {y-z}": ["@", "{x}", "$V", "{y-z}"],
    "(( 1 + (2) )) && P {x}": ["@", "{x}"],
    "for ((i=0; i<1; i++)); do P '{x}'; done": ["@", "{x}"],
    "P {x} \\\n# {y-z}": ["@", "{x}"],
    'P "a\\"b{x}" \'\\\' {x}': ["@", 'a"b{x}', "\\", "{x}"],
    "! false && { time -p P {x}; } 2>/dev/null": ["@", "{x}"],
    "{ P {x}; }": ["@", "{x}"],
    'cat <<< {x} >/dev/null; P "{x}"': ["@", "{x}"],
}

HERE_TEMPLATES = {
    'P "$(cat <<END\n{x}.\nEND\n)" {y-z}': ["@", "{x}.", "{y-z}"],
    "P \"$(cat <<'END'\n{x}.\nEND\n)\" {y-z}": ["@", "{x}.", "{y-z}"],
    'P "$(cat <<-END\n\t<{x}.\n\tEND\n)"': ["@", "<{x}."],
    "cat <<END >/dev/null; P {x}\n it's \" {x} \\{x} $V {x}\nEND\nP '{y-z}'": ["@", "{x}", "@", "{y-z}"],
}


def command(template: str, given: dict[str, str]) -> str:
    entry_point = EntryPoint(name="main", command=template, parameters=PARAMETERS)
    return render_command(entry_point, given, caller=Path("/")).command


def words(expected: list[str], given: dict[str, str]) -> list[str]:
    return [
        word.replace("{x}", "\0").replace("{y-z}", given["y-z"]).replace("\0", given["x"])
        for word in expected
    ]


def run(script: str, cwd: Path) -> tuple[list[str], str]:
    done = subprocess.run(
        ["bash", "-c", f"exec 3>&1; V=v\n{script}"],
        cwd=cwd,
        capture_output=True,
        env={"PATH": f"{cwd}:/usr/bin:/bin", "LC_ALL": "C.UTF-8"},
        timeout=60,
    )
    return done.stdout.decode(errors="replace").split("\0")[:-1], done.stderr.decode(errors="replace")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the program P in it."""
    directory = tmp_path_factory.mktemp("quoting")
    (directory / "P").write_text(SHOW)
    (directory / "P").chmod(0o755)
    return directory


SLOW = settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))


@SLOW
@given(x=values, y=values)
@example(x="'", y="\\")
@example(x="\n", y='"')
def test_every_value_arrives_in_every_context(place: Path, x: str, y: str) -> None:
    given_values = {"x": x, "y-z": y}
    separator = "\nP --------\nV=v\n"
    script = separator.join(command(template, given_values) for template in TEMPLATES)
    shown, errors = run(script, place)
    wanted: list[str] = []
    for expected in TEMPLATES.values():
        wanted += [*words(expected, given_values), "@", "--------"]
    assert (shown, errors) == (wanted[:-2], "")
    assert os.listdir(place) == ["P"]


@SLOW
@given(x=values, y=values)
def test_values_in_here_documents_arrive_or_are_refused(place: Path, x: str, y: str) -> None:
    given_values = {"x": x, "y-z": y}
    for template, expected in HERE_TEMPLATES.items():
        try:
            text = command(template, given_values)
        except ParameterError as error:
            assert "END" in str(error) and "END" in x
            continue
        assert run(text, place) == (words(expected, given_values), "")


@pytest.mark.parametrize("template", TEMPLATES)
def test_nasty_values(place: Path, template: str) -> None:
    wanted = [words(TEMPLATES[template], {"x": value, "y-z": value}) for value in NASTY]
    script = "\nV=v\n".join(command(template, {"x": value, "y-z": value}) for value in NASTY)
    assert run(script, place) == ([word for line in wanted for word in line], "")


# Templates made at random: pieces of words, words of commands, commands in commands

PLAIN = "abz019_./:+@%"
Piece = tuple[str, str]
"""Template and what arrives."""


def quoted(opening: str, close: str, inner: st.SearchStrategy[str]) -> st.SearchStrategy[Piece]:
    parts = st.lists(st.one_of(inner.map(lambda text: (text, text)), st.just(("{x}", "{x}"))), max_size=3)
    return parts.map(
        lambda found: (opening + "".join(t for t, _ in found) + close, "".join(e for _, e in found))
    )


pieces = st.one_of(
    st.just(("{x}", "{x}")),
    st.text(st.sampled_from(PLAIN), min_size=1, max_size=3).map(lambda text: (text, text)),
    st.sampled_from(
        [("\\'", "'"), ('\\"', '"'), ("\\\\", "\\"), ("\\ ", " "), ("\\$", "$"), ("b\\\n", "b"), ("$V", "v")]
    ),
    quoted("'", "'", st.sampled_from(["a b", '"', "\\", "$", "`", "#", "\n"])),
    quoted('"', '"', st.sampled_from(["a b", "'", "#", "\n", ";", "("])),
    quoted("$'", "'", st.sampled_from(["a b", '"', "`", "#", ")"])),
)


def word(found: list[Piece]) -> Piece:
    return "".join(t for t, _ in found), "".join(e for _, e in found)


programs = st.lists(st.lists(pieces, min_size=1, max_size=4).map(word), min_size=1, max_size=3).map(
    lambda found: ("P " + " ".join(t for t, _ in found), ["@", *(e for _, e in found)])
)

WRAPPERS = (
    "",
    ": $( {} >&3)",
    ': "$( {} >&3)"',
    ': "a$(:; {} >&3)b"',
    "( {} )",
    "{{ {}; }}",
    "if {}; then :; fi",
    ": $(: # it's (\n{} >&3)",
    "case a in (b) ;; a) {} ;; esac",
    ": `:`; {}",
)


def wrapped(inner: tuple[str, list[str]], wrapper: str) -> tuple[str, list[str]]:
    before, _, after = wrapper.partition("{}")
    return (before + inner[0] + after if wrapper else inner[0]), inner[1]


nested = st.recursive(
    programs, lambda inner: st.builds(wrapped, inner, st.sampled_from(WRAPPERS)), max_leaves=4
)


@settings(SLOW, max_examples=100)
@given(found=nested, x=values)
def test_every_value_arrives_in_templates_made_at_random(
    place: Path, found: tuple[str, list[str]], x: str
) -> None:
    template, expected = found
    # `${x}` is the shell's, and a letter of the template would extend `$V`
    if "${x}" in template or re.search(r"\$V(\\\n)*[A-Za-z0-9_]", template):
        return
    given_values = {"x": x, "y-z": ""}
    assert run(command(template, given_values), place) == (words(expected, given_values), "")
