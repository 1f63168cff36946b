"""A parameter in one line, for whoever runs the project."""

from __future__ import annotations

from projrun.output import one_line
from projrun.project.mlproject import Parameter

_LIMITS = (("min", "at least"), ("max", "at most"))


def is_needed(parameter: Parameter) -> bool:
    """Whether a run without a value of the user's is refused."""
    return parameter.default is None and parameter.required and not parameter.flag


def summary(parameter: Parameter) -> str:
    """Type, constraints, default and description."""
    limits = [(word, getattr(parameter, key)) for key, word in _LIMITS]
    facts = [
        parameter.type,
        *(f"{word} {limit:g}" for word, limit in limits if limit is not None),
        f"one of {', '.join(parameter.choices)}" if parameter.choices else "",
        f"stands for {parameter.flag}" if parameter.flag else "",
        "made by the run" if parameter.output else "",
        _default(parameter),
    ]
    description = f" — {parameter.description}" if parameter.description else ""
    return one_line("; ".join(fact for fact in facts if fact) + description)


def _default(parameter: Parameter) -> str:
    if parameter.default is not None:
        return f"default {parameter.default or repr('')}"
    return "required" if is_needed(parameter) else "may be left out"
