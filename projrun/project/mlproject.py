"""Find and read the MLproject file."""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

import msgspec

from projrun.documents import Document, unusable_value
from projrun.documents.yaml_cache import load_yaml
from projrun.errors import ProjectError
from projrun.plan import Descriptor, VerifyRules
from projrun.project.environment.descriptor import ENV_KEYS, read_descriptor

# Characters that mean nothing to bash wherever they stand in a word
SAFE = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789@%+=:,./_-"


def quote_word(value: str) -> str:
    """Return `shlex.quote(value)`."""
    if value and not value.strip(SAFE):
        return value  # as are most values, for which shlex is not imported
    import shlex

    return shlex.quote(value)


NOTEBOOK_VARIABLE = "PROJRUN_NOTEBOOK"


class Script(msgspec.Struct, frozen=True, kw_only=True):
    """The way to run a file that is no declared entry point."""

    file: str  # relative to the project's directory
    command: str  # text for bash
    option: str = "--"  # the text before the name of an undeclared parameter
    programs: dict[str, str] = {}  # programs that it needs, each with the hint for a machine that has none
    requirements: tuple[str, ...] = ()  # packages that running it needs, whether its author named them or not
    # Environment variable: path of the artifact that is written to the file named by it
    artifact_files: dict[str, str] = {}


def is_script(name: str) -> bool:
    return os.path.splitext(name)[1] in _KINDS


def make_script(directory: Path, name: str, *, as_mlflow: bool) -> Script:
    """Return the way to run the file `name`. as_mlflow: with mlflow's command. Raises ProjectError."""
    extension = os.path.splitext(name)[1]
    if extension == ".R":
        return _r_script(name, as_mlflow)
    if extension == ".ipynb":
        return _notebook(directory, name)
    program = "python" if extension == ".py" else os.environ.get("SHELL", "bash")
    return Script(file=name, command=f"{program} {quote_word(name)}")


_KINDS = (".py", ".sh", ".R", ".ipynb")


def _r_script(name: str, as_mlflow: bool) -> Script:
    command = f"Rscript {quote_word(name)}"
    if as_mlflow:
        in_r = name.replace("\\", "\\\\").replace("'", "\\'")
        in_bash = re.sub(r'([\\"$`])', r"\\\1", in_r)
        command = f"Rscript -e \"mlflow::mlflow_source('{in_bash}')\" --args"
    hint = "install R, and see to it that Rscript is on PATH"
    return Script(file=name, command=command, programs={"Rscript": hint})


def _notebook(directory: Path, name: str) -> Script:
    path = f"./{name}" if name.startswith("-") else name
    kernel = " -k python3 -l python" if _is_python(directory / name, name) else ""
    options = f"--log-output --no-progress-bar{kernel}"
    # The notebook is written straight into the run's artifacts: nothing to remove from the tree, and what was
    # executed is there when it fails
    return Script(
        file=name,
        command=f'papermill {options} {quote_word(path)} "${NOTEBOOK_VARIABLE}"',
        option="-p ",
        programs={"papermill": "install papermill and ipykernel there, or leave --env-manager local out"},
        requirements=("papermill", "ipykernel"),
        artifact_files={NOTEBOOK_VARIABLE: f"notebooks/{os.path.basename(name)}"},
    )


def _is_python(path: Path, name: str) -> bool:
    # A Python notebook gets the environment's own kernel, whatever the author's kernel was called
    import json

    try:
        document: Any = json.loads(path.read_bytes())
        metadata = document.get("metadata", {})
        language = metadata.get("kernelspec", {}).get("language")
        language = language or metadata.get("language_info", {}).get("name") or "python"
    except (OSError, ValueError, AttributeError, RecursionError):
        raise ProjectError("is not a notebook", "open it in Jupyter and save it again", file=name) from None
    return str(language).lower() == "python"


# Keys of a parameter whose values may be of any type; mlflow reads no others
_KEYS_OF_MLFLOW = {"type", "default", "description"}


class Parameter(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    type: str = "string"  # the type as the author wrote it
    # The text that mlflow would pass (`True`, `0.01`); None if there is no default
    default: str | None = None
    description: str = ""
    choices: tuple[str, ...] = ()
    min: float | None = None
    max: float | None = None
    required: bool = True  # False leaves its word of the command out when there is no value
    flag: str = ""  # the option for the command when the value is true
    output: bool = False  # the run makes the file at this path


class EntryPoint(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    command: str  # the text for bash with placeholders
    parameters: dict[str, Parameter] = {}
    file: str = ""
    line: int = 0  # line and column of the command
    column: int = 0
    # The reason why it cannot be run, or ''. It does not concern other entry points
    fault: str = ""
    script: Script | None = None  # the script to run, if this is not a declared entry point
    warnings: tuple[str, ...] = ()

    def error(self, message: str, hint: str = "", *, rule: str = "") -> ProjectError:
        return ProjectError(message, hint, file=self.file, line=self.line, column=self.column, rule=rule)


class Project(msgspec.Struct, frozen=True, kw_only=True):
    name: str  # the directory's name if the author gives none
    directory: Path
    file: str = ""  # the name of the MLproject file in the directory, or ''
    entry_points: dict[str, EntryPoint] = {}
    descriptor: Descriptor
    environment_named: bool = False  # the MLproject file names the descriptor
    verify: VerifyRules = VerifyRules()
    # The reason why pyproject.toml, which is the descriptor, describes no environment, or ''
    environment_fault: str = ""
    warnings: tuple[str, ...] = ()

    def entry_point(self, name: str) -> EntryPoint:
        """Return the declared entry point or the script of that name. Raises ProjectError."""
        declared = self.entry_points.get(name)
        if declared is None:
            return self._script(name)
        if declared.fault:
            raise declared.error(declared.fault, "write command: …")
        return declared

    def for_environment(self, name: str) -> EntryPoint:
        """Return the entry point whose environment is asked for. Raises ProjectError."""
        # A project without entry points has an environment as well
        if name == "main" and name not in self.entry_points:
            return EntryPoint(name=name, command="")
        return self.entry_point(name)

    def _script(self, name: str) -> EntryPoint:
        if not is_script(name):
            raise self._unknown(name)
        if not os.path.isfile(self.directory / name):  # not Path.is_file, which raises for impossible names
            problem = f"there is no script '{name}' in the project"
            raise ProjectError(problem, self._known_names(name), file=self.file)
        script = make_script(self.directory, name, as_mlflow=bool(self.file))
        return EntryPoint(name=name, command=escape_braces(script.command), script=script)

    def _unknown(self, name: str) -> ProjectError:
        if not self.entry_points and not self.file:
            hint = "name a script with --entry-point, or write an MLproject file with `projrun init`"
            return ProjectError(f"there is no MLproject file and '{name}' is no script", hint)
        return ProjectError(f"there is no entry point '{name}'", self._known_names(name), file=self.file)

    def _known_names(self, name: str) -> str:
        if not self.entry_points:
            return "name a script of the project with --entry-point, such as train.py"
        near = suggest_name(name, self.entry_points)
        question = f"did you mean '{near}'? " if near else ""
        return f"{question}choose one of {', '.join(self.entry_points)}, or a script (.py, .sh, .R, .ipynb)"


def escape_braces(command: str) -> str:
    """Return a command template in which no brace begins a placeholder."""
    return command.replace("{", "{{").replace("}", "}}")


def suggest_name(name: str, known: Collection[object]) -> str:
    """Return the one of `known` that `name` is probably meant to be, or ''."""
    import difflib

    if len(name) > 100 or len(known) > 500:
        return ""  # it would take seconds
    names = [str(item) for item in known]
    swapped = [other for other in names if sorted(other) == sorted(name)]
    similar = swapped or difflib.get_close_matches(name, names, 1, 0.78)
    return similar[0] if similar else ""


def read_mlproject(directory: Path) -> Project:
    """Read the project in `directory`, with or without an MLproject file. Raises ProjectError."""
    file = find_mlproject(directory)
    document = load_yaml(directory / file, file) if file else None
    try:
        return _project(directory, file, document)
    except (ValueError, OverflowError) as error:
        raise unusable_value(error, file) from None


def _project(directory: Path, file: str, document: Document | None) -> Project:
    data = read_top(document) if document else {}
    descriptor, warnings = read_descriptor(directory, document)
    return Project(
        name=str(data.get("name") or "") or os.path.basename(os.path.abspath(directory)),
        directory=directory,
        file=file,
        entry_points={
            str(name): read_entry_point(document, str(name), body)
            for name, body in read_entry_points(document, data).items()
        }
        if document
        else {},
        descriptor=descriptor,
        verify=_verify(document, data.get("verify")) if document else VerifyRules(),
        environment_named=any(data.get(key) for key in ENV_KEYS),
        warnings=warnings,
    )


def find_mlproject(directory: Path) -> str:
    """Return the name of the MLproject file in `directory`, or ''. Raises ProjectError."""
    try:
        entries = [entry for entry in os.scandir(directory) if entry.name.lower() == "mlproject"]
        names = sorted(entry.name for entry in entries if not entry.is_dir())
    except OSError as error:
        raise ProjectError(
            f"the project's directory cannot be read: {error.strerror}",
            "see that it is there and may be read",
            file=str(directory),
        ) from None
    if len(names) > 1:
        both = " and ".join(f"'{name}'" for name in names)
        raise ProjectError(f"the project has {both}", "keep one of them", file=names[1], rule="two-files")
    return names[0] if names else ""


def read_top(document: Document) -> dict[Any, Any]:
    """Return the mapping that an MLproject file is; {} for an empty file. Raises ProjectError."""
    if document.data is None:
        return {}
    if not isinstance(document.data, dict):
        raise document.error(
            "is not a mapping of keys to values", "start with lines such as 'name: …' and 'entry_points:'"
        )
    return document.data


def read_entry_points(document: Document, data: dict[Any, Any]) -> dict[Any, Any]:
    """Return the entry points by name, as they are written. Raises ProjectError."""
    written = data.get("entry_points")
    if written is not None and not isinstance(written, dict):
        hint = "write 'main:' with 'command: …' below it"
        raise document.error("'entry_points' is not a mapping of names to commands", hint, "entry_points")
    return written or {}


def read_entry_point(document: Document, name: str, body: object) -> EntryPoint:
    """Read one entry point. Raises ProjectError, unless the fault is that it has no command."""
    where = ("entry_points", name)
    if not isinstance(body, dict):
        raise document.error(
            f"entry point '{name}' is not a mapping", "write 'command: …' and 'parameters:' below it", *where
        )
    command = body.get("command")
    written = body.get("parameters")
    if written is not None and not isinstance(written, dict):
        hint = "write lines such as 'alpha: float'"
        raise document.error(
            f"'parameters' of entry point '{name}' is not a mapping", hint, *where, "parameters"
        )
    line, column = document.position(*where, "command")
    warnings: list[str] = []
    return EntryPoint(
        name=name,
        command=command if isinstance(command, str) else "",
        parameters={
            str(key): read_parameter(document, (*where, "parameters", str(key)), key, value, warnings)
            for key, value in (written or {}).items()
        },
        file=document.file,
        line=line,
        column=column,
        fault="" if isinstance(command, str) else f"entry point '{name}' has no command",
        warnings=tuple(warnings),
    )


def read_parameter(
    document: Document, where: tuple[object, ...], key: object, body: object, warnings: list[str]
) -> Parameter:
    """Read the parameter at the path `where`, and add to `warnings`. Raises ProjectError."""
    name = str(key)
    if isinstance(key, bool) or key is None:
        warnings.append(f"{document.file}: YAML reads the name of parameter '{name}' as a constant; quote it")
    if body is None or isinstance(body, str):
        return Parameter(name=name, type=body or "string")
    if not isinstance(body, dict):
        raise document.error(
            f"parameter '{name}' is neither a type nor a mapping",
            f"write '{name}: float', or '{name}: {{type: float, default: {body}}}'",
            *where,
        )
    for glued, meant in find_glued_keys(body).items():
        if glued.partition(":")[0] in _KEYS_OF_MLFLOW:
            warnings.append(
                f"{document.file}:{document.position(*where)[0]}: parameter '{name}' has a key '{glued}', "
                f"which means nothing; write '{meant}' with a blank"
            )
    default, description = body.get("default"), body.get("description")
    parameter = Parameter(
        name=name,
        type=str(body.get("type", "string")),
        default=None if default is None else str(default),
        description="" if description is None else str(description),
    )
    return (
        parameter if body.keys() <= _KEYS_OF_MLFLOW else _add_restrictions(parameter, document, body, where)
    )


def _add_restrictions(
    parameter: Parameter, document: Document, body: dict[Any, Any], where: tuple[object, ...]
) -> Parameter:
    from projrun.project.shapes import ParameterShape, convert_to_shape  # late: the shapes take long to make

    shape = convert_to_shape(document, body, ParameterShape, f"parameter '{parameter.name}'", *where)
    return msgspec.structs.replace(
        parameter,
        choices=tuple(str(choice) for choice in shape.choices or ()),
        min=None if shape.min is None else float(shape.min),
        max=None if shape.max is None else float(shape.max),
        required=shape.required is not False,
        flag=shape.flag or "",
        output=shape.output is True,
    )


def _verify(document: Document, written: object) -> VerifyRules:
    if written is None:
        return VerifyRules()
    from projrun.project.shapes import read_verify_rules

    return read_verify_rules(document, written)


def find_glued_keys(body: dict[Any, Any]) -> dict[str, str]:
    """Return keys such as `type:int`, each with what it was meant to be: `type: int`."""
    # Without a blank behind the colon, YAML takes all of `{type:int}` as a key
    keys = [key for key in body if isinstance(key, str) and ":" in key and re.match(r"\w+:", key)]
    return {key: f"{key.partition(':')[0]}: {key.partition(':')[2].strip()}" for key in keys}
