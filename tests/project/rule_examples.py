"""An example of each rule of `projrun validate`: the files, and where the finding stands."""

from __future__ import annotations

from tests.project.corpus import main

ENV = "python: '3.11'\n"
NAMED = "name: demo\npython_env: env.yaml\n"

EXAMPLES: dict[str, tuple[dict[str, str], str]] = {
    # rule: (files, file:line:column of the finding); an environment that is fine is left out
    "no-file": ({"train.py": ""}, "MLproject:1:1"),
    "two-files": ({"MLproject": "name: demo\n", "mlproject": "name: demo\n"}, "mlproject:1:1"),
    "not-yaml": ({"MLproject": "name: demo\nentry_points: {main: [\n"}, "MLproject:3:1"),
    "too-large": ({"MLproject": f"name: {'[' * 41}{']' * 41}\n"}, "MLproject:1:46"),
    "duplicate-key": ({"MLproject": "name: demo\nname: other\n"}, "MLproject:2:1"),
    "unknown-key": ({"MLproject": "name: demo\nentrypoints: {}\n"}, "MLproject:2:1"),
    "wrong-shape": ({"MLproject": main("p {a}", "a: {type: int, min: low}")}, "MLproject:5:22"),
    "no-command": ({"MLproject": "entry_points:\n  main: {parameters: {a: int}}\n"}, "MLproject:2:3"),
    "undeclared-placeholder": ({"MLproject": main("p {alhpa}", "alpha: int")}, "MLproject:6:16"),
    "formatted-placeholder": ({"MLproject": main('"p {a:>5}"', "a: int")}, "MLproject:6:17"),
    "unsafe-command": ({"MLproject": main("'p \"{a}'", "a: str")}, "MLproject:6:5"),
    "second-command": (
        {"MLproject": main(">\n      python train.py\n        --alpha {a}", "a: float")},
        "MLproject:8:9",
    ),
    "shell-variable": ({"MLproject": main("p ${a}", "a: str")}, "MLproject:6:16"),
    "quoted-placeholder": ({"MLproject": main("p --a '{a}'", "a: str")}, "MLproject:6:21"),
    "glued-key": ({"MLproject": main("p {a}", "a: {type:int, default: 10}")}, "MLproject:5:11"),
    "constant-name": ({"MLproject": main("ls", "no: int")}, "MLproject:4:5"),
    "unused-parameter": ({"MLproject": main("p {a}", "a: int\nb: int")}, "MLproject:6:7"),
    "unknown-type": ({"MLproject": main("p {a}", "a: {type: flaot}")}, "MLproject:5:11"),
    "default-misfit": ({"MLproject": main("p {a}", "a: {type: int, default: None}")}, "MLproject:5:22"),
    "default-path": ({"MLproject": main("p {a}", "a: {type: path, default: data.csv}")}, "MLproject:5:23"),
    "choice-misfit": ({"MLproject": main("p {a}", "a: {type: int, choices: [1, two]}")}, "MLproject:5:22"),
    "impossible-limits": ({"MLproject": main("p {a}", "a: {type: int, min: 2, max: 1}")}, "MLproject:5:22"),
    "idle-constraint": ({"MLproject": main("p {a}", "a: {type: string, max: 5}")}, "MLproject:5:25"),
    "flag-without-bool": ({"MLproject": main("p {a}", "a: {type: int, flag: --a}")}, "MLproject:5:22"),
    "no-environment": ({"MLproject": "name: demo\n", "python_env.yaml": ""}, "MLproject:1:1"),
    "two-environments": (
        {
            "MLproject": NAMED + "conda_env: conda.yaml\n",
            "env.yaml": ENV,
            "conda.yaml": "dependencies: [python=3.11]\n",
        },
        "MLproject:3:1",
    ),
    "missing-file": ({"MLproject": "name: demo\nconda_env: enviroment.yml\n"}, "MLproject:2:1"),
    "conda-as-python-env": (
        {"MLproject": NAMED, "env.yaml": "channels: [conda-forge]\ndependencies: [python=3.11]\n"},
        "env.yaml:1:1",
    ),
    "unquoted-python": ({"MLproject": NAMED, "env.yaml": "python: 3.10\n"}, "env.yaml:1:1"),
    "bad-python": ({"MLproject": NAMED, "env.yaml": "python: newest\n"}, "env.yaml:1:1"),
    "python-unpinned": (
        {"MLproject": NAMED, "env.yaml": "dependencies: [numpy==2.1.0]\n"},
        "env.yaml:1:1",
    ),
    "unpinned-dependency": (
        {"MLproject": NAMED, "env.yaml": ENV + "dependencies:\n  - numpy==2.1.0\n  - scipy>=1.10\n"},
        "env.yaml:4:5",
    ),
}
WITHOUT_EXAMPLE = {"unreadable": "A link that leads nowhere, or a file that the user may not read."}


def complete(rule: str) -> dict[str, str]:
    """The example's files, with an environment so that nothing else is found."""
    files = EXAMPLES[rule][0]
    named = "python_env.yaml" in files or any(
        "env" in text.split("entry_points")[0] for text in files.values()
    )
    bare = {name: text for name, text in files.items() if name != "python_env.yaml"}
    return bare if named else {**bare, "python_env.yaml": ENV}
