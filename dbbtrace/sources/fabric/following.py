"""The orchestration runs of a workspace, imported as they come: for pipelines that hold no notebook of ours."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

from dbbtrace.diagnostics import log
from dbbtrace.errors import DbbtraceError, UsageError
from dbbtrace.model.identity import normalise_run_id
from dbbtrace.model.times import NANOS
from dbbtrace.sources.fabric.fields import Fields
from dbbtrace.sources.fabric.rules import captured, read_rules
from dbbtrace.sources.fabric.runs import ImportedRun, Importer
from dbbtrace.sources.fabric.service import Service
from dbbtrace.tracing import runtime
from dbbtrace.tracing.provider import now

__all__ = ["Follower"]


class Follower:
    """Asks for the runs of a workspace's orchestration pipelines, and imports each until it has ended.

    Args:
        workspace_id: default: the one that the settings name.
        hours: how long ago a run may have started; what ended before is not imported again.
        rules, environment: as in ``import_run``.
        service: instead of the one that the settings name.

    Raises:
        UsageError: no workspace is named, or an argument makes no sense.
    """

    def __init__(
        self,
        workspace_id: object = None,
        *,
        hours: float = 24.0,
        rules: str | Path | None = None,
        environment: str | None = None,
        service: Service | None = None,
    ) -> None:
        settings = runtime.current_settings()
        self._workspace = normalise_run_id(workspace_id) or settings.workspace_id or ""
        if not self._workspace:
            raise UsageError("which workspace is to be followed? Name it, or set DBBTRACE_WORKSPACE_ID")
        self._rules = read_rules(rules or settings.fabric_rules)
        self._environment = environment
        self._hours = hours
        if service is None:
            from dbbtrace.sources.fabric.http import from_settings

            service = from_settings()
        self._service = service
        self._importers: dict[str, Importer] = {}
        self._ended: set[str] = set()
        self._said: dict[str, str] = {}
        """Run, or '' for the workspace → what was last said of it."""

    def once(self) -> Iterator[ImportedRun]:
        """Import what is new of each run. A run that can't be read costs only itself.

        Raises:
            DbbtraceError: the workspace can't be read.
        """
        since = now() - int(self._hours * 3600 * NANOS)
        pipelines = self._service.pipelines(self._workspace)
        for name, item in pipelines.items():
            if captured(name, self._rules("pipelines", "orchestration")) is None:
                continue
            for job in map(Fields, self._service.jobs(self._workspace, item)):
                run_id = normalise_run_id(job.text("id"))
                start = job.moment("startTimeUtc")
                if not run_id or run_id in self._ended or start is None or start < since:
                    continue
                importer = self._importers.get(run_id)
                if importer is None:
                    importer = self._importers[run_id] = Importer(
                        run_id,
                        workspace_id=self._workspace,
                        pipeline_id=item,
                        rules=self._rules,
                        environment=self._environment,
                        service=self._service,
                    )
                try:
                    done = importer.once()
                except DbbtraceError as error:
                    self._say(run_id, f"the run {run_id} can't be read now, and is asked for again: {error}")
                    continue
                self._said.pop(run_id, None)
                if done.is_over:
                    self._ended.add(run_id)
                    del self._importers[run_id]
                    runtime.end_run(done.run_id)
                yield done

    def run(
        self,
        progress: Callable[[ImportedRun], None],
        *,
        poll: float = 30.0,
        until: Callable[[], bool] = lambda: False,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Go on, asking every ``poll`` seconds, until ``until`` says so."""
        while True:
            try:
                for done in self.once():
                    progress(done)
                self._said.pop("", None)
            except DbbtraceError as error:
                self._say("", f"the workspace can't be read now, and is asked for again: {error}")
            if until():
                return
            sleep(poll)

    def _say(self, about: str, what: str) -> None:
        """One log line, until there is something else to say."""
        if self._said.get(about) != what:
            self._said[about] = what
            log.warning("%s", what)
