"""Show what a run would do, for --dry-run."""

from __future__ import annotations

from typing import Any

import msgspec

from projrun.console import one_line
from projrun.console.masking import mask_text, mask_value
from projrun.console.tables import format_pairs
from projrun.disk import Home
from projrun.environments import manager_named
from projrun.environments.environment_store import is_built
from projrun.environments.lock_store import stored_lock
from projrun.net import without_secrets
from projrun.plan import Lock, Plan, PlannedEnvironment
from projrun.request import Request
from projrun.runner.planner import make_plan
from projrun.runner.run import check
from projrun.sources import fetched
from projrun.sources.closure import Captured


class EnvironmentPreview(msgspec.Struct, frozen=True, kw_only=True):
    manager: str
    builds: bool  # False if it uses what is there
    locked: bool  # the descriptor was resolved before, so these are the versions that the run gets
    built: bool
    python: str  # exact version; empty when it is not locked
    packages: tuple[str, ...]  # `name version` of each, if it is locked


class Download(msgspec.Struct, frozen=True, kw_only=True):
    what: str
    # None when it is not known beforehand; files in the tools' own caches are counted too
    bytes: int | None = None


class Preview(msgspec.Struct, frozen=True, kw_only=True):
    plan: Any  # the plan, as JSON has it
    environment: EnvironmentPreview
    variables: tuple[str, ...]  # names of the variables that the caller gives
    downloads: tuple[Download, ...]


def make_preview(request: Request, home: Home) -> Preview:
    """Read the project and make the plan. A Git repository is fetched to the cache; nothing else is made."""
    check(request)
    with fetched(request.uri, request.version, home, offline=request.offline) as checkout:
        planned = make_plan(request, checkout, Captured(None), home)
        environment = planned.plan.environment
        builds = manager_named(environment.manager).BUILDS
        lock = stored_lock(environment, checkout.directory, home) if builds else None
    built = lock is not None and is_built(environment.manager, lock, home)
    packages = _packages(lock)
    inputs = [Download(what=without_secrets(url)) for url in planned.urls.values()]
    needed = () if built or not builds else _downloads(environment, packages, lock)
    return Preview(
        plan=mask_value(msgspec.to_builtins(planned.plan)),
        environment=EnvironmentPreview(
            manager=environment.manager,
            builds=builds,
            locked=lock is not None,
            built=built,
            python=lock.python if lock else "",
            packages=tuple(map(_name_and_version, packages)),
        ),
        variables=tuple(sorted(request.variables)),
        downloads=(*needed, *inputs),
    )


def _packages(lock: Lock | None) -> list[dict[str, Any]]:
    if lock is None or not lock.pylock:
        return []
    from projrun.documents.toml_file import parse

    packages: list[dict[str, Any]] = parse(lock.pylock, "pylock.toml").get("packages", [])
    return packages


def _downloads(
    environment: PlannedEnvironment, packages: list[dict[str, Any]], lock: Lock | None
) -> tuple[Download, ...]:
    if lock is None:
        requirements = (*environment.descriptor.build_dependencies, *environment.descriptor.dependencies)
        return tuple(Download(what=f"{line} and what it needs") for line in requirements)
    return tuple(Download(what=_name_and_version(package), bytes=_size(package)) for package in packages)


def _name_and_version(package: dict[str, Any]) -> str:
    return f"{package['name']} {package.get('version', '')}".strip()


def _size(package: dict[str, Any]) -> int | None:
    """Return the size of the smallest file in bytes: which one is chosen depends on the platform."""
    files = (*package.get("wheels", ()), package.get("sdist", {}))
    return min((file["size"] for file in files if "size" in file), default=None)


_STATES = {True: " and changes", False: "", None: " and perhaps changes"}


def format_preview(preview: Preview) -> str:
    plan = msgspec.convert(preview.plan, Plan)
    source, environment = plan.source, preview.environment
    state = "used as it is"
    if environment.builds:
        locked = f"locked with Python {environment.python}" if environment.locked else "not resolved yet"
        state = f"{locked}, {'built' if environment.built else 'not built yet'}"
    rows = [
        ("project", plan.project),
        ("source", source.uri + (f" #{source.subdirectory}" if source.subdirectory else "")),
        ("commit", f"{source.commit}{_STATES[source.dirty]}" or "none"),
        ("entry point", plan.entry_point),
        *((f"parameter {name}", value) for name, value in plan.parameters.items()),
        ("environment", f"{environment.manager}: {state}"),
        *(("variable", name) for name in preview.variables),
        ("backend", plan.backend),
        *(
            ("download", file.what if file.bytes is None else f"{file.what}, {file.bytes} bytes")
            for file in preview.downloads
        ),
    ]
    body = format_pairs((name, one_line(value)) for name, value in rows)
    return mask_text(f"{body}\ncommand:\n{plan.command}")
