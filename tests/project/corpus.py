"""MLproject files of the shapes that real projects have, and what is run with them."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Run:
    values: dict[str, str] = field(default_factory=dict)
    entry: str = "main"
    difference: str = ""
    """The row of docs/mlproject.md that explains why mlflow does otherwise."""


@dataclass(frozen=True)
class Case:
    name: str
    files: dict[str, str]
    runs: tuple[Run, ...]
    difference: str = ""
    """The same, for reading the file."""


def run(difference: str = "", /, entry: str = "main", **values: str) -> Run:
    return Run({key.replace("__", "-"): value for key, value in values.items()}, entry, difference)


def case(name: str, text: str | None, *runs: Run, difference: str = "", **files: str) -> Case:
    """text: of the file MLproject; None for none. files: others, with `__` for a dot."""
    others = {key.replace("__", "."): value for key, value in files.items()}
    return Case(name, ({} if text is None else {"MLproject": text}) | others, runs, difference)


def main(command: str, parameters: str = "") -> str:
    """An MLproject file with one entry point."""
    below = "\n".join(f"      {line}" for line in parameters.splitlines())
    declared = f"    parameters:\n{below}\n" if parameters else ""
    return f"name: demo\nentry_points:\n  main:\n{declared}    command: {command}\n"


def block(style: str, *lines: str, parameters: str = "alpha: {type: float, default: 0.1}\nbeta: str") -> str:
    return main(style + "\n" + "\n".join(f"      {line}" for line in lines), parameters)


TWO = "alpha: float\nbeta: str"
TRICKY = (
    "a b",
    "it's",
    'say "hi"',
    "$HOME $(id) `id`",
    "a\nb",
    "",
    "=",
    "-x",
    "a;b|c&d",
    "é",
    "{beta}",
    "\\",
)
SIMPLE = main('"python train.py {alpha} {beta}"', TWO)

CASES: tuple[Case, ...] = (
    # the file
    case(
        "plain",
        SIMPLE,
        run(alpha="0.1", beta="b"),
        run(alpha="1e-3", beta="x=y"),
        run(beta="only one is given"),
    ),
    *(
        Case(f"file_{name}", {name: SIMPLE}, (run(alpha="1", beta="b"),))
        for name in ("MLProject", "Mlproject", "mlproject", "MLPROJECT")
    ),
    case("crlf", SIMPLE.replace("\n", "\r\n"), run(alpha="1", beta="b")),
    case("no_final_newline", SIMPLE.rstrip("\n"), run(alpha="1", beta="b")),
    case("comments", "# a\n" + SIMPLE + "# b\n", run(alpha="1", beta="b")),
    case("empty", "", difference="empty-file"),
    case("comment_only", "# nothing yet\n", difference="empty-file"),
    case("no_file", None, run(), run(entry="train.py"), train__py=""),
    case("duplicate_keys", "name: a\nname: b\n", difference="duplicate-keys"),
    case("a_list", "- name: a\n"),
    case("a_string", "just text\n"),
    case("tab", "name: a\nentry_points:\n\tmain:\n"),
    case(
        "unknown_keys",
        "name: a\nauthor: me\nversion: 1\n" + SIMPLE.replace("name: demo\n", ""),
        run(alpha="1", beta="b"),
    ),
    case("bom", "\ufeff" + SIMPLE, run(alpha="1", beta="b")),
    Case("two_files", {"MLproject": SIMPLE, "MLProject": SIMPLE}, (), "two-files"),
    case(
        "tab_inside",
        "name:\tdemo\nentry_points: {main: {command:\t'p\t{a}', parameters: {a: str}}}\n",
        run(a="x"),
        difference="tabs",
    ),
    Case(
        "directory_of_that_name",
        {"MLproject/MLproject": SIMPLE, "train.py": ""},
        (run(entry="train.py"),),
        "directory-name",
    ),
    # names
    case("no_name", "entry_points: {main: {command: ls}}\n", run()),
    case("number_name", "name: 12\nentry_points: {main: {command: ls}}\n", run()),
    case("name_only", "name: x\n", run()),
    # environments
    case(
        "python_env", "name: a\npython_env: env.yaml\n", env__yaml="python: '3.10'\ndependencies: [numpy]\n"
    ),
    case(
        "conda_env", "name: a\nconda_env: env.yaml\n", env__yaml="dependencies: [python=3.8, pip: [numpy]]\n"
    ),
    Case(
        "environment_above",
        {
            "MLproject": "conda_env: ../environment.yml\n",
            "../environment.yml": "dependencies: [python=3.8]\n",
        },
        (),
    ),
    Case(
        "environment_in_directory",
        {
            "MLproject": "conda_env: envs/environment.yml\n",
            "envs/environment.yml": "dependencies: [python=3.8]\n",
        },
        (),
    ),
    case("docker_env", "name: a\ndocker_env: {image: python:3.11}\n"),
    case("docker_full", "docker_env:\n  image: i\n  volumes: ['/a:/b']\n  environment: [[A, b], C]\n"),
    case("docker_without_image", "docker_env: {volumes: ['/a:/b']}\n"),
    case("docker_bad_volumes", "docker_env: {image: a, volumes: '/a:/b'}\n"),
    case("docker_bad_environment", "docker_env: {image: a, environment: {A: b}}\n"),
    case("docker_number_pair", "docker_env: {image: a, environment: [[A, 1]]}\n"),
    case("docker_empty", "name: a\ndocker_env:\n"),
    case("beside_python", "name: a\n", python_env__yaml="python: '3.11'\n"),
    case("beside_conda", "name: a\n", conda__yaml="dependencies: [python=3.11]\n"),
    case("beside_both", "name: a\n", conda__yaml="dependencies: []\n", python_env__yaml="python: '3.11'\n"),
    case("beside_docker", "docker_env: {image: a}\n", conda__yaml="dependencies: []\n"),
    case("no_environment", "name: a\n"),
    case("two_environments", "python_env: a\nconda_env: b\n", a="", b=""),
    case("null_environment", "python_env:\nconda_env: b.yaml\n", b__yaml=""),
    case("null_python_env", "python_env:\n", conda__yaml="dependencies: []\n"),
    case("missing_environment", "conda_env: missing.yaml\n"),
    case("missing_python_env", "python_env: missing.yaml\n"),
    case("inline_environment", "python_env: {python: '3.10'}\n"),
    case(
        "conda_as_python_env",
        "python_env: e.yaml\n",
        e__yaml="channels: [x]\ndependencies: [python=3.8]\n",
        difference="bad-descriptor",
    ),
    case("number_as_python", "python_env: e.yaml\n", e__yaml="python: 3.10\n", difference="bad-descriptor"),
    case("spark_job", "name: a\ndatabricks_spark_job: {python_file: a.py}\n", difference="spark"),
    # entry points
    case("no_main", "entry_points: {train: {command: a}, eval: {command: b}}\n", run(), run(entry="eval")),
    case(
        "many_entry_points",
        "entry_points:\n"
        + "".join(f"  step{n}: {{parameters: {{p: int}}, command: 'run {n} {{p}}'}}\n" for n in range(24)),
        run(entry="step7", p="1"),
        run(entry="step", p="1"),
    ),
    case("no_entry_points", "name: a\nentry_points:\n", run(), difference="null-sections"),
    case("entry_points_list", "entry_points: [main]\n"),
    case("entry_point_text", "entry_points: {main: ls}\n"),
    case("entry_point_null", "entry_points: {main: }\n"),
    case(
        "no_command",
        "entry_points: {main: {parameters: {a: int}}, other: {command: ls}}\n",
        run(a="1"),
        run(entry="other"),
    ),
    case("list_command", "entry_points: {main: {command: [ls]}}\n", run()),
    case("empty_command", "entry_points: {main: {command: ''}}\n", run()),
    case("numeric_entry_point", "entry_points: {1: {command: ls}}\n", run("keys-are-text", entry="1")),
    case(
        "scripts",
        SIMPLE,
        run(entry="train.py"),
        run(entry="run.sh", a="b c"),
        run(entry="plot.R"),
        run(entry="train.jl"),
        run("missing-script", entry="missing.py"),
        train__py="",
        run__sh="",
        plot__R="",
        train__jl="",
    ),
    case("r_script_alone", None, run("r-script", entry="plot.R"), plot__R=""),
    case("notebook", SIMPLE, run("notebook", entry="a.ipynb"), a__ipynb="{}"),
    case(
        "pyproject_beside",
        SIMPLE,
        run(),
        difference="pyproject",
        pyproject__toml="[project]\nname = 'p'\ndependencies = ['six']\n",
    ),
    case("script_in_directory", None, run(entry="sub/train.py", lr="0.1"), **{"sub/train__py": ""}),
    Case("script_with_blank", {"my train.py": ""}, (run(entry="my train.py"),)),
    Case("script_with_brace", {"a{b}.py": ""}, (run("braces", entry="a{b}.py"),)),
    # parameters
    case(
        "bare_parameters",
        "entry_points: {main: {parameters: , command: ls}}\n",
        run(),
        difference="null-sections",
    ),
    case("parameters_list", "entry_points: {main: {parameters: [a], command: ls}}\n"),
    case("shorthand", main("p {a} {b}", "a: float\nb: string"), run(a="1", b="x"), run(a="1")),
    case("empty_parameter", main("p {a}", "a:"), difference="null-sections"),
    case("number_as_parameter", main("p {a}", "a: 5")),
    case(
        "dashed",
        main("p --max-depth {max-depth}", "max-depth: {type: int, default: 3}"),
        run(),
        run(max__depth="5"),
    ),
    case(
        "numeric_names",
        main("p {1}", "1: {type: int, default: 3}"),
        run("keys-are-text"),
        run("keys-are-text", **{"1": "2"}),
    ),
    case("unused", main("p {a}", "a: int\nb: int"), run(a="1"), run(a="1", b="2")),
    case("extra", main("p {a}", "a: int"), run(a="1", b="2"), run(a="1", other="a b", **{"it's": "$x"})),
    case("null_default", main("p {a}", "a: {type: int, default: null}"), run(), run(a="1")),
    case("tilde_default", main("p {a}", "a: {type: int, default: ~}"), run()),
    case("no_type", main("p {a}", "a: {default: 5}"), run(), run(a="x")),
    case("null_type", main("p {a}", "a: {type: , default: 5}"), run()),
    case(
        "default_true",
        main(
            "p {a} {b} {c}",
            "a: {type: bool, default: true}\nb: {type: bool, default: no}\nc: {type: str, default: 'true'}",
        ),
        run(),
    ),
    case(
        "default_floats",
        main(
            "p {a} {b} {c} {d}",
            "a: {type: float, default: .01}\nb: {type: float, default: 1e-3}\n"
            "c: {type: float, default: 1.0e-5}\nd: {type: float, default: 10}",
        ),
        run(),
    ),
    case("default_list", main("p {a}", "a: {type: list, default: [1, 2, x]}"), run(), run(a="[3]")),
    case("default_mapping", main("p {a}", "a: {type: string, default: {k: 1}}"), run()),
    case("default_date", main("p {a}", "a: {type: string, default: 2020-01-02}"), run()),
    case(
        "default_octal",
        main("p {a} {b}", "a: {type: int, default: 010}\nb: {type: str, default: 1:30}"),
        run(),
    ),
    case("default_empty", main("p --a={a} {a}", "a: {type: string, default: ''}"), run()),
    case("default_none_text", main("p {a}", "a: {type: int, default: None}"), run()),
    case(
        "default_misfit",
        main("p {a} {b}", "a: {type: float, default: x}\nb: {type: bool, default: maybe}"),
        run(),
    ),
    case("no_blank", main("p {a}", "a: {type:int, default:10}"), run(), run(a="1")),
    case(
        "type_names",
        main(
            "p {a} {b} {c} {d} {e} {f} {g} {h}",
            "a: STRING\nb: integer\nc: number\nd: boolean\ne: list[int]\nf: weird\ng: Path\nh: str",
        ),
        run(a="x", b="1", c="1.5", d="yes", e="1,2", f="?", g="not there", h=""),
    ),
    case("float_misfit", main("p {a}", "a: float"), run("real-types", a="abc"), run("real-types", a="")),
    case("int_misfit", main("p {a}", "a: int"), run("real-types", a="1.5"), run(a="-3"), run(a="+3")),
    case("bool_misfit", main("p {a}", "a: bool"), run("real-types", a="maybe"), run(a="TRUE"), run(a="0")),
    case(
        "path",
        main("p {a}", "a: path"),
        run(a="data.csv"),
        run(a="./data.csv"),
        run(a="missing.csv"),
        run(a="."),
        run(a="/"),
        run("empty-path", a=""),
    ),
    case(
        "path_uri",
        main("p {a}", "a: path"),
        run(a="file:///etc/passwd"),
        run(a="file:data.csv"),
        run(a="file:///missing%20file"),
    ),
    case(
        "path_percent",
        main("p {a}", "a: path"),
        run("percent", a="da%74a.csv"),
        run("percent", a="100%25.csv"),
    ),
    case("path_default", main("p {a}", "a: {type: path, default: data.csv}"), run(), run(a="/")),
    case(
        "path_default_missing", main("p {a}", "a: {type: path, default: nowhere}"), run(), run(a="data.csv")
    ),
    case("path_output", main("p {a}", "a: {type: path, output: true}"), run("extensions", a="new.txt")),
    case(
        "uri",
        main("p {a}", "a: uri"),
        run(a="s3://b/k"),
        run(a="no scheme"),
        run(a="mailto:x"),
        run(a="runs:/1/m"),
        run(a="1a:b"),
    ),
    case("uri_default", main("p {a}", "a: {type: uri, default: nope}"), run(), run(a="s3://x")),
    case(
        "choices", main("p {a}", "a: {type: string, choices: [x, y]}"), run(a="x"), run("extensions", a="z")
    ),
    case("limits", main("p {a}", "a: {type: float, min: 0, max: 1}"), run(a="0.5"), run("extensions", a="2")),
    case(
        "optional",
        main("p --a {a} b", "a: {type: int, required: false}"),
        run("extensions"),
        run(a="2"),
        difference="extensions",
    ),
    case(
        "flag",
        main("p {a}", "a: {type: bool, default: false, flag: --shuffle}"),
        run("extensions"),
        run("extensions", a="true"),
    ),
    case(
        "no_blank_at_all",
        main("p --a {a} --b {b}", "a: {type:int}\nb: {type: int, default:10}"),
        run(a="1", b="2"),
        run(a="1"),
    ),
    case("default_tuple", main("p {a}", "a: {type: string, default: '(1, 2)'}"), run()),
    case("default_negative", main("p {a}", "a: {type: float, default: -1.5e-7}"), run()),
    case("list_types", main("p {a} {b}", "a: list\nb: list[int]"), run(a="1 2", b="[1, 2]")),
    case("described", main("p {a}", "a: {type: int, default: 1, description: 'how many'}"), run()),
    # commands
    case("folded", block(">", "python train.py", "--alpha {alpha}", "--beta {beta}"), run(beta="b")),
    case(
        "folded_deeper", block(">", "python train.py", "  --alpha {alpha}", "  --beta {beta}"), run(beta="b")
    ),
    case("literal", block("|", "python train.py {alpha}", "echo {beta}"), run(beta="b")),
    case(
        "literal_backslashes",
        block("|", "python train.py \\", "  --alpha {alpha} \\", "  --beta {beta}"),
        run(beta="b"),
    ),
    case(
        "literal_extra",
        block("|", "python train.py {alpha} {beta}"),
        run("extra-after-newline", beta="b", gamma="c"),
    ),
    case(
        "literal_trailing_backslash",
        block("|", "python train.py {alpha} {beta} \\"),
        run(beta="b"),
        run("extra-after-newline", beta="b", gamma="c"),
    ),
    case("stripped_extra", block(">-", "python train.py", "{alpha} {beta}"), run(beta="b", gamma="c")),
    case(
        "plain_over_lines",
        main("python train.py\n      {alpha}\n      {beta}", TWO),
        run(alpha="1", beta="b"),
    ),
    *(case(f"tricky_{number}", SIMPLE, run(alpha="1", beta=value)) for number, value in enumerate(TRICKY)),
    case("single_quoted", main("\"p '{a}'\"", "a: str"), run(a="plain"), run("quotes", a="a b")),
    case(
        "double_quoted",
        main("'p \"{a}\"'", "a: str"),
        run(a="plain"),
        run("quotes", a="it's"),
        run("quotes", a="$x"),
    ),
    case("escaped_quotes", main("p \\'{a}\\'", "a: str"), run(a="plain"), run(a="a b")),
    case("substitution", main("p --a $(echo {a})", "a: str"), run(a="plain"), run(a="a b"), run(a="$(id)")),
    case("quoted_substitution", main("'p \"$(echo {a})\"'", "a: str"), run(a="plain"), run(a="a b")),
    case("backticks", main("p `echo {a}`", "a: str"), run(a="plain"), run(a="a b"), run("quotes", a="$x")),
    case(
        "joined",
        main("p --flag={a} key={a} {a}/{b}/*.nc", "a: str\nb: str"),
        run(a="x", b="y"),
        run(a="a b", b="*"),
    ),
    case("python_c", main("'python -c \"import m; m.f({a})\"'", "a: int"), run(a="3")),
    case(
        "env_prefix",
        main("CUDA_VISIBLE_DEVICES={gpu} OMP=1 python t.py", "gpu: str"),
        run(gpu="0"),
        run(gpu="0,1"),
    ),
    case(
        "pipes",
        main("cat {a} | sort > out.txt && echo done; cd ..; ls {a}", "a: str"),
        run(a="x"),
        run(a="a b"),
    ),
    case("change_directory", main("'cd ..; ls {a}'", "a: str"), run(a="x"), run(a="a b")),
    case("glob_path", main("p {dir}/{name}/*.nc", "dir: str\nname: str"), run(dir="d", name="n")),
    case("option_with_equals", main("p --flag={x} key={x}", "x: str"), run(x="1"), run(x="a b")),
    case(
        "double_quoted_over_lines",
        main('"python train.py \\\n      --alpha {alpha} \\\n      --beta {beta}"', TWO),
        run(alpha="1", beta="b"),
    ),
    case("escaped_braces", main('"p \'{{\\"a\\": {a}}}\' {{x}}"', "a: int"), run(a="1")),
    case("shell_variable", main("p ${HOME} $USER {a}", "a: int"), run("braces", a="1")),
    case("escaped_shell_variable", main("p ${{HOME}} {a}", "a: int"), run(a="1")),
    case("shell_variable_of_that_name", main("p ${a}", "a: int"), run("shell-variables", a="1")),
    case("awk", main("\"awk '{print $1}' {a}\"", "a: str"), run("braces", a="f")),
    case("json", main("'p ''{\"a\": {\"b\": 1}}'' {a}'", "a: str"), run("braces", a="f")),
    case("brace_expansion", main("cp x.{txt,md} {a} && seq {1..3}", "a: str"), run("braces", a="f")),
    case("empty_braces", main("find . -exec rm {} + {a}", "a: str"), run("braces", a="f")),
    case("undeclared", main("p {a} {b}", "a: str"), run(a="1"), run(a="1", b="2")),
    case("formatted", main('"p {a!r} {a:>5}"', "a: str"), run("formatting", a="1")),
    case("attribute", main("p {a.upper}", "a: str"), run("formatting", a="1")),
    case("same_twice", main("p {a} {a} --x={a}", "a: str"), run(a="1"), run(a="a b")),
    case("comment", block("|", "p {alpha} # {beta}", "q"), run(beta="b"), run("quotes", beta="a\nb")),
    case("arithmetic", main("p $(( {a} * 2 ))", "a: int"), run(a="21"), run(a="-1")),
    case("arithmetic_text", main("p $(( {a} * 2 ))", "a: str"), run("arithmetic", a="x")),
    case(
        "heredoc", block("|", "cat <<END", "{beta} {alpha}", "END"), run(beta="b"), run("quotes", beta="a b")
    ),
    case("unclosed", main("p \"'{a}", "a: str"), run("unclosed", a="1")),
    case("no_placeholder", main("python train.py", "a: {type: int, default: 1}"), run(), run(a="2")),
    case("redirect", main("p 2>{a}.log 1>&2", "a: str"), run(a="x")),
    case("number_before_redirection", main("p {a}>out", "a: int"), run("redirection", a="2")),
    case("after_variable", main("p $HOME{a} $HOME/{a}", "a: str"), run("after-variable", a="x")),
)
