"""Translation of conda packages to requirements of PyPI, for the managers that install from there."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from projrun.errors import BuildError
from projrun.plan import Descriptor

_SPEC = re.compile(r"(?:\S+::)?(?P<name>[\w.-]+)\s*(?P<version>[^\[]*)")
_WELL_KNOWN = frozenset(("defaults", "nodefaults", "main", "anaconda", "conda-forge", "pytorch"))
# Match the version in `name[version='>=1,<2']`
_BRACKETED = re.compile(r"\[.*?\bversion\s*=\s*['\"]?([^'\"\]]+)")
_TABLE = Path(__file__).with_name("pypi_names.toml")


class PypiTranslation(msgspec.Struct, frozen=True):
    requirements: tuple[str, ...]
    notices: tuple[str, ...]


def translate_to_pypi(descriptor: Descriptor) -> PypiTranslation:
    """Return the conda packages of `descriptor` as requirements. Raises BuildError for those PyPI lacks."""
    if not descriptor.conda_dependencies:
        return PypiTranslation((), ())
    names, kinds = _read_table()
    requirements: list[str] = []
    translated: list[str] = []
    left_out: list[str] = []
    absent: list[str] = []
    for spec in descriptor.conda_dependencies:
        name, version = _split_spec(spec)
        if name in kinds["system"]:
            left_out.append(name)
        elif _is_absent(name, kinds):
            absent.append(spec)
        else:
            requirement = names.get(name, name) + convert_version(version)
            requirements.append(requirement)
            translated.append(requirement if name not in names else f"{requirement} for {name}")
    if absent:
        raise BuildError(
            f"{descriptor.file} lists conda packages that PyPI does not have: {', '.join(absent)}",
            "use --env-manager conda, or remove those that the project does without",
        )
    notices = []
    if translated:
        notices.append(f"conda packages installed from PyPI: {', '.join(translated)}")
    if left_out:
        notices.append(f"system libraries of {descriptor.file} left out: {', '.join(left_out)}")
    return PypiTranslation(tuple(requirements), tuple(notices))


def needs_conda(descriptor: Descriptor) -> bool:
    """Tell whether the descriptor has a conda lock, or packages that PyPI does not have."""
    if descriptor.conda_lock_file:
        return True
    # A private channel's package is not the package that has its name on PyPI.
    if descriptor.conda_dependencies and not _WELL_KNOWN.issuperset(descriptor.channels):
        return True
    _, kinds = _read_table()
    listed = [_split_spec(spec)[0] for spec in descriptor.conda_dependencies]
    return any(name in kinds["system"] or _is_absent(name, kinds) for name in listed)


def _read_table() -> tuple[dict[str, str], dict[str, list[str]]]:
    """Return the names that differ on PyPI, and lists of names that PyPI does not have, by kind."""
    from projrun.documents import toml_file

    table = toml_file.load(_TABLE, _TABLE.name)
    return table["names"], table["kinds"]


def _is_absent(name: str, kinds: dict[str, list[str]]) -> bool:
    return not name or name in kinds["absent"] or name.startswith(("r-", "bioconductor-", "perl-"))


def add_conda_hint(error: BuildError, descriptor: Descriptor) -> BuildError:
    """Return the error with a hint at the conda packages in it, which PyPI may have under another name."""
    if not descriptor.conda_dependencies:
        return error
    names = [re.split(r"[^\w.-]", text)[0] for text in translate_to_pypi(descriptor).requirements]
    named = [name for name in names if re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", error.message)]
    if not named:
        return error
    which = f"{', '.join(named)} {'is a conda package' if len(named) == 1 else 'are conda packages'}"
    hint = f"{which} of {descriptor.file}: install with --env-manager conda, or write what PyPI calls it"
    return BuildError(error.message, f"{hint} under pip:")


def _split_spec(spec: str) -> tuple[str, str]:
    match = _SPEC.match(spec.strip())
    if match is None:
        return "", ""
    bracketed = _BRACKETED.search(spec)
    return match["name"].lower(), bracketed[1] if bracketed else match["version"].strip()


def convert_version(version: str) -> str:
    """Return a conda version as PEP 440: `=1.2` is any 1.2, `==1.2=build` and `1.2=build` are exactly 1.2."""
    if "|" in version:
        raise BuildError(f"the conda version '{version}' has alternatives, which PyPI cannot say", "pin one")
    text = re.sub(r"\s*([,<>=!~])\s*", r"\1", version.strip())
    if not text or text == "*":
        return ""
    if text[0].isdigit() or re.match(r"=[^=]", text):
        return _convert_single(text)
    # a build string after the version: `==1.2=py38_0`, or `>=1.2 py38_0`
    parts = [re.sub(r"(?<=[\w.*])(=|\s).*$", "", part) for part in text.split(",")]
    return ",".join(part if part[0] in "<>=!~" else _convert_single(part) for part in parts if part)


def _convert_single(text: str) -> str:
    fuzzy = text.startswith("=")
    number, *build = re.split(r"[=\s]", text.lstrip("="))
    if number.endswith("*"):
        return f"=={number.rstrip('.*')}.*"
    return f"=={number}.*" if fuzzy and not build else f"=={number}"
