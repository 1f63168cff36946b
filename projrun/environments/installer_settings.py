"""The scope of every setting that users make for pip, uv and virtualenv: when it counts, and for what.

A lock is complete, so installing it takes nothing that chooses packages or moves them elsewhere. A setting
that the table does not list is kept away like those of `never`.
"""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any, Literal

import msgspec

Scope = Literal["resolve", "always", "access", "never"]
SCOPES: Mapping[Scope, str] = {
    "resolve": "counts when a lock is resolved, is part of the lock's key, and is kept away from installing",
    "always": "names the package indexes: counts always, and is part of the lock's key",
    "access": "reaches an index, or handles files and Pythons: counts always, and changes no result",
    "never": "would change what a complete lock installs or where: kept away from resolving and installing",
}
RESOLVING: tuple[Scope, ...] = ("resolve", "always", "access")
INSTALLING: tuple[Scope, ...] = ("always", "access")
KEPT_AWAY: tuple[Scope, ...] = ("resolve", "never")
IN_KEY: tuple[Scope, ...] = ("resolve", "always")


class Setting(msgspec.Struct, frozen=True):
    """One matter, as each tool names it."""

    scope: Scope
    about: str
    pip: str = ""  # long options of pip: `[section] name` in a pip.conf, and `PIP_NAME`
    variables: str = ""  # variables of uv and virtualenv, as patterns
    uv: str = ""  # keys of uv.toml and `[tool.uv]`, at the top or in the table `pip`


SETTINGS = (
    Setting("resolve", "constraints", "constraint", "UV_CONSTRAINT", "constraint-dependencies"),
    Setting("resolve", "overrides", "", "UV_OVERRIDE", "override-dependencies"),
    Setting("resolve", "exclusions", "", "UV_EXCLUDE", "exclude-dependencies"),
    Setting(
        "resolve",
        "constraints of builds",
        "build-constraint",
        "UV_BUILD_CONSTRAINT",
        "build-constraint-dependencies",
    ),
    Setting(
        "resolve",
        "sources or wheels",
        "no-binary only-binary",
        "UV_NO_BINARY UV_NO_BINARY_PACKAGE UV_NO_BUILD UV_NO_BUILD_PACKAGE",
        "no-binary no-binary-package no-build no-build-package only-binary",
    ),
    Setting(
        "resolve",
        "which version wins",
        "pre",
        "UV_PRERELEASE UV_PRERELEASE_PACKAGE UV_RESOLUTION UV_FORK_STRATEGY",
        "prerelease prerelease-package resolution fork-strategy",
    ),
    Setting(
        "resolve",
        "the newest upload",
        "uploaded-prior-to",
        "UV_EXCLUDE_NEWER UV_EXCLUDE_NEWER_PACKAGE",
        "exclude-newer exclude-newer-package",
    ),
    Setting("resolve", "which index wins", "", "UV_INDEX_STRATEGY", "index-strategy"),
    Setting(
        "resolve",
        "builds for an accelerator",
        "",
        "UV_TORCH_BACKEND UV_CUDA_DRIVER_VERSION UV_AMD_GPU_ARCHITECTURE",
        "torch-backend",
    ),
    Setting(
        "resolve",
        "other sources and facts of packages",
        "",
        "UV_NO_SOURCES UV_NO_SOURCES_PACKAGE",
        "no-sources no-sources-package dependency-metadata config-settings config-settings-package",
    ),
    Setting("always", "the default index", "index-url", "UV_DEFAULT_INDEX UV_INDEX_URL", "index-url"),
    Setting(
        "always",
        "further indexes",
        "extra-index-url",
        "UV_INDEX UV_EXTRA_INDEX_URL",
        "index extra-index-url",
    ),
    Setting("always", "further files", "find-links", "UV_FIND_LINKS", "find-links"),
    Setting("always", "no index", "no-index", "", "no-index"),
    Setting(
        "always",
        "what builds of a source need beyond what it says",
        "",
        "",
        "extra-build-dependencies extra-build-variables",
    ),
    Setting(
        "access",
        "logins",
        "keyring-provider",
        "UV_KEYRING_PROVIDER UV_INDEX_*_USERNAME UV_INDEX_*_PASSWORD UV_CREDENTIALS_DIR UV_NO_HF_TOKEN"
        " UV_S3_ENDPOINT_URL UV_GCS_ENDPOINT_URL UV_AZURE_ENDPOINT_URL UV_API_KEY UV_AUTH_TOKEN"
        " UV_GITHUB_TOKEN",
        "keyring-provider",
    ),
    Setting(
        "access",
        "certificates",
        "cert client-cert trusted-host",
        "UV_INSECURE_HOST UV_NATIVE_TLS UV_SYSTEM_CERTS",
        "allow-insecure-host native-tls system-certs",
    ),
    Setting("access", "proxies", "proxy no-proxy-env", "", "http-proxy https-proxy no-proxy"),
    Setting(
        "access",
        "patience",
        "timeout retries resume-retries",
        "UV_HTTP_TIMEOUT UV_HTTP_CONNECT_TIMEOUT UV_REQUEST_TIMEOUT UV_HTTP_RETRIES UV_OFFLINE"
        " UV_LOCK_TIMEOUT",
        "offline",
    ),
    Setting(
        "access",
        "caches and how files are placed",
        "cache-dir no-cache-dir",
        "UV_CACHE_DIR UV_NO_CACHE UV_LINK_MODE UV_CONCURRENT_* UV_COMPILE_BYTECODE UV_NO_PROGRESS"
        " UV_COMPILE_BYTECODE_TIMEOUT VIRTUALENV_OVERRIDE_APP_DATA",
        "cache-dir no-cache link-mode concurrent-downloads concurrent-builds concurrent-installs"
        " compile-bytecode",
    ),
    Setting("access", "Git and what guards against malware", "", "UV_GIT_LFS UV_MALWARE_CHECK*"),
    Setting(
        "access",
        "Pythons that uv downloads",
        "",
        "UV_PYTHON_INSTALL_DIR UV_PYTHON_CACHE_DIR UV_*_INSTALL_MIRROR UV_PYTHON_DOWNLOADS_JSON_URL"
        " UV_ASTRAL_MIRROR_URL",
        "python-install-mirror pypy-install-mirror graalpy-install-mirror python-downloads-json-url",
    ),
    Setting(
        "never",
        "another place",
        "target prefix root user src python break-system-packages",
        "UV_SYSTEM_PYTHON UV_BREAK_SYSTEM_PACKAGES UV_PYTHON UV_MANAGED_PYTHON UV_NO_MANAGED_PYTHON"
        " UV_PYTHON_PREFERENCE UV_PYTHON_SEARCH_PATH UV_PYTHON_DOWNLOADS UV_PROJECT UV_WORKING_DIR"
        " UV_PROJECT_ENVIRONMENT",
        "target prefix system break-system-packages python python-preference python-downloads",
    ),
    Setting("never", "nothing installed", "dry-run report require-virtualenv"),
    Setting(
        "never",
        "hashes",
        "require-hashes no-require-hashes",
        "UV_REQUIRE_HASHES UV_NO_VERIFY_HASHES UV_SKIP_WHEEL_FILENAME_CHECK UV_INSECURE_NO_ZIP_VALIDATION",
        "require-hashes verify-hashes require-build-hashes",
    ),
    Setting(
        "never",
        "other packages",
        "requirement requirements-from-script editable group no-deps only-deps upgrade upgrade-strategy"
        " force-reinstall ignore-installed prefer-binary all-releases only-final refresh-package",
        "UV_NO_EDITABLE UV_DEV UV_NO_DEV UV_NO_GROUP UV_NO_DEFAULT_GROUPS UV_NO_INSTALL_*"
        " UV_ONLY_INSTALL_* UV_VENV_*",
        "no-deps extra all-extras no-extra group upgrade upgrade-package reinstall reinstall-package"
        " no-emit-package allow-empty-requirements strict",
    ),
    Setting(
        "never",
        "another platform",
        "platform python-version implementation abi ignore-requires-python",
        "",
        "python-version python-platform universal",
    ),
    Setting(
        "never",
        "how sources are built",
        "no-build-isolation config-settings use-pep517 check-build-dependencies global-option install-option",
        "UV_NO_BUILD_ISOLATION UV_REQUIRE_BUILD_HASHES",
        "no-build-isolation no-build-isolation-package",
    ),
    Setting(
        "never",
        "the tools themselves",
        "isolated use-feature use-deprecated log quiet verbose debug no-input exists-action compile"
        " no-compile progress-bar no-clean",
        "UV_CONFIG_FILE UV_NO_CONFIG UV_NO_SYSTEM_CONFIG UV_PREVIEW UV_PREVIEW_FEATURES UV_FROZEN UV_LOCKED"
        " UV_NO_SYNC UV_ISOLATED UV_NO_PROJECT UV_ENV_FILE UV_NO_ENV_FILE UV_CUSTOM_COMPILE_COMMAND"
        " UV_NO_INSTALLER_METADATA VIRTUALENV_*",
        "required-version preview preview-features output-file no-strip-extras no-strip-markers no-annotate"
        " no-header custom-compile-command generate-hashes emit-index-url emit-find-links"
        " emit-build-options emit-marker-expression emit-index-annotation annotation-style",
    ),
)


def options_of_pip(scopes: tuple[Scope, ...]) -> set[str]:
    """Return the long options of pip with one of these scopes."""
    return {name for setting in SETTINGS if setting.scope in scopes for name in setting.pip.split()}


def variable_of_pip(option: str) -> str:
    return f"PIP_{option.upper().replace('-', '_')}"


def names_of_variables(scopes: tuple[Scope, ...]) -> list[str]:
    """Return the variables of uv with one of these scopes, as far as the table names them in full."""
    patterns = " ".join(setting.variables for setting in SETTINGS if setting.scope in scopes).split()
    return sorted(name for name in patterns if name.startswith("UV_") and "*" not in name)


def variables_of(environ: Mapping[str, str], scopes: tuple[Scope, ...]) -> dict[str, str]:
    """Return the variables of uv and virtualenv in `environ` that have one of these scopes."""
    patterns = [(pattern, setting.scope) for setting in SETTINGS for pattern in setting.variables.split()]

    def scope_of(name: str) -> Scope:
        fitting = [(len(pattern), scope) for pattern, scope in patterns if fnmatchcase(name, pattern)]
        return max(fitting)[1] if fitting else "never"  # the longest pattern is the most specific

    return {name: value for name, value in environ.items() if _is_setting(name) and scope_of(name) in scopes}


def without_settings(environ: Mapping[str, str]) -> dict[str, str]:
    """Return `environ` without the variables of pip, uv and virtualenv."""
    return {name: value for name, value in environ.items() if not _is_setting(name) and name[:4] != "PIP_"}


def of_document(document: Mapping[str, Any], scopes: tuple[Scope, ...]) -> dict[str, Any]:
    """Return the settings of a uv.toml, or of `[tool.uv]`, that have one of these scopes."""
    keys = {name for setting in SETTINGS if setting.scope in scopes for name in setting.uv.split()}
    settings = {key: value for key, value in document.items() if key in keys}
    pip = document.get("pip")
    if isinstance(pip, dict) and keys.intersection(pip):
        settings["pip"] = {key: value for key, value in pip.items() if key in keys}
    return settings


def _is_setting(name: str) -> bool:
    return name.startswith(("UV_", "VIRTUALENV_"))
