"""What a run made: observed around its execution, for its record."""

from __future__ import annotations

from projrun import outputs
from projrun.digests import sha256_of_readable
from projrun.errors import TrackingError
from projrun.home import Home
from projrun.output import say, warn
from projrun.plan import Checkout
from projrun.record import Output
from projrun.rules import VerifyRules
from projrun.tracking import Store
from projrun.tracking.walk import walked
from projrun.tracking.wire import number

OWN = "projrun/"
"""Where projrun keeps its own artifacts of a run."""


class Observer:
    """Made when all is ready and the command is about to start."""

    def __init__(self, store: Store, run_id: str, checkout: Checkout, home: Home) -> None:
        self._store, self._run_id, self._root = store, run_id, checkout.root
        self._own = (home.data, home.cache)
        self._before = outputs.snapshot(self._root, self._own)
        if self._before is None:
            say(
                f"files that the run makes in its tree are not recorded: it has more than {outputs.MAX_FILES}"
            )

    def outputs(self, ended: bool, rules: VerifyRules) -> tuple[Output, ...] | None:
        """Artifacts, then files. ended: False for a run that was interrupted: nobody waits for digests."""
        try:
            try:
                return self._found(ended, rules)
            except KeyboardInterrupt:
                warn("interrupted: the record lacks the digests of what the run made")
                return (*self._artifacts(False), *self._files(False))
        except TrackingError as error:
            warn(f"what the run made is not recorded: {error}")
            return None

    def _found(self, ended: bool, rules: VerifyRules) -> tuple[Output, ...]:
        files = self._files(ended)
        if rules.outputs:
            from projrun.runner.keeping import keep

            keep(self._store, self._run_id, self._root, files, rules)
        return (*self._artifacts(ended), *files)

    def _artifacts(self, digests: bool) -> tuple[Output, ...]:
        found = sorted(
            (info.path, info.file_size or 0)
            for info in walked(self._store, self._run_id)
            if not info.path.startswith(OWN)
        )
        files = {path: self._store.artifact_file(self._run_id, path) for path, _ in found} if digests else {}
        here = {path: file for path, file in files.items() if file}
        total = sum(size for _, size in found)
        hashed = dict(zip(here, sha256_of_readable(list(here.values()), total, "taking digests of")))
        return tuple(
            Output(path=path, change="logged", size=size, sha256=hashed.get(path, "")) for path, size in found
        )

    def _files(self, digests: bool) -> tuple[Output, ...]:
        after = None if self._before is None else outputs.snapshot(self._root, self._own)
        return (
            ()
            if after is None or self._before is None
            else outputs.outputs(self._root, self._before, after, digests)
        )

    def metrics(self) -> dict[str, float | str]:
        try:
            metrics = self._store.get_run(self._run_id).metrics
        except TrackingError:
            return {}
        return {name: number(metric.value) for name, metric in sorted(metrics.items())}
