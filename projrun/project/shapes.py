"""Describe the shapes of authors' files as types, for the parser and for the JSON Schemas."""

# Unknown keys are forbidden for the schemas, so that editors mark them; the parser leaves them out before.

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import UNSET, Meta, UnsetType

from projrun.documents import Document
from projrun.plan import Rule, VerifyRules

_VERSION = r"\d+(?:\.\d+)*(?:\.\*|(?:a|b|rc)\d+)?"
_COMPARISON = r"(?:===?|~=|!=|[<>]=?)"
# A version or a PEP 440 set of versions
PYTHON_PATTERN = rf"^\s*(?:{_COMPARISON}?\s*{_VERSION}(?:\s*,\s*{_COMPARISON}\s*{_VERSION})*)?\s*$"

# YAML 1.1, and with it PyYAML, reads `1e-3` as text
NumberText = Annotated[str, Meta(pattern=r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$")]
Number = int | float | NumberText
ScalarValue = str | int | float | bool | None


def _any_case(words: str) -> str:
    # The regular expressions of editors know no flags
    return "".join(f"[{char}{char.upper()}]" if char.isalpha() else char for char in words)


_TYPES = _any_case("string|str|float|number|double|integer|int|boolean|bool|list")
# The types of parameters that are known
TYPE_PATTERN = rf"^\s*({_TYPES}|{_any_case('list')}\[\s*({_TYPES})\s*\]|path|uri)\s*$"

TypeName = Annotated[str, Meta(description="The type.", extra_json_schema={"pattern": TYPE_PATTERN})]
FileName = Annotated[str, Meta(description="A file, relative to the project's directory.")]


class ParameterShape(msgspec.Struct, forbid_unknown_fields=True):
    """A parameter of an entry point. mlflow reads `type` and `default` and ignores the other keys."""

    type: Annotated[
        Any,
        Meta(
            description="What the value must be. An unknown type means string.",
            examples=["string", "float", "int", "bool", "path", "uri", "list", "list[int]"],
            extra_json_schema={"pattern": TYPE_PATTERN},
        ),
    ] = "string"
    default: Annotated[Any, Meta(description="The value when the user gives none; null means required.")] = (
        None
    )
    description: Annotated[Any, Meta(description="One line for whoever runs the project.")] = None
    choices: Annotated[
        Annotated[list[ScalarValue], Meta(min_length=1)] | None, Meta(description="The only values allowed.")
    ] = None
    min: Annotated[Number | None, Meta(description="The smallest value allowed, for int and float.")] = None
    max: Annotated[Number | None, Meta(description="The largest value allowed, for int and float.")] = None
    required: Annotated[
        bool | None, Meta(description="false: without a value, its part of the command is left out.")
    ] = None
    flag: Annotated[
        Annotated[str, Meta(pattern=r"^-[^\s]+$")] | None,
        Meta(description="For bool: the option that stands in the command when the value is true."),
    ] = None
    output: Annotated[bool | None, Meta(description="For path: the run makes it, it need not exist.")] = None


class EntryPointShape(msgspec.Struct, forbid_unknown_fields=True):
    """A command that the project offers."""

    command: Annotated[
        str, Meta(description="Text for bash; `{name}` is replaced by that parameter's value.")
    ]
    parameters: Annotated[
        dict[str, ParameterShape | TypeName | None] | None,
        Meta(description="Name: type, or name: {type: …, default: …}."),
    ] = None


class DockerBuildShape(msgspec.Struct, forbid_unknown_fields=True):
    """The build of the image from the project's own Dockerfile. mlflow does not read it."""

    context: Annotated[str, Meta(description="A directory of the project.")] = "."
    dockerfile: Annotated[str, Meta(description="Relative to the context.")] = "Dockerfile"
    args: Annotated[dict[str, str | int | float | bool] | None, Meta(description="Build arguments.")] = None
    target: Annotated[str, Meta(description="The stage to build; the last one when empty.")] = ""


class DockerShape(msgspec.Struct, forbid_unknown_fields=True):
    """A container to run in."""

    image: Annotated[str, Meta(min_length=1, description="The image. Needed unless there is `build`.")] = ""
    build: Annotated[
        str | DockerBuildShape | None,
        Meta(description="A directory with a Dockerfile, or context, dockerfile, args and target."),
    ] = None
    volumes: Annotated[list[str] | None, Meta(description="Mounts, `/path/outside:/path/inside`.")] = None
    environment: Annotated[
        list[str | Annotated[list[ScalarValue], Meta(min_length=2, max_length=2)]] | None,
        Meta(description="NAME copies a variable from the host; [NAME, value] sets one."),
    ] = None


class ToleranceShape(msgspec.Struct, forbid_unknown_fields=True):
    """Numbers may differ by up to atol + rtol · |older value|."""

    rtol: Annotated[Number, Meta(description="Relative to the older value.")] = 0.0
    atol: Annotated[Number, Meta(description="Absolute.")] = 0.0


RuleShape = (
    ToleranceShape
    | Annotated[
        Literal["exact", "value", "ignore"],
        Meta(description="The same bytes; the same values, whatever the layout; anything."),
    ]
)


class VerifyShape(msgspec.Struct, forbid_unknown_fields=True):
    """The rules for comparing a verified run. The first matching pattern counts; without one, exact."""

    metrics: Annotated[dict[str, RuleShape] | None, Meta(description="Name or pattern of metrics: rule.")] = (
        None
    )
    outputs: Annotated[
        dict[str, RuleShape] | None, Meta(description="Pattern of artifacts and files (`**/*.csv`): rule.")
    ] = None


class ProjectShape(msgspec.Struct, forbid_unknown_fields=True):
    """An MLproject file."""

    name: Annotated[Any, Meta(description="The project's name; its directory's when there is none.")] = None
    python_env: Annotated[FileName | None, Meta(description="A python_env.yaml.")] = None
    conda_env: Annotated[FileName | None, Meta(description="A conda environment file.")] = None
    docker_env: DockerShape | None = None
    entry_points: Annotated[
        dict[str, EntryPointShape] | None,
        Meta(description="What can be run, by name; `main` is the default."),
    ] = None
    verify: VerifyShape | None = None


class PythonEnvShape(msgspec.Struct, forbid_unknown_fields=True):
    """A python_env.yaml file."""

    python: Annotated[
        str | int | float | UnsetType | None,
        Meta(
            description="`3.11`, `3.11.7` or a set such as `>=3.10`. Quoted: a bare 3.10 is the number 3.1.",
            extra_json_schema={"pattern": PYTHON_PATTERN, "not": {"enum": [3.1, 3.2, 3.3]}},
        ),
    ] = UNSET
    build_dependencies: Annotated[
        list[str] | None, Meta(description="Requirements that are installed before the others.")
    ] = None
    dependencies: Annotated[
        list[str] | None, Meta(description="Requirement lines for pip; `-r FILE` and `-c FILE` are read.")
    ] = None


Shape = TypeVar("Shape")

_AT = re.compile(r" - at `(\$?[^`]*)`$")
_EXPECTED: dict[str | int, str] = {
    "choices": "a list with at least one value",
    "min": "a number",
    "max": "a number",
    "required": "true or false",
    "flag": "an option, such as --shuffle",
    "output": "true or false",
    "image": "the name of an image",
    "build": "a directory with a Dockerfile",
    "volumes": "a list of texts, such as ['/outside:/inside']",
    "environment": "a list of NAME or [NAME, value]",
    "python": "a version in quotes, such as '3.11'",
    "build_dependencies": "a list of requirements",
    "dependencies": "a list of requirements",
    "metrics": "rules by name: exact, value, ignore or {rtol: 1e-6, atol: 0}",
    "outputs": "rules by pattern: exact, value, ignore or {rtol: 1e-6, atol: 0}",
}
_STEP = re.compile(r"\.([A-Za-z_]\w*)|\[(\d+)\]")


def convert_to_shape(
    document: Document, raw: object, shape: type[Shape], subject: str, *path: object
) -> Shape:
    """Return `raw`, which stands at `path`, as a `shape`. Raises ProjectError at the part that does not fit.

    subject: what a message calls it, as in "parameter 'x'".
    """
    known = getattr(shape, "__struct_fields__", ())
    if isinstance(raw, dict):
        raw = {key: value for key, value in raw.items() if key in known}
    try:
        return msgspec.convert(raw, shape)
    except msgspec.ValidationError as error:
        problem = str(error)
        at = _AT.search(problem)
        steps = [name or int(index) for name, index in _STEP.findall(at[1])] if at else []
        where = "".join(f"'{step}' of " if isinstance(step, str) else "" for step in steps[:1])
        text = problem[: at.start()] if at else problem
        expected = _EXPECTED.get(steps[0] if steps else "", "")
        if expected and "matching regex" in text:
            text = f"expected {expected}"
        hint = f"write {expected}" if expected else "correct it"
        raise document.error(f"{where}{subject}: {text[:1].lower()}{text[1:]}", hint, *path, *steps) from None


def read_verify_rules(document: Document, written: object) -> VerifyRules:
    """Read the rules below `verify`. Raises ProjectError."""
    shape = convert_to_shape(document, written, VerifyShape, "'verify'", "verify")
    metrics, outputs = shape.metrics or {}, shape.outputs or {}
    return VerifyRules(
        metrics={pattern: _rule(rule) for pattern, rule in metrics.items()},
        outputs={pattern: _rule(rule) for pattern, rule in outputs.items()},
    )


def _rule(written: ToleranceShape | Literal["exact", "value", "ignore"]) -> Rule:
    if isinstance(written, ToleranceShape):
        return Rule(how="value", rtol=float(written.rtol), atol=float(written.atol))
    return Rule(how=written)
