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
    graph = {entity["@id"]: entity for entity in _entities(record, contents)}
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
    yield {
        "@id": METADATA,
        "@type": "CreativeWork",
        "about": {"@id": "./"},
        "conformsTo": _one_or_more(
            {"@id": "https://w3id.org/ro/crate/1.1"},
            *([{"@id": _WORKFLOW[1][0]}] if contents.workflow else []),
        ),
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
    root: Entity = {
        "@id": "./",
        "@type": "Dataset",
        "name": f"Run {record.run_id} of {plan.project}",
        "description": (
            f"Entry point '{plan.entry_point}' of {plan.project}: {record.outcome.status}. "
            "`projrun reproduce` does it again from this bundle alone."
        ),
        "datePublished": _time(record.outcome.end_time),
        "license": {"@id": quote(contents.license) or "#license"},
        "conformsTo": _one_or_more(*({"@id": url} for url, _, _ in profiles)),
        "hasPart": _one_or_more(*(_link(part) for part in parts)),
        "mentions": {"@id": f"#{record.run_id}"},
    }
    if contents.workflow:
        root["mainEntity"] = {"@id": quote(contents.workflow)}
    return root


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
    entity: Entity = {
        "@id": f"{BUNDLE_TREE}/",
        "@type": "Dataset",
        "name": "Source",
        "description": "The files that the run started from, byte for byte.",
    }
    if source.commit:
        entity["version"] = f"{source.commit}{' with uncommitted changes' if source.dirty else ''}"
    if source.repository:
        entity["isBasedOn"] = source.repository
    return entity


# what ran


def _workflow(record: Record, contents: Contents) -> Entity:
    parameters = _one_or_more(*({"@id": f"#parameter/{quote(name)}"} for name in record.plan.parameters))
    workflow: Entity = {
        "@id": quote(contents.workflow),
        "@type": ["File", "SoftwareSourceCode", "ComputationalWorkflow"],
        "name": record.plan.project,
        "programmingLanguage": {"@id": "#mlproject"},
        "conformsTo": {"@id": _WORKFLOW_PROFILE},
    }
    return {**workflow, **({"input": parameters} if record.plan.parameters else {})}


def _application(record: Record) -> Entity:
    software: Entity = {
        "@id": "#project",
        "@type": "SoftwareApplication",
        "name": record.plan.project,
        "description": f"Entry point '{record.plan.entry_point}'",
    }
    if record.plan.source.repository:
        software["url"] = record.plan.source.repository
    if version := record.plan.source.commit or record.plan.source.sha256:
        software["softwareVersion"] = version
    return software


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
    action: Entity = {
        "@id": f"#{record.run_id}",
        "@type": "CreateAction",
        "name": f"Run of {plan.project}, entry point {plan.entry_point}",
        "description": plan.command,
        "instrument": {"@id": instrument},
        "agent": {"@id": "#projrun"},
        "startTime": _time(outcome.start_time),
        "endTime": _time(outcome.end_time),
        "actionStatus": f"http://schema.org/{_STATUS.get(outcome.status, 'FailedActionStatus')}",
    }
    if outcome.reason:
        action["error"] = outcome.reason
    for name, entities in (("object", objects), ("result", results)):
        if entities:
            action[name] = _one_or_more(*(_link(entity) for entity in entities))
    return action


# what it read and wrote


def _values(record: Record, contents: Contents) -> Iterator[Entity]:
    """Yield the value of every parameter that names no file."""
    paths = {read.parameter for read in record.inputs}
    for name, value in record.plan.parameters.items():
        if name not in paths:
            entity: Entity = {
                "@id": f"#value/{quote(name)}",
                "@type": "PropertyValue",
                "name": name,
                "value": value,
            }
            if contents.workflow:
                entity["exampleOfWork"] = {"@id": f"#parameter/{quote(name)}"}
            yield entity


def _input(read: Input, name: str | None) -> Entity:
    kind = "File" if read.files is None else "Dataset"
    about: Entity = {"name": read.value, "contentSize": str(read.size), "sha256": read.sha256}
    if name is None:
        absent = {"@type": "PropertyValue", "value": read.value}
        return {"@id": f"#input/{quote(read.parameter)}", **absent, **about, **_ABSENT}
    return {"@id": quote(name) + ("" if kind == "File" else "/"), "@type": kind, **about}


_ABSENT: Entity = {"description": "Not in this bundle: recorded by its size and digest."}


def _output(output: Output, name: str | None) -> Entity:
    about: Entity = {"name": output.path, "contentSize": str(output.size)}
    if output.sha256:
        about["sha256"] = output.sha256
    if name is not None:
        return {"@id": quote(name), "@type": "File", **about}
    gone = {"description": "The run deleted it."} if output.change == "deleted" else _ABSENT
    linked = {"description": f"A symbolic link to {output.link}"} if output.link else gone
    return {"@id": f"#output/{quote(output_key(output))}", "@type": "CreativeWork", **about, **linked}


_NAMES = {
    BUNDLE_RECORD: ("The record of the run", "application/json"),
    f"{ARTIFACTS}/{PYLOCK_ARTIFACT}": ("The packages of the environment, with hashes", "application/toml"),
    f"{ARTIFACTS}/{OUTPUT_ARTIFACT}": ("What the command wrote to the terminal", "text/plain"),
}


def _other(name: str) -> Entity:
    title, form = _NAMES.get(name, (name.rpartition("/")[2], ""))
    return {"@id": quote(name), "@type": "File", "name": title, **({"encodingFormat": form} if form else {})}


def _link(entity: Entity) -> Entity:
    return {"@id": entity["@id"]}


def _one_or_more(*values: Any) -> Any:
    """Return one value without a list: to JSON-LD it is the same, but validators refuse a list of one."""
    return values[0] if len(values) == 1 else list(values)


def _time(milliseconds: int) -> str:
    moment = datetime.fromtimestamp(milliseconds / 1000, timezone.utc)
    return moment.isoformat(timespec="milliseconds")
