"""Commands: placeholders, defaults, complaints."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from projrun.errors import ParameterError, ProjectError, ProjrunError
from projrun.plan import PlannedInput
from projrun.project.command import Rendered, render_command, scan_command
from projrun.project.command.bash import fill_template
from projrun.project.command.placeholders import Filling, fill_plain_words, parse_template
from projrun.project.mlproject import EntryPoint, Parameter

FLOAT = Parameter(name="alpha", type="float")
OPTIONAL = Parameter(name="x", required=False)


def rendered(command: str, *parameters: Parameter, caller: Path = Path("/"), **values: str) -> Rendered:
    entry_point = EntryPoint(
        name="main",
        command=command,
        parameters={parameter.name: parameter for parameter in parameters},
        file="MLproject",
        line=4,
        column=5,
    )
    return render_command(entry_point, values, caller=caller)


def refused(kind: type[ProjrunError], command: str, *parameters: Parameter, **values: str) -> str:
    with pytest.raises(kind) as caught:
        rendered(command, *parameters, caller=Path("/"), **values)
    return str(caught.value)


def test_defaults_values_and_extras_are_recorded_in_order() -> None:
    found = rendered(
        "train {beta} {alpha}", Parameter(name="beta", default="True"), FLOAT, zeta="a b", alpha="1e-3"
    )
    assert found.command == "train True 1e-3 --zeta 'a b'"
    assert list(found.parameters.items()) == [("beta", "True"), ("alpha", "1e-3"), ("zeta", "a b")]
    assert found.warnings == ()


def test_everything_wrong_is_told_at_once() -> None:
    parameters = [Parameter(name=name, type="int") for name in ("a", "b", "c", "d")]
    message = refused(ParameterError, "p {a} {b} {c} {d}", *parameters, c="x", d="1.5")
    assert message == (
        "no value for parameters 'a', 'b'; parameter 'c' (int): 'x' is not an int; "
        "parameter 'd' (int): '1.5' is not an int; add -P a=VALUE -P b=VALUE"
    )


def test_a_default_that_does_not_fit_is_a_warning() -> None:
    found = rendered("p {n}", Parameter(name="n", type="int", default="None"))
    assert found.command == "p None"
    assert found.warnings == ("MLproject: the default of parameter 'n' (int): 'None' is not an int",)


def test_an_unknown_type_means_string() -> None:
    found = rendered("p {n}", Parameter(name="n", type="flaot"), n="x y")
    assert found.command == "p 'x y'"
    assert found.warnings == (
        "MLproject: parameter 'n' has the unknown type 'flaot', which means string; did you mean 'float'?",
    )


def test_near_misses_of_names_are_told() -> None:
    found = rendered("p {max-depth}", Parameter(name="max-depth", default="3"), max_depth="4")
    assert found.command == "p 3 --max_depth 4"
    assert found.warnings == (
        "'max_depth' is not a parameter of 'main' and is passed as --max_depth; did you mean 'max-depth'?",
    )


def test_an_undeclared_placeholder_is_an_error_with_its_place() -> None:
    assert refused(ProjectError, "p {alhpa}", FLOAT, alpha="1") == (
        "MLproject:4:5: the command has a placeholder '{alhpa}' that no parameter declares; "
        "did you mean '{alpha}'? declare 'alhpa' under parameters, or write {{alhpa}} for braces"
    )


@pytest.mark.parametrize(
    "text",
    ["{}", "{a,b}", "{1..3}", "'{print $1}'", "${HOME}", "a{2}", '\'{"a": {"b": 1}}\'', "{ x; }", "}", "{"],
)
def test_braces_of_the_shell_are_left_alone(text: str) -> None:
    assert rendered(f"p {text}").command == f"p {text}"


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("{{x}}", "{x}"),
        ("{{{alpha}}}", "{1}"),
        ("${{HOME}}", "${HOME}"),
        ("'{{\"a\": {alpha}}}'", "'{\"a\": 1}'"),
        ('\'{"a": {"b": {alpha}}}\'', '\'{"a": {"b": 1}}\''),
    ],
)
def test_doubled_braces_are_single_ones(text: str, command: str) -> None:
    assert rendered(text, FLOAT, alpha="1").command == command


@pytest.mark.parametrize("text", ["{alpha!r}", "{alpha:>5}", "{ alpha }", "{alpha[0]}"])
def test_formatting_is_refused(text: str) -> None:
    assert "write {alpha}, or {{" in refused(ProjectError, text, FLOAT, alpha="1")


def test_a_shell_variable_with_the_name_of_a_parameter_is_told() -> None:
    found = rendered("p ${alpha}", FLOAT, alpha="1")
    assert (found.command, len(found.warnings)) == ("p ${alpha}", 1)
    assert (
        "'${alpha}' is a variable of the shell, not the parameter 'alpha'; write {alpha}" in found.warnings[0]
    )


@pytest.mark.parametrize(
    ("template", "command"),
    [
        ("p --x {x} --y", "p --y"),
        ("p --x '{x}' --y", "p --y"),
        ("p --x={x} --y", "p --y"),
        ("p -x {x}", "p"),
        ("p a {x} b", "p a b"),
        ("p --x pre{x} b", "p --x b"),
        ("p \\\n  --x {x} \\\n  --y", "p \\\n \\\n  --y"),
        ("p --x \\\n {x} --y", "p --y"),
        ("p > {x}", "p"),
        ("p 2>> {x} b", "p b"),
        ("X={x} p", " p"),
        ("p $(q --x {x} b) --y", "p $(q b) --y"),
        ('p "$(q --x {x})"', 'p "$(q)"'),
        ("p --x {x} {x}{x} --y", "p --y"),
        ("p; --x; {x} b", "p; --x; b"),
        ("p # {x}", "p # "),
        ("p a\\ {x} b", "p b"),
    ],
)
def test_an_optional_parameter_without_a_value_leaves_no_trace(template: str, command: str) -> None:
    found = rendered(template, OPTIONAL)
    assert (found.command, found.parameters) == (command, {})


@pytest.mark.parametrize(("value", "command"), [("true", "p --shuffle b"), ("No", "p b"), (None, "p b")])
def test_flags(value: str | None, command: str) -> None:
    flag = Parameter(name="s", type="bool", flag="--shuffle")
    given = {} if value is None else {"s": value}
    assert rendered("p {s} b", flag, caller=Path("/"), **given).command == command


def test_a_flag_leaves_the_option_before_it() -> None:
    flag = Parameter(name="s", type="bool", flag="--shuffle", default="False")
    assert rendered("p --verbose {s} b", flag).command == "p --verbose b"


def test_paths_become_absolute_and_must_exist(tmp_path: Path) -> None:
    (tmp_path / "a b.csv").touch()
    data = Parameter(name="data", type="path")
    found = rendered("p {data}", data, caller=tmp_path, data="a b.csv")
    assert (found.command, found.parameters) == (f"p '{tmp_path}/a b.csv'", {"data": "a b.csv"})
    assert "parameter 'data' (path): 'no.csv' does not exist" in refused(
        ParameterError, "p {data}", data, data="no.csv"
    )
    output = Parameter(name="data", type="path", output=True)
    assert rendered("p {data}", output, caller=tmp_path, data="new").command == f"p {tmp_path}/new"


def test_a_remote_path_is_planned_and_its_url_kept_apart(tmp_path: Path) -> None:
    data = Parameter(name="data", type="path")
    found = rendered("p {data}", data, data="s3://me:pw@b/k.csv")
    assert found.command == "p /param_0/k.csv"
    assert found.parameters == {"data": "s3://b/k.csv"}
    assert found.inputs == (
        PlannedInput(parameter="data", value="s3://b/k.csv", path="/param_0/k.csv", remote=True),
    )
    assert found.urls == {"data": "s3://me:pw@b/k.csv"}


def test_a_value_that_would_vanish_with_another_is_refused() -> None:
    other = Parameter(name="y", default="1")
    message = refused(ParameterError, "p {x}:{y}", OPTIONAL, other, y="2")
    assert "parameter 'y' would be lost: it shares a word of the command with 'x'" in message
    warnings = rendered("p {x}:{y}", OPTIONAL, other).warnings
    assert ["default of parameter 'y' is not in the command" in text for text in warnings] == [True]
    assert rendered("p {x}:{y} {y}", OPTIONAL, other, y="2").warnings == ()


@pytest.mark.parametrize(
    ("template", "lines"),
    [
        ("p\n  --a 1\n  -b {x}\n", 2),
        ("p \\\n  --a 1 {x}\n", 0),
        ("p '\n --a {x}'\n", 0),
        ("cat <<E\n--a {x}\nE\n", 0),
        ("p\n- {x}", 0),
    ],
)
def test_a_line_that_breaks_off_is_told(template: str, lines: int) -> None:
    warnings = rendered(template, OPTIONAL, x="1").warnings
    assert len(warnings) == lines
    assert all("bash takes that line as a command of its own" in warning for warning in warnings)


@pytest.mark.parametrize(
    "template",
    [
        "p ${V:-{x}}",
        'p "{x}',
        "p '{x}",
        "p $(q {x}",
        "p {x})",
        "p `q \\`{x}\\``",
        "cat <<{x}\n",
        "p $\\\n{x}",
        "p $'\\x{x}'",
        "p $'\\{x}'",
        "p " + "$(" * 40 + "{x}" + ")" * 40,
    ],
)
def test_where_no_value_can_safely_go_it_is_refused(template: str) -> None:
    assert "MLproject:4:5: no value can safely be put into this command" in refused(
        ProjectError, template, OPTIONAL, x="1"
    )


@pytest.mark.parametrize(
    "template",
    [
        "p $(( {x} + 1 ))",
        "(( {x} ))",
        "p $[{x}]",
        "a[{x}]=1",
        "[[ {x} -gt 1 ]]",
        '[[ 1 -eq "{x}" ]]',
        "for ((i={x};;)); do :; done",
    ],
)
def test_arithmetic_takes_whole_numbers_only(template: str) -> None:
    assert rendered(template, OPTIONAL, x="12").command == template.replace("{x}", "12")
    assert "parameter 'x': 'a[$(id)]' goes into arithmetic" in refused(
        ParameterError, template, OPTIONAL, x="a[$(id)]"
    )


@pytest.mark.parametrize("template", ["p # why", "cat <<E\na\nE\n", "p '"])
def test_extras_that_would_get_lost_are_refused(template: str) -> None:
    assert refused(ProjectError, template, more="1")


def test_nul_is_refused() -> None:
    assert "NUL" in refused(ParameterError, "p {x}", OPTIONAL, x="a\0b")
    assert "NUL" in refused(ParameterError, "p", more="a\0b")
    assert "NUL" in refused(ProjectError, "p \0")


def test_what_bash_makes_of_a_command_without_placeholders_is_its_own() -> None:
    assert rendered("p '").command == "p '"


PIECES = [
    "{x}",
    "{y}",
    " ",
    "  ",
    "python",
    "-m",
    "--alpha",
    "=",
    "A=",
    ",",
    "if",
    "time",
    "case",
    ".",
    "/",
    "7",
]


def test_commands_that_are_but_words_are_filled_as_bash_would_have_them_read() -> None:
    chance = random.Random(11)
    values = ["1", "a b", "", "-n", "~", "'", "x=y", "$HOME", "2,3", "é", "a\nb", "!"]
    plain = 0
    for _ in range(2000):
        command = "".join(chance.choices(PIECES, k=chance.randint(1, 8))) + chance.choice(["", "", "\n"])
        entry_point = EntryPoint(
            name="main", command=command, parameters={name: Parameter(name=name) for name in "xy"}
        )
        template = parse_template(entry_point)
        fillings = {name: Filling(chance.choice(values)) for name in "xy"}
        if (found := fill_plain_words(template, fillings)) is not None:
            plain += 1
            scan = scan_command(entry_point, template, {})
            assert (found, scan.option_lines, scan.end) == (
                fill_template(template, scan, fillings, entry_point).text,
                [],
                "",
            ), command
    assert plain > 1000


@pytest.mark.parametrize("command", ["a {x}; b", "a '{x}'", "a $(b {x})", "a\nb {x}", "a {x} # c", "a ~/{x}"])
def test_commands_of_more_than_words_are_read_as_bash_reads_them(command: str) -> None:
    entry_point = EntryPoint(name="main", command=command, parameters={"x": Parameter(name="x")})
    assert fill_plain_words(parse_template(entry_point), {"x": Filling("1")}) is None
