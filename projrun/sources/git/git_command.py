"""Running git: never with a prompt, a hook or a caller's repository in its environment."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path

from projrun.console import is_terminal, one_line
from projrun.disk.repository_view import QUIET, run_git
from projrun.errors import SourceError
from projrun.net import without_credentials
from projrun.processes import Variables, git_config_variables, merge_environ
from projrun.processes.programs import ProgramResult
from projrun.sources.git.address import Address

SSH = "ssh -o ConnectTimeout=30 -o ServerAliveInterval=20"
SILENT_SSH = f"{SSH} -o BatchMode=yes"
# A credential helper that knows one answer. The process list shows neither it nor the answer.
HELPER = (
    '!f() { test "$1" = get && '
    """printf 'username=%s\\npassword=%s\\n' "$PROJRUN_GIT_USER" "$PROJRUN_GIT_PASSWORD"; }; f"""
)


def can_ask(environ: Mapping[str, str] = os.environ) -> bool:
    """Return True where somebody could answer a prompt: on a terminal, and not in CI."""
    automatic = environ.get("CI", "").lower() not in ("", "0", "false")
    silenced = environ.get("GIT_TERMINAL_PROMPT", "1").lower() in ("0", "false", "no", "off")
    return not automatic and not silenced and is_terminal(sys.stdin) and is_terminal(sys.stderr)


def environment_for(address: Address, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the environment with which git reaches `address` and prompts only where somebody can answer."""
    protocols = ["file"] if address.is_local else ["git", "http", "https", "ssh"]
    allowed = environ.get("GIT_ALLOW_PROTOCOL")
    if allowed is not None:
        protocols = [protocol for protocol in protocols if protocol in allowed.split(":")]
    defaults: Variables = {
        "GIT_ASKPASS": environ.get("GIT_ASKPASS", ""),
        "GIT_HTTP_LOW_SPEED_LIMIT": environ.get("GIT_HTTP_LOW_SPEED_LIMIT", "1"),
        "GIT_HTTP_LOW_SPEED_TIME": environ.get("GIT_HTTP_LOW_SPEED_TIME", "60"),
        "GIT_ALLOW_PROTOCOL": ":".join(protocols),
        "GIT_TERMINAL_PROMPT": "1" if can_ask(environ) else "0",
    }
    if address.is_local:
        # its upload-pack must not fetch what a partial clone lacks, by a program of its choice
        defaults = {**defaults, "GIT_NO_LAZY_FETCH": "1"}
    result = merge_environ(environ, QUIET, defaults, _credentials(address, environ))
    if address.is_ssh and not _has_ssh_command(result):
        result["GIT_SSH_COMMAND"] = SSH if can_ask(environ) else SILENT_SSH
    return result


def _has_ssh_command(environ: Mapping[str, str]) -> bool:
    if environ.get("GIT_SSH_COMMAND") or environ.get("GIT_SSH"):
        return True
    return run_git("config", "--get", "core.sshCommand", cwd=Path("/"), environ=environ).ok


def _credentials(address: Address, environ: Mapping[str, str]) -> Variables:
    """Hand over the credentials by a helper: as part of the URL every process list would show them."""
    if not address.user and not address.password:
        return {}
    section = f"credential.{address.origin}"
    settings = [(f"{section}.helper", HELPER)]
    if address.password:
        settings.insert(0, (f"{section}.helper", ""))  # forgets the user's own helpers
    else:
        settings.insert(0, (f"{section}.username", address.user))
    return {
        **git_config_variables(environ, settings),
        "PROJRUN_GIT_USER": address.user,
        "PROJRUN_GIT_PASSWORD": address.password,
    }


_FAILURES = (
    (
        r"could not read (Username|Password)|Authentication failed|terminal prompts disabled"
        r"|Permission denied|returned error: 40[13]|Access denied|invalid credentials",
        "does not let us in",
        "check the URL, and give git access by a credential helper or a key in the ssh agent (it cannot ask)",
    ),
    (
        r"Host key verification failed|authenticity of host",
        "is on a host whose key ssh does not know",
        "connect to it once with ssh and accept its key",
    ),
    (
        r"dubious ownership",
        "belongs to another user, so git refuses to read it",
        "trust it with: git config --global --add safe.directory DIRECTORY",
    ),
    (
        r"transport '.*' not allowed|protocol '.*' is not supported",
        "needs a transport that is not allowed",
        "give an http(s), ssh or file URL, or look at GIT_ALLOW_PROTOCOL",
    ),
    (
        r"Could not resolve|Failed to connect|Connection (refused|timed out|reset|closed)"
        r"|Network is unreachable|No route to host|too slow|early EOF|hung up|RPC failed|timed out"
        r"|\b(SSL|TLS|certificate)|Empty reply",
        "cannot be reached",
        "check the URL, the network and its proxies; a commit that was fetched before, "
        "given by its full id, needs no network",
    ),
    (
        r"not appear to be a git repository|not a git repository|repository .*not found|Repository not found"
        r"|does not exist|returned error: 404|not valid: is this a git repository|No such file",
        "is not a Git repository, or not one that you may see",
        "check the URL",
    ),
)


def failure(answer: ProgramResult, shown: str, secret: str = "") -> SourceError:
    """Translate git's complaint about the repository `shown`, and quote its most telling line."""
    for pattern, meaning, hint in _FAILURES:
        for line in answer.stderr.splitlines():
            if re.search(pattern, line, re.IGNORECASE):
                return SourceError(f"{shown} {meaning} ({_clean(line, secret)})", hint)
    return SourceError(f"git failed on {shown} ({complaint(answer, secret)})", "try the same with git itself")


def complaint(answer: ProgramResult, secret: str = "") -> str:
    """Return the line of git's stderr that says what is wrong."""
    lines = [line for line in answer.stderr.splitlines() if line.strip()] or [f"exit code {answer.code}"]
    fatal = [line for line in lines if line.startswith(("fatal:", "error:"))]
    return _clean((fatal or lines)[-1], secret)


def _clean(line: str, secret: str) -> str:
    line = re.sub(r"^\s*(fatal|error|remote|ssh|git): ", "", line)
    return one_line(without_credentials(line.replace(secret, "…") if secret else line), 200)
