"""Every setting of Git's documentation (2.39) that names a program or a file, and where it can stand."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tests.support.git_server import run_git


class Setting(NamedTuple):
    documented: str
    """As `git help -c` has it."""
    value: str = "{run}"
    """`{run}`: a command that leaves a canary. `{settings}`, `{attributes}`: files that lead to one."""
    beside: tuple[tuple[str, str], ...] = ()
    """Other settings without which it has no effect."""

    @property
    def key(self) -> str:
        head, _, rest = self.documented.partition("<")
        name, _, tail = rest.partition(">")
        known = {"condition": "gitdir:/**", "base": "ext::{run} ", "cmd": "status", "tool": "vimdiff"}
        inside = known.get(name, "ssh" if name == "format" else "evil") if rest else ""
        return f"{head}{inside}{tail}".replace("*", "evil")


PROMISOR = (
    ("core.repositoryFormatVersion", "1"),
    ("extensions.partialClone", "evil"),
    ("remote.evil.promisor", "true"),
    ("remote.evil.partialclonefilter", "blob:none"),
)
SIGNED = (("log.showSignature", "true"), ("merge.verifySignatures", "true"))
SETTINGS = (
    Setting("alias.*", "!{run}"),
    Setting("browser.<tool>.cmd"),
    Setting("browser.<tool>.path"),
    Setting("core.alternateRefsCommand"),
    Setting("core.askPass"),
    Setting("core.attributesFile", "{attributes}", (("filter.evil.clean", "{run}"),)),
    Setting("core.editor"),
    Setting("core.excludesFile", "{attributes}"),
    Setting("core.fsmonitor"),
    Setting("core.gitProxy"),
    Setting("core.hooksPath", "{hooks}"),
    Setting("core.pager", "{run}", (("pager.status", "true"), ("pager.show", "true"))),
    Setting("core.sshCommand", "{run}", (*PROMISOR, ("remote.evil.url", "ssh://localhost/x"))),
    Setting("core.worktree", "{directory}"),
    Setting("credential.helper", "!{run}", (*PROMISOR, ("remote.evil.url", "http://127.0.0.1:9/x"))),
    Setting("credential.<url>.*", "!{run}"),
    Setting("diff.<driver>.command"),
    Setting("diff.<driver>.textconv"),
    Setting("diff.external"),
    Setting("diff.guitool"),
    Setting("diff.orderFile", "{attributes}"),
    Setting("diff.tool"),
    Setting("difftool.<tool>.cmd"),
    Setting("difftool.<tool>.path"),
    Setting("extensions.worktreeConfig", "true", (("filter.evil.clean", "{run}"),)),
    Setting("filter.<driver>.clean"),
    Setting("filter.<driver>.process", "{run}", (("filter.evil.required", "true"),)),
    Setting("filter.<driver>.smudge"),
    Setting("gpg.<format>.program", "{run}", (*SIGNED, ("gpg.format", "ssh"))),
    Setting("gpg.program", "{run}", SIGNED),
    Setting("gpg.ssh.defaultKeyCommand", "{run}", SIGNED),
    Setting("guitool.<name>.cmd"),
    Setting("help.browser"),
    Setting("imap.tunnel"),
    Setting("include.path", "{settings}"),
    Setting("includeIf.<condition>.path", "{settings}"),
    Setting("init.templateDir", "{directory}"),
    Setting("instaweb.browser"),
    Setting("instaweb.httpd"),
    Setting("interactive.diffFilter"),
    Setting("log.showSignature", "true", (("gpg.program", "{run}"),)),
    Setting("man.<tool>.cmd"),
    Setting("man.<tool>.path"),
    Setting("man.viewer"),
    Setting("merge.<driver>.driver"),
    Setting("merge.guitool"),
    Setting("merge.tool"),
    Setting("mergetool.<tool>.cmd"),
    Setting("mergetool.<tool>.path"),
    Setting("pager.<cmd>"),
    Setting("protocol.<name>.allow", "always", (*PROMISOR, ("remote.evil.url", "ext::{run} x"))),
    Setting("protocol.allow", "always", (*PROMISOR, ("remote.evil.url", "ext::{run} x"))),
    Setting("remote.<name>.receivepack", "{run}", (*PROMISOR, ("remote.evil.url", "/"))),
    Setting("remote.<name>.uploadpack", "{run}", (*PROMISOR, ("remote.evil.url", "/"))),
    Setting("remote.<name>.vcs", "ext", (*PROMISOR, ("protocol.allow", "always"))),
    Setting("sendemail.ccCmd"),
    Setting("sendemail.smtpServer"),
    Setting("sendemail.tocmd"),
    Setting("sequence.editor"),
    Setting("submodule.<name>.update", "!{run}"),
    Setting("uploadpack.packObjectsHook"),
    Setting("url.<base>.insteadOf", "/", (*PROMISOR, ("protocol.allow", "always"), ("remote.evil.url", "/"))),
    Setting("url.<base>.pushInsteadOf", "/", (("protocol.allow", "always"),)),
    Setting("web.browser"),
)
UNDOCUMENTED = (
    Setting("trailer.evil.command"),
    Setting("trailer.evil.cmd"),
    Setting("lfs.extension.evil.clean"),
    Setting("lfs.customtransfer.evil.path"),
    Setting("sendemail.sendmailCmd"),
)
"""Of other pages of the documentation, and of Git LFS."""
SUSPICIOUS = (
    r"(?i)command|cmd|program|helper|driver|editor|pager|hook|textconv|external|filter|clean$|smudge|process|path$|file$"
    r"|browser|httpd|alias|include|template|vcs|pack$|askpass|insteadof|\.allow$|worktree$|fsmonitor|viewer|tunnel"
    r"|target$|submodule.*update$|tool$|proxy$|smtpserver$|credential\.<"
)
"""What a setting is called that may name a program or a file."""
HARMLESS = {
    *("advice.addIgnoredFile", "advice.updateSparsePath", "advice.waitingForEditor", "commit.template"),
    *("credential.useHttpPath", "gui.newBranchTemplate", "guitool.<name>.needsFile"),
    *("push.useForceIfIncludes", "rebase.abbreviateCommands", "stash.showIncludeUntracked"),
    *("blame.ignoreRevsFile", "color.pager", "color.branch.worktree", "completion.commands", "column.clean"),
    *(
        "clone.filterSubmodules",
        "commitGraph.maxNewFilters",
        "core.quotePath",
        "gitcvs.dbDriver",
        "gitcvs.logFile",
    ),
    *("core.fsmonitorHookVersion", "fsmonitor.allowRemote", "fsmonitor.socketDir", "notes.rewrite.<command>"),
    *(
        "diff.<driver>.binary",
        "diff.<driver>.cachetextconv",
        "diff.<driver>.wordRegex",
        "diff.<driver>.xfuncname",
    ),
    *(
        "merge.<driver>.name",
        "merge.<driver>.recursive",
        "remote.<name>.partialclonefilter",
        "format.signatureFile",
    ),
    *(
        "fsck.gitmodulesPath",
        "receive.fsck.gitmodulesPath",
    ),
    *("gpg.ssh.allowedSignersFile", "gpg.ssh.revocationFile", "help.htmlPath", "instaweb.modulePath"),
    *("http.cookieFile", "http.sslCAPath", "mailmap.file", "http.proxy", "remote.<name>.proxy"),
    *(
        "sendemail.aliasFileType",
        "sendemail.aliasesFile",
        "sendemail.smtpsslcertpath",
    ),
    *(
        "trace2.eventTarget",
        "trace2.normalTarget",
        "trace2.perfTarget",
    ),
    *("uploadpack.allowFilter", "uploadpackfilter.allow", "uploadpackfilter.<filter>.allow"),
    *(
        "uploadpackfilter.tree.maxDepth",
        "advice.ignoredHook",
    ),
}
"""Those among them that nothing follows but their own commands, or that only the user's own files can set."""


def tree(place: Path) -> Path:
    """A project in a repository whose files all have a filter; one of them must be read to compare it."""
    place.mkdir(parents=True)
    run_git("init", "--quiet", cwd=place)
    (place / "MLproject").write_text("name: looked\nentry_points: {main: {command: 'true'}}\n")
    (place / ".gitattributes").write_text("* filter=evil diff=evil merge=evil\n")
    (place / "data").write_text("data\n")
    run_git("add", "--all", cwd=place)
    run_git("commit", "--quiet", "-m", "first", cwd=place)
    (place / "data").write_text("DATA\n")  # of the same size: git must read it
    return place


def _in_config(place: Path) -> tuple[Path, Path]:
    return tree(place), place / ".git/config"


def _in_an_included_file(place: Path) -> tuple[Path, Path]:
    run_git("config", "include.path", "../more", cwd=tree(place))
    return place, place / "more"


def _behind_a_git_file(place: Path) -> tuple[Path, Path]:
    elsewhere = place.with_name("elsewhere")
    shutil.move(tree(place) / ".git", elsewhere)
    (place / ".git").write_text(f"gitdir: {elsewhere}\n")
    return place, elsewhere / "config"


def _in_a_worktrees_config(place: Path) -> tuple[Path, Path]:
    first = tree(place.with_name("first"))
    run_git("config", "core.repositoryFormatVersion", "1", cwd=first)
    run_git("config", "extensions.worktreeConfig", "true", cwd=first)
    run_git("worktree", "add", "--quiet", "--detach", str(place), cwd=first)
    (place / "data").write_text("DATA\n")  # of the same size: git must read it
    return place, first / ".git/worktrees" / place.name / "config.worktree"


def _in_a_submodule(place: Path) -> tuple[Path, Path]:
    inner = tree(tree(place) / "inner")
    (place / "data").write_text("data\n")
    (place / ".gitmodules").write_text('[submodule "inner"]\n\tpath = inner\n\turl = ./inner\n')
    run_git("-c", "advice.addEmbeddedRepo=false", "add", "--all", cwd=place)
    run_git("commit", "--quiet", "-m", "submodule", cwd=place)
    return place, inner / ".git/config"


PLACES: dict[str, Callable[[Path], tuple[Path, Path]]] = {
    "config": _in_config,
    "include": _in_an_included_file,
    "git-file": _behind_a_git_file,
    "worktree": _in_a_worktrees_config,
    "submodule": _in_a_submodule,
}
"""Where a setting can stand: each makes a project and returns it with its file of settings."""


def plant(setting: Setting, file: Path, canaries: Path) -> None:
    """Write the setting into the file. What it starts leaves a file in `canaries` that is named like it."""
    hooks = canaries.with_name("hooks")
    hooks.mkdir(exist_ok=True)
    name = setting.documented.replace("<", "").replace(">", "").replace("*", "x")
    run = f"{hooks}/{name}"
    Path(run).write_text(f"#!/bin/sh\ntouch '{canaries}/{name}'\nexit 1\n")
    Path(run).chmod(0o755)
    for hook in ("post-index-change", "reference-transaction", "post-checkout", "fsmonitor-watchman"):
        shutil.copy(run, hooks / hook)
    settings, attributes = hooks / f"{name}.settings", hooks / f"{name}.attributes"
    settings.write_text(f'[filter "evil"]\n\tclean = {run}\n')
    attributes.write_text("* filter=evil\n")
    words = {"run": run, "settings": settings, "attributes": attributes, "hooks": hooks, "directory": hooks}
    for key, value in ((setting.key, setting.value), *setting.beside):
        run_git("config", "--file", str(file), "--add", key.format(**words), value.format(**words))
