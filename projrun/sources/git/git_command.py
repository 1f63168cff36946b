"""Git commands that talk to a remote: their environment, errors and repeated attempts."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from projrun.console import is_terminal, one_line, say
from projrun.disk.repository_view import QUIET, run_git
from projrun.errors import FREE_SPACE, SourceError
from projrun.net import without_credentials
from projrun.processes import Variables, git_config_variables, merge_environ
from projrun.processes.programs import ProgramResult
from projrun.sources.git.address import Address

SSH = "ssh -o ConnectTimeout=30 -o ServerAliveInterval=20"
SILENT_SSH = f"{SSH} -o BatchMode=yes"
# A credential helper with one answer, which it takes from variables: the process list does not show them.
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
        # upload-pack in a partial clone would fetch missing objects by a program that the clone names
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
    """Return variables that give git the credentials of a URL."""
    # by a helper, because the process list would show them in the URL
    if not address.user and not address.password:
        return {}
    section = f"credential.{address.origin}"
    settings = [(f"{section}.helper", HELPER)]
    if address.password:
        settings.insert(0, (f"{section}.helper", ""))  # an empty helper resets the list of the user's own
    else:
        settings.insert(0, (f"{section}.username", address.user))
    return {
        **git_config_variables(environ, settings),
        "PROJRUN_GIT_USER": address.user,
        "PROJRUN_GIT_PASSWORD": address.password,
    }


_FAILURES = (
    (r"No space left on device|Disk quota exceeded", "does not fit on the disk of the cache", FREE_SPACE),
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
    """Return an error that explains why git failed on the repository `shown`, with the line that says it."""
    for pattern, meaning, hint in _FAILURES:
        for line in answer.stderr.splitlines():
            if re.search(pattern, line, re.IGNORECASE):
                return SourceError(f"{shown} {meaning} ({_clean(line, secret)})", hint)
    return SourceError(f"git failed on {shown} ({complaint(answer, secret)})", "try the same with git itself")


def complaint(answer: ProgramResult, secret: str = "") -> str:
    """Return the line of git's stderr that says what is wrong."""
    lines = [line for line in answer.stderr.splitlines() if line.strip()] or [f"exit code {answer.code}"]
    fatal_lines = [line for line in lines if line.startswith(("fatal:", "error:"))]
    return _clean((fatal_lines or lines)[-1], secret)


def _clean(line: str, secret: str) -> str:
    line = re.sub(r"^\s*(fatal|error|remote|ssh|git): ", "", line)
    return one_line(without_credentials(line.replace(secret, "…") if secret else line), 200)


TIMEOUT_VARIABLE = "PROJRUN_GIT_TIMEOUT"
LOOK_TIMEOUT_S = 120.0  # of ls-remote
FETCH_TIMEOUT_S = 3600.0
PAUSES_S = (0.5, 1.5)  # before the second and the third attempt

_BROKEN_OFF = re.compile(
    r"early EOF|hung up|RPC failed|Connection (reset|closed)|closed by|Empty reply|unexpected disconnect"
    r"|transfer closed|bytes of body are still expected|returned error: (429|50[0234])"
    r"|curl (18|52|55|56|92)\b"
)
# Answers of the server after which another attempt is useless, although the connection broke off too
_FINAL = re.compile(
    r"returned error: 4(0\d|1\d)|Permission denied|Authentication|not found|access denied|not allowed"
)


def run_with_retries(
    address: Address,
    *arguments: str,
    cwd: Path,
    environ: Mapping[str, str],
    timeout_s: float = FETCH_TIMEOUT_S,
) -> ProgramResult:
    """Run a git command that talks to the remote, again if the connection breaks off. Raises SourceError.

    It may prompt on our terminal (`can_ask`); a command with `--progress` shows its progress there.
    """
    from projrun.documents.variables import read_number

    limit_s = read_number(TIMEOUT_VARIABLE, timeout_s)
    on_terminal = can_ask() or "--progress" in arguments
    for pause_s in (*PAUSES_S, None):
        try:
            answer = run_git(*arguments, cwd=cwd, environ=environ, timeout_s=limit_s, on_terminal=on_terminal)
        except TimeoutError:
            raise SourceError(
                f"{address.url} did not answer within {limit_s:g} s",
                f"try again later, or set {TIMEOUT_VARIABLE} to wait longer",
            ) from None
        is_transient = _BROKEN_OFF.search(answer.stderr) and not _FINAL.search(answer.stderr)
        if answer.ok or pause_s is None or not is_transient:
            return answer
        reason = complaint(answer, address.secret)
        say(f"the connection to {address.url} broke off ({reason}); trying again in {pause_s:g} s")
        time.sleep(pause_s)
    raise AssertionError("the last attempt returns")


def progress_option() -> tuple[str, ...]:
    """Return the option that shows progress on a terminal and is quiet elsewhere."""
    return ("--progress",) if is_terminal(sys.stderr) else ("--quiet",)


def remote_failure(answer: ProgramResult, address: Address) -> SourceError:
    return failure(answer, address.url, address.secret)
