"""The MLproject file: finding it, and what it says."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from projrun.documents import Document
from projrun.documents.yaml_cache import load_yaml
from projrun.errors import ProjectError
from projrun.plan import Descriptor, VerifyRules
from projrun.project.environment.descriptor import ENV_KEYS, read_descriptor

if TYPE_CHECKING:
    from projrun.project.shapes import Number


SAFE = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789@%+=:,./_-"
"""Characters that mean nothing to bash wherever they stand in a word."""


def quote_word(value: str) -> str:
    """One word, as `shlex.quote` has it, which is not imported for most values."""
    if value and not value.strip(SAFE):
        return value
    import shlex

    return shlex.quote(value)


NOTEBOOK_VARIABLE = "PROJRUN_NOTEBOOK"
"""Names the file that an executed notebook is written to."""
NOTEBOOK_REQUIREMENTS = ("papermill", "ipykernel")


class Script(msgspec.Struct, frozen=True, kw_only=True):
    """The way in which a file is run."""

    file: str
    """Relative to the project's directory."""
    command: str
    """Text for bash."""
    option: str = "--"
    """What stands before the name of an undeclared parameter."""
    programs: dict[str, str] = {}
    """Programs that must be there and may not be, and how to get them."""
    requirements: tuple[str, ...] = ()
    """What running it takes beyond what its author named."""
    artifact_files: dict[str, str] = {}
    """Artifacts that it writes, by the variable that names the file."""


def is_script(name: str) -> bool:
    return os.path.splitext(name)[1] in _KINDS


def make_script(directory: Path, name: str, *, as_mlflow: bool) -> Script:
    """Return the way to run the file `name`; as_mlflow: with mlflow's own command."""
    extension = os.path.splitext(name)[1]
    if extension == ".R":
        return _r_script(name, as_mlflow)
    if extension == ".ipynb":
        return _notebook(directory, name)
    return Script(file=name, command=f"{_program(extension)} {quote_word(name)}")


_KINDS = (".py", ".sh", ".R", ".ipynb")


def _program(extension: str) -> str:
    return "python" if extension == ".py" else os.environ.get("SHELL", "bash")


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
    return Script(
        file=name,
        command=f'papermill {options} {quote_word(path)} "${NOTEBOOK_VARIABLE}"',
        option="-p ",
        programs={"papermill": "install papermill and ipykernel there, or leave --env-manager local out"},
        requirements=NOTEBOOK_REQUIREMENTS,
        artifact_files={NOTEBOOK_VARIABLE: f"notebooks/{os.path.basename(name)}"},
    )


def _is_python(path: Path, name: str) -> bool:
    """Its kernel is then the environment's own, whatever it was called where the notebook was written."""
    import json

    try:
        document: Any = json.loads(path.read_bytes())
        metadata = document.get("metadata", {})
        kernel, info = metadata.get("kernelspec", {}), metadata.get("language_info", {})
        language = kernel.get("language") or info.get("name") or "python"
    except (OSError, ValueError, AttributeError, RecursionError):
        raise ProjectError("is not a notebook", "open it in Jupyter and save it again", file=name) from None
    return str(language).lower() == "python"


FILE_NAME = "mlproject"
"""In any case; `MLproject` is usual."""

_GLUED = r"(?s)(type|default|description):(.*)"
_ANY = {"type", "default", "description"}
"""Keys of a parameter whose values may be of any kind."""


class Parameter(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    type: str = "string"
    """As the author wrote it."""
    default: str | None = None
    """Text, as mlflow would pass it (`True`, `0.01`); None when there is none."""
    description: str = ""
    choices: tuple[str, ...] = ()
    min: float | None = None
    max: float | None = None
    required: bool = True
    """False: without a value, its part of the command is left out."""
    flag: str = ""
    """The option that stands in the command when the value is true."""
    output: bool = False
    """A path that the run makes."""


class EntryPoint(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    command: str
    """The template."""
    parameters: dict[str, Parameter] = {}
    file: str = ""
    line: int = 0
    column: int = 0
    """Where the command stands."""
    fault: str = ""
    """Why it cannot be run; empty when it can. Other entry points of the file can still be."""
    script: Script | None = None
    """The file that is run, where that is not a declared entry point."""
    warnings: tuple[str, ...] = ()

    def error(self, message: str, hint: str = "", *, rule: str = "") -> ProjectError:
        return ProjectError(message, hint, file=self.file, line=self.line, column=self.column, rule=rule)


class Project(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    """The directory's name when the author gives none."""
    directory: Path
    file: str = ""
    """Name of the MLproject file in the directory; empty when there is none."""
    entry_points: dict[str, EntryPoint] = {}
    descriptor: Descriptor
    environment_named: bool = False
    """The MLproject file names the descriptor."""
    verify: VerifyRules = VerifyRules()
    environment_fault: str = ""
    """Why pyproject.toml tells no environment, where it would be the one to."""
    warnings: tuple[str, ...] = ()

    def entry_point(self, name: str) -> EntryPoint:
        """The declared entry point, or the script of that name. Raises ProjectError."""
        declared = self.entry_points.get(name)
        if declared is None:
            return self._script(name)
        if declared.fault:
            raise declared.error(declared.fault, "write command: …")
        return declared

    def for_environment(self, name: str) -> EntryPoint:
        """One of which the environment alone counts: a project without entry points has one as well."""
        if name == "main" and name not in self.entry_points:
            return EntryPoint(name=name, command="")
        return self.entry_point(name)

    def _script(self, name: str) -> EntryPoint:
        if not is_script(name):
            raise self._unknown(name)
        if not os.path.isfile(self.directory / name):  # which is false, and no error, for impossible names
            raise ProjectError(
                f"there is no script '{name}' in the project", self._known(name), file=self.file
            )
        found = make_script(self.directory, name, as_mlflow=bool(self.file))
        return EntryPoint(
            name=name, command=found.command.replace("{", "{{").replace("}", "}}"), script=found
        )

    def _unknown(self, name: str) -> ProjectError:
        if not self.entry_points and not self.file:
            hint = "name a script with --entry-point, or write an MLproject file with `projrun init`"
            return ProjectError(f"there is no MLproject file and '{name}' is no script", hint)
        return ProjectError(f"there is no entry point '{name}'", self._known(name), file=self.file)

    def _known(self, name: str) -> str:
        if not self.entry_points:
            return "name a script of the project with --entry-point, such as train.py"
        near = suggest_name(name, self.entry_points)
        question = f"did you mean '{near}'? " if near else ""
        return f"{question}choose one of {', '.join(self.entry_points)}, or a script (.py, .sh, .R, .ipynb)"


def suggest_name(name: str, known: Any) -> str:
    """The one of `known` that `name` is probably meant to be, or ''."""
    import difflib

    if len(name) > 100 or len(known) > 500:
        return ""  # it would take seconds
    names = [str(item) for item in known]
    swapped = [other for other in names if sorted(other) == sorted(name)]
    found = swapped or difflib.get_close_matches(name, names, 1, 0.78)
    return found[0] if found else ""


def read_mlproject(directory: Path) -> Project:
    file = find_mlproject(directory)
    document = load_yaml(directory / file, file) if file else None
    try:
        return _project(directory, file, document)
    except (ValueError, OverflowError) as error:
        # Numbers of thousands of digits, lone surrogates: valid YAML, but neither text nor a file name
        problem = str(error).split(";")[0]
        raise ProjectError(f"holds a value that cannot be used: {problem}", "mend it", file=file) from None


def _project(directory: Path, file: str, document: Document | None) -> Project:
    data = _top(document)
    descriptor, warnings = read_descriptor(directory, document)
    return Project(
        name=str(data.get("name") or "") or os.path.basename(os.path.abspath(directory)),
        directory=directory,
        file=file,
        entry_points=_entry_points(document, data.get("entry_points")) if document else {},
        descriptor=descriptor,
        verify=_verify(document, data.get("verify")) if document else VerifyRules(),
        environment_named=any(data.get(key) for key in ENV_KEYS),
        warnings=warnings,
    )


def find_mlproject(directory: Path) -> str:
    """The name of the MLproject file in `directory`, or ''. A directory of that name is none."""
    try:
        names = sorted(
            entry.name
            for entry in os.scandir(directory)
            if entry.name.lower() == FILE_NAME and not entry.is_dir()
        )
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


def _top(document: Document | None) -> dict[Any, Any]:
    if document is None or document.data is None:
        return {}
    if not isinstance(document.data, dict):
        raise document.error(
            "is not a mapping of keys to values", "start with lines such as 'name: …' and 'entry_points:'"
        )
    return document.data


def _entry_points(document: Document, written: object) -> dict[str, EntryPoint]:
    if written is not None and not isinstance(written, dict):
        hint = "write 'main:' with 'command: …' below it"
        raise document.error("'entry_points' is not a mapping of names to commands", hint, "entry_points")
    return {str(name): entry_point_of(document, str(name), body) for name, body in (written or {}).items()}


def entry_point_of(document: Document, name: str, body: object) -> EntryPoint:
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
            str(key): parameter_of(document, (*where, "parameters", str(key)), key, value, warnings)
            for key, value in (written or {}).items()
        },
        file=document.file,
        line=line,
        column=column,
        fault="" if isinstance(command, str) else f"entry point '{name}' has no command",
        warnings=tuple(warnings),
    )


def parameter_of(
    document: Document, where: tuple[object, ...], key: object, body: object, warnings: list[str]
) -> Parameter:
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
    warnings.extend(_glued(document, where, name, body))
    default, description = body.get("default"), body.get("description")
    parameter = Parameter(
        name=name,
        type=str(body.get("type", "string")),
        default=None if default is None else str(default),
        description="" if description is None else str(description),
    )
    return parameter if body.keys() <= _ANY else _restricted(parameter, document, body, where)


def _restricted(
    parameter: Parameter, document: Document, body: dict[Any, Any], where: tuple[object, ...]
) -> Parameter:
    """With the keys that mlflow does not read."""
    from projrun.project.shapes import ParameterShape, convert_to_shape  # late: the shapes take long to make

    shape = convert_to_shape(document, body, ParameterShape, f"parameter '{parameter.name}'", *where)
    return msgspec.structs.replace(
        parameter,
        choices=tuple(str(choice) for choice in shape.choices or ()),
        min=_number(shape.min),
        max=_number(shape.max),
        required=shape.required is not False,
        flag=shape.flag or "",
        output=shape.output is True,
    )


def _verify(document: Document, written: object) -> VerifyRules:
    if written is None:
        return VerifyRules()
    from projrun.project.shapes import read_verify_rules

    return read_verify_rules(document, written)


def _glued(document: Document, where: tuple[object, ...], name: str, body: dict[Any, Any]) -> list[str]:
    """`{type:int, default:10}`: without a blank behind the colon, YAML takes all of it as a key."""
    found = [
        match for key in body if isinstance(key, str) and ":" in key and (match := re.fullmatch(_GLUED, key))
    ]
    line = document.position(*where)[0]
    return [
        f"{document.file}:{line}: parameter '{name}' has a key '{match[0]}', which means nothing; "
        f"write '{match[1]}: {match[2].strip()}' with a blank"
        for match in found
    ]


def _number(written: Number | None) -> float | None:
    return None if written is None else float(written)
