"""The `verify:` section of an MLproject file: what may differ when a run is done again."""

from __future__ import annotations

from collections.abc import Mapping

from projrun.documents import Document
from projrun.project.shapes import ToleranceShape, VerifyShape, conform
from projrun.rules import Rule, VerifyRules


def verify_rules(document: Document, written: object) -> VerifyRules:
    """Raises ProjectError."""
    shape = conform(document, written, VerifyShape, "'verify'", "verify")
    return VerifyRules(metrics=_rules(shape.metrics), outputs=_rules(shape.outputs))


def _rules(written: Mapping[str, ToleranceShape | str] | None) -> dict[str, Rule]:
    return {pattern: _rule(rule) for pattern, rule in (written or {}).items()}


def _rule(written: ToleranceShape | str) -> Rule:
    if isinstance(written, ToleranceShape):
        return Rule(how="value", rtol=float(written.rtol), atol=float(written.atol))
    return Rule(how="ignore" if written == "ignore" else "value" if written == "value" else "exact")
