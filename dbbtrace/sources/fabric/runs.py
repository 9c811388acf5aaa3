"""``import_run``: a whole pipeline run, from the service or from saved responses, into spans and rows.

Run again, it adds nothing: every span has the identity of its activity run. A run that still goes on is taken as far as
it is.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from opentelemetry.sdk.trace import ReadableSpan

from dbbtrace.diagnostics import is_strict, log
from dbbtrace.errors import DbbtraceError, RunFailedError, TransientError, UsageError
from dbbtrace.job.context import make_scope
from dbbtrace.job.finished import emit_all
from dbbtrace.job.parts import record_link
from dbbtrace.model import identity as identities
from dbbtrace.model.statuses import RUNNING, SUCCEEDED
from dbbtrace.sources.fabric.build import Build
from dbbtrace.sources.fabric.ending import judgement, outcome_of, root_of
from dbbtrace.sources.fabric.rules import Rules, captured, read_rules
from dbbtrace.sources.fabric.saved import SavedResponses
from dbbtrace.sources.fabric.service import Service
from dbbtrace.sources.fabric.walk import Child, PipelineRun, Walk
from dbbtrace.tracing import runtime
from dbbtrace.tracing.provider import now

__all__ = ["ImportedRun", "Importer", "children_of", "import_run"]

_BATCH = 250
"""Spans that are handed over together."""
_POLL = 15.0
_LAG = 60.0
"""Seconds that the service gets to list what ended before the closing activity began."""


@dataclass(frozen=True)
class ImportedRun:
    """What ``import_run`` found."""

    run_id: str
    """The orchestration run id, as rows hold it."""
    status: str
    """Succeeded, Failed, Cancelled, or Running."""
    reason: str | None = None
    """Why it failed; or what the closing activity did not wait for."""
    loads: int = 0
    """Table loads that have a row."""
    failed: int = 0
    """Loads and refreshes that failed."""
    not_started: int = 0
    """Loads that were planned, and whose Copy never started."""
    refreshes: int = 0
    steps: int = 0
    """Activities that are neither."""
    reasons: tuple[str, ...] = ()
    """What could not be read, each with the name of what it is about."""

    @property
    def is_over(self) -> bool:
        """Whether the run has ended."""
        return self.status != RUNNING

    def __str__(self) -> str:
        loads = f"{self.loads} load{'' if self.loads == 1 else 's'}"
        failed = f", {self.failed} failed" if self.failed else ""
        refreshes = f"{self.refreshes} refresh{'' if self.refreshes == 1 else 'es'}"
        others = f"{self.steps} other activit{'y' if self.steps == 1 else 'ies'}"
        return f"{self.run_id} {self.status}: {loads}, {refreshes}{failed}; {others}"


def import_run(
    run_id: object = None,
    *,
    workspace_id: object = None,
    pipeline_id: object = None,
    file: str | Path | None = None,
    orchestration_run_id: object = None,
    children: Mapping[str, str] | None = None,
    rules: str | Path | None = None,
    data_product: str | None = None,
    environment: str | None = None,
    repairs: object = None,
    follow: bool = False,
    poll: float = _POLL,
    raise_on_failure: bool = False,
) -> ImportedRun:
    """Import a pipeline run with everything below it: spans with the service's own times, and their rows.

    Run again, it adds nothing. Where the run has ended, this waits at most DBBTRACE_ROWS_TIMEOUT seconds until its rows
    are in the warehouse, and it was compared with earlier ones. Never raises into the job, unless ``raise_on_failure``
    says so.

    Args:
        run_id: of the pipeline; default: the orchestration run that the settings name, or the only run in ``file``.
        workspace_id: the pipeline's workspace; default: the one that the settings name.
        pipeline_id: id of the pipeline; otherwise it is asked for.
        file: saved responses, instead of asking the service: a JSON file, or a folder of them.
        orchestration_run_id: the run that the rows belong to, where ``run_id`` is only a part of it.
        children: activity or pipeline name → run id, or ``workspace/run id``, of what it invoked, where no output
            tells.
        rules: a file with rules; default: the setting fabric_rules.
        data_product: default: what the orchestration pipeline's name says.
        environment: TST, ACC, QUAL or PRD; default: as the settings say.
        repairs: run id of the run that this one makes right.
        follow: go on until the run has ended, asking every ``poll`` seconds.
        raise_on_failure: for the last activity of the pipeline: everything else in it has ended, and where an activity
            failed that the rules don't allow to, this fails too, so that the pipeline stays failed.

    Raises:
        RunFailedError: the run failed, or could not be read; only with ``raise_on_failure``.
    """
    try:
        importer = Importer(
            run_id,
            workspace_id=workspace_id,
            pipeline_id=pipeline_id,
            file=file,
            orchestration_run_id=orchestration_run_id,
            children=children,
            rules=rules,
            data_product=data_product,
            environment=environment,
            repairs=repairs,
            closing=raise_on_failure,
        )
        done = importer.follow(poll) if follow else importer.closed() if raise_on_failure else importer.once()
    except DbbtraceError as error:
        if is_strict():
            raise
        if raise_on_failure:
            raise RunFailedError(f"the run could not be read, so that nobody knows how it ended: {error}") from error
        log.warning("the run can't be imported: %s", error)
        return ImportedRun(identities.normalise_run_id(run_id), RUNNING, reasons=(str(error),))
    for reason in done.reasons:
        log.warning("import of %s: %s", done.run_id, reason)
    if done.is_over:
        runtime.end_run(done.run_id)
    elif raise_on_failure:
        runtime.current().flush_at_end_of_run()
    if raise_on_failure:
        if done.status not in (SUCCEEDED, RUNNING):
            raise RunFailedError(f"the run {done.run_id} {done.status.lower()}: {done.reason}")
        if not done.is_over:  # a branch that it does not depend on
            log.warning("the run %s is not over, so that its end is not recorded: %s", done.run_id, done.reason)
    return done


def children_of(given: Mapping[str, str] | None) -> dict[str, Child]:
    """Name → where its run is.

    Raises:
        UsageError: a value is no run id.
    """
    found = {}
    for name, value in (given or {}).items():
        workspace, _, run_id = str(value).rpartition("/")
        if not run_id.strip():
            raise UsageError(f"child {name} = {value!r}: write RUN or WORKSPACE/RUN")
        found[name] = Child(identities.normalise_guid(run_id), identities.normalise_guid(workspace) or None)
    return found


class Importer:
    """Imports one run, once or until it has ended. Arguments: see ``import_run``.

    Args:
        service: instead of the one that the settings name.

    Raises:
        UsageError: no run or workspace is named, or an argument makes no sense.
    """

    def __init__(
        self,
        run_id: object = None,
        *,
        workspace_id: object = None,
        pipeline_id: object = None,
        file: str | Path | None = None,
        orchestration_run_id: object = None,
        children: Mapping[str, str] | None = None,
        rules: str | Path | Rules | None = None,
        data_product: str | None = None,
        environment: str | None = None,
        repairs: object = None,
        closing: bool = False,
        service: Service | None = None,
    ) -> None:
        settings = runtime.current_settings()
        self._rules = rules if isinstance(rules, Rules) else read_rules(rules or settings.fabric_rules)
        self._children = children_of(children)
        saved = SavedResponses(file) if file is not None else None
        self._run_id = identities.normalise_run_id(run_id)
        if not self._run_id:
            self._run_id = (
                saved.only_run() if saved else identities.normalise_run_id(settings.orchestration_run_id)
            ) or ""
        if not self._run_id:
            raise UsageError("which run is to be imported? Name its run id")
        self._workspace = identities.normalise_run_id(workspace_id) or settings.workspace_id or ""
        if not self._workspace and saved is None:
            raise UsageError("in which workspace is the run? Name it, or set DBBTRACE_WORKSPACE_ID")
        self._pipeline = identities.normalise_run_id(pipeline_id) or None
        self._of = identities.normalise_run_id(orchestration_run_id) or self._run_id
        self._options = {"data_product": data_product, "environment": environment}
        self._repairs = identities.normalise_run_id(repairs) or None
        self._closing = closing
        if service is None:
            from dbbtrace.sources.fabric.http import from_settings

            service = saved if saved is not None else from_settings()
        self._service = service
        self._known: set[int] = set()
        """Spans that this importer has emitted."""
        self._settled: dict[str, PipelineRun] = {}
        self._has_ended = False
        """Nothing more comes of the run."""

    def follow(
        self,
        poll: float = _POLL,
        progress: Callable[[ImportedRun], None] | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> ImportedRun:
        """Import until the run has ended; a service that can't answer now is asked again."""
        while True:
            try:
                done = self.once()
            except TransientError as error:
                log.warning("the run can't be read now, and is asked for again: %s", error)
            else:
                if progress is not None:
                    progress(done)
                if self._has_ended:
                    return done
            sleep(poll)

    def closed(self, sleep: Callable[[float], None] = time.sleep) -> ImportedRun:
        """Import the run as its last activity does: the service may list a little late how the others ended.

        Raises:
            DbbtraceError: it can't be read.
        """
        waited, pause = 0.0, 1.0
        while True:
            done = self.once()
            if self._has_ended or waited >= _LAG:
                return done
            sleep(pause)
            waited, pause = waited + pause, min(2 * pause, 10.0)

    def once(self) -> ImportedRun:
        """Import the run as far as it is.

        Raises:
            DbbtraceError: it can't be read.
        """
        clock = now()
        walk = Walk(self._service, self._rules, self._children, now=clock, closing=self._closing, settled=self._settled)
        top = walk.top(self._workspace, self._run_id, self._pipeline)
        product = self._options["data_product"] or self._product(top)
        scope = make_scope(
            self._of,
            data_product=product,
            environment=self._options["environment"],
            workspace_id=self._workspace,
        )
        if self._repairs is not None:
            record_link(scope, self._repairs, clock)
            self._repairs = None  # said
        build = Build(scope, self._rules, walk, clock, rows_only=not runtime.current().takes_all)
        emit_all(_batches(self._new(build.spans(top))))
        status, reason = outcome_of(top, self._rules, closing=self._closing)
        self._has_ended = top.is_over
        if top.is_over:
            emit_all(_batches(self._new(judgement(scope, top, walk.reasons, clock))))
            if scope.run_id == self._run_id and runtime.current().delivery.claim(f"root-{scope.trace_id:032x}"):
                emit_all(_batches(self._new(iter([root_of(scope, top, reason, clock)]))))
        counts = build.counts
        return ImportedRun(
            scope.run_id,
            status,
            reason,
            loads=counts["loads"],
            failed=counts["failed"],
            not_started=counts["not started"],
            refreshes=counts["refreshes"],
            steps=counts["steps"],
            reasons=tuple(f"{name}: {why}" for name, why in walk.reasons.items()),
        )

    def _product(self, top: PipelineRun) -> str | None:
        names = self._rules("fields", "data_product")
        said = (run.parameters.text(*names) for run in top.all())
        return captured(top.name, self._rules("pipelines", "orchestration")) or next(filter(None, said), None)

    def _new(self, spans: Iterator[ReadableSpan]) -> Iterator[ReadableSpan]:
        for span in spans:
            assert span.context is not None
            if span.context.span_id not in self._known:
                self._known.add(span.context.span_id)
                yield span


def _batches(spans: Iterator[ReadableSpan]) -> Iterator[Sequence[ReadableSpan]]:
    while batch := list(islice(spans, _BATCH)):
        yield batch
