"""Describe a bundle as a Workflow Run RO-Crate: JSON-LD that other programs read.

The `rocrate` library is not used: it brings requests, jinja2 and a fixed layout, and writes today's date and
random ids, although the same run must give the same bytes.

https://w3id.org/ro/wfrun/workflow/0.5 where the project has an MLproject, which is the workflow;
https://w3id.org/ro/wfrun/process/0.5 where it has none. Both extend https://w3id.org/ro/crate/1.1.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timezone
from typing import Any, NamedTuple
from urllib.parse import quote

from projrun.plan import PYLOCK_ARTIFACT
from projrun.record import BUNDLE_RECORD, BUNDLE_TREE, OUTPUT_ARTIFACT, Input, Output, Record
from projrun.records.bundle_reader import ARTIFACTS

METADATA = "ro-crate-metadata.json"
CONTEXT = "https://w3id.org/ro/crate/1.1/context"
TERMS = {"sha256": "https://w3id.org/ro/terms/workflow-run#sha256"}
_PROCESS = ("https://w3id.org/ro/wfrun/process/0.5", "Process Run Crate", "0.5")
_WORKFLOW = (
    ("https://w3id.org/ro/wfrun/workflow/0.5", "Workflow Run Crate", "0.5"),
    ("https://w3id.org/workflowhub/workflow-ro-crate/1.0", "Workflow RO-Crate", "1.0"),
)
_PARAMETER_PROFILE = "https://bioschemas.org/profiles/FormalParameter/1.0-RELEASE"
_WORKFLOW_PROFILE = "https://bioschemas.org/profiles/ComputationalWorkflow/1.0-RELEASE"
_STATUS = {"FINISHED": "CompletedActionStatus"}

# A member that is None is left out
Entity = dict[str, Any]


class Contents(NamedTuple):
    """The contents of a bundle, by names in it."""

    # The MLproject; empty when there is none.
    workflow: str
    has_tree: bool
    # The project's license file; empty when there is none.
    license: str
    # Parameter -> file or directory; without those that are not in the bundle.
    inputs: Mapping[str, str]
    # Key of an output -> file; without those that are not in the bundle.
    outputs: Mapping[str, str]
    # Further files: lock, logs, packages.
    others: Iterable[str]


def output_key(output: Output) -> str:
    # An artifact and a file of the tree may have the same path.
    return f"{'artifact' if output.change == 'logged' else 'file'}/{output.path}"


def render_metadata(record: Record, contents: Contents) -> bytes:
    """Return the content of the file METADATA."""
    graph = {
        entity["@id"]: {name: value for name, value in entity.items() if value is not None}
        for entity in _entities(record, contents)
    }
    text = {"@context": [CONTEXT, TERMS], "@graph": list(graph.values())}
    return json.dumps(text, indent=2, ensure_ascii=False).encode() + b"\n"


def _entities(record: Record, contents: Contents) -> Iterator[Entity]:
    profiles = (_PROCESS, *(_WORKFLOW if contents.workflow else ()))
    inputs = [_input(read, contents.inputs.get(read.parameter)) for read in record.inputs]
    outputs = [_output(made, contents.outputs.get(output_key(made))) for made in record.outputs or ()]
    values = list(_values(record, contents))
    if contents.workflow:
        for read, entity in zip(record.inputs, inputs):
            entity["exampleOfWork"] = {"@id": f"#parameter/{quote(read.parameter)}"}
    others = [_other(name) for name in sorted(contents.others)]
    files = [entity for entity in (*inputs, *outputs, *others) if not entity["@id"].startswith("#")]
    software = _workflow(record, contents) if contents.workflow else _application(record)
    tree = [_tree(record)] if contents.has_tree else []
    license_file = [{"@id": quote(contents.license)}] if contents.license else []
    parts = [*tree, *license_file, *([software] if contents.workflow else []), *files]
    specifications = ["https://w3id.org/ro/crate/1.1", *([_WORKFLOW[1][0]] if contents.workflow else [])]
    yield {
        "@id": METADATA,
        "@type": "CreativeWork",
        "about": {"@id": "./"},
        "conformsTo": _one_or_more({"@id": url} for url in specifications),
    }
    yield _root(record, contents, profiles, parts)
    for url, name, version in profiles:
        yield {"@id": url, "@type": "CreativeWork", "name": name, "version": version}
    yield {"@id": quote(contents.license) or "#license", **_license(contents.license)}
    yield from tree
    yield software
    yield {**_PROJRUN, "softwareVersion": record.platform.projrun}
    if contents.workflow:
        yield _MLPROJECT
        yield from _formal_parameters(
            record, {read.parameter: entity for read, entity in zip(record.inputs, inputs)}
        )
    yield _action(record, software["@id"], [*inputs, *values], outputs)
    yield from (*inputs, *values, *outputs, *others)


_MLPROJECT: Entity = {
    "@id": "#mlproject",
    "@type": "ComputerLanguage",
    "name": "MLproject",
    "url": "https://mlflow.org/docs/latest/ml/projects/",
}
_PROJRUN: Entity = {
    "@id": "#projrun",
    "@type": "SoftwareApplication",
    "name": "projrun",
    "description": "Runs projects in locked environments and records every run.",
}


def _root(
    record: Record, contents: Contents, profiles: Iterable[tuple[str, str, str]], parts: list[Entity]
) -> Entity:
    plan = record.plan
    return {
        "@id": "./",
        "@type": "Dataset",
        "name": f"Run {record.run_id} of {plan.project}",
        "description": (
            f"Entry point '{plan.entry_point}' of {plan.project}: {record.outcome.status}. "
            "`projrun reproduce` does it again from this bundle alone."
        ),
        "datePublished": _time(record.outcome.end_time),
        "license": {"@id": quote(contents.license) or "#license"},
        "conformsTo": _one_or_more({"@id": url} for url, _, _ in profiles),
        "hasPart": _one_or_more(map(_link, parts)),
        "mentions": {"@id": f"#{record.run_id}"},
        "mainEntity": {"@id": quote(contents.workflow)} if contents.workflow else None,
    }


def _license(file: str) -> Entity:
    if file:
        return {"@type": "File", "name": "License of the project", "encodingFormat": "text/plain"}
    return {
        "@type": "CreativeWork",
        "name": "Not stated",
        "description": "The project has no license file of its own.",
    }


def _tree(record: Record) -> Entity:
    source = record.plan.source
    changes = " with uncommitted changes" if source.dirty else ""
    return {
        "@id": f"{BUNDLE_TREE}/",
        "@type": "Dataset",
        "name": "Source",
        "description": "The files that the run started from, byte for byte.",
        "version": f"{source.commit}{changes}" if source.commit else None,
        "isBasedOn": source.repository or None,
    }


def _workflow(record: Record, contents: Contents) -> Entity:
    parameters = [{"@id": f"#parameter/{quote(name)}"} for name in record.plan.parameters]
    return {
        "@id": quote(contents.workflow),
        "@type": ["File", "SoftwareSourceCode", "ComputationalWorkflow"],
        "name": record.plan.project,
        "programmingLanguage": {"@id": "#mlproject"},
        "conformsTo": {"@id": _WORKFLOW_PROFILE},
        "input": _one_or_more(parameters),
    }


def _application(record: Record) -> Entity:
    source = record.plan.source
    return {
        "@id": "#project",
        "@type": "SoftwareApplication",
        "name": record.plan.project,
        "description": f"Entry point '{record.plan.entry_point}'",
        "url": source.repository or None,
        "softwareVersion": source.commit or source.sha256 or None,
    }


def _formal_parameters(record: Record, inputs: Mapping[str, Entity]) -> Iterator[Entity]:
    for name in record.plan.parameters:
        read = inputs.get(name)
        example = read["@id"] if read else f"#value/{quote(name)}"
        yield {
            "@id": f"#parameter/{quote(name)}",
            "@type": "FormalParameter",
            "name": name,
            "additionalType": ("Dataset" if example.endswith("/") else "File") if read else "Text",
            "conformsTo": {"@id": _PARAMETER_PROFILE},
            "workExample": {"@id": example},
        }


def _action(record: Record, instrument: str, objects: list[Entity], results: list[Entity]) -> Entity:
    plan, outcome = record.plan, record.outcome
    return {
        "@id": f"#{record.run_id}",
        "@type": "CreateAction",
        "name": f"Run of {plan.project}, entry point {plan.entry_point}",
        "description": plan.command,
        "instrument": {"@id": instrument},
        "agent": {"@id": "#projrun"},
        "startTime": _time(outcome.start_time),
        "endTime": _time(outcome.end_time),
        "actionStatus": f"http://schema.org/{_STATUS.get(outcome.status, 'FailedActionStatus')}",
        "error": outcome.reason or None,
        "object": _one_or_more(map(_link, objects)),
        "result": _one_or_more(map(_link, results)),
    }


def _values(record: Record, contents: Contents) -> Iterator[Entity]:
    """Yield the value of every parameter that names no file."""
    paths = {read.parameter for read in record.inputs}
    for name, value in record.plan.parameters.items():
        if name not in paths:
            example = {"@id": f"#parameter/{quote(name)}"} if contents.workflow else None
            entity = {"@id": f"#value/{quote(name)}", "@type": "PropertyValue", "name": name, "value": value}
            yield {**entity, "exampleOfWork": example}


def _input(read: Input, name: str | None) -> Entity:
    kind = "File" if read.files is None else "Dataset"
    about: Entity = {"name": read.value, "contentSize": str(read.size), "sha256": read.sha256}
    if name is None:
        absent = {"@type": "PropertyValue", "value": read.value}
        return {"@id": f"#input/{quote(read.parameter)}", **absent, **about, **_ABSENT}
    return {"@id": quote(name) + ("" if kind == "File" else "/"), "@type": kind, **about}


_ABSENT: Entity = {"description": "Not in this bundle: recorded by its size and digest."}


def _output(output: Output, name: str | None) -> Entity:
    about: Entity = {"name": output.path, "contentSize": str(output.size), "sha256": output.sha256 or None}
    if name is not None:
        return {"@id": quote(name), "@type": "File", **about}
    note = {"description": "The run deleted it."} if output.change == "deleted" else _ABSENT
    if output.link:
        note = {"description": f"A symbolic link to {output.link}"}
    return {"@id": f"#output/{quote(output_key(output))}", "@type": "CreativeWork", **about, **note}


_NAMES: dict[str, tuple[str, str | None]] = {
    BUNDLE_RECORD: ("The record of the run", "application/json"),
    f"{ARTIFACTS}/{PYLOCK_ARTIFACT}": ("The packages of the environment, with hashes", "application/toml"),
    f"{ARTIFACTS}/{OUTPUT_ARTIFACT}": ("What the command wrote to the terminal", "text/plain"),
}


def _other(name: str) -> Entity:
    title, form = _NAMES.get(name, (name.rpartition("/")[2], None))
    return {"@id": quote(name), "@type": "File", "name": title, "encodingFormat": form}


def _link(entity: Entity) -> Entity:
    return {"@id": entity["@id"]}


def _one_or_more(values: Iterable[Any]) -> Any:
    """Return the values as a list, a single one without a list, and None for no values."""
    # To JSON-LD a value and a list of it are the same, but validators refuse a list of one
    several = list(values)
    return several[0] if len(several) == 1 else several or None


def _time(milliseconds: int) -> str:
    moment = datetime.fromtimestamp(milliseconds / 1000, timezone.utc)
    return moment.isoformat(timespec="milliseconds")
