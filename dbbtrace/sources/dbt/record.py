"""``record_dbt``: the front door for dbt's artifacts. Never raises into the job, unless strict.

Light to import: msgspec comes with ``artifacts``, when a file is read, and pydantic when something in it is odd.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from dbbtrace.diagnostics import complain, guard, log
from dbbtrace.errors import UsageError
from dbbtrace.job.scope import current_scope
from dbbtrace.job.values import checked
from dbbtrace.model.identity import normalise_run_id
from dbbtrace.model.statuses import NODE_FAILURES
from dbbtrace.model.times import iso_utc, to_datetime, to_unix_nanos

if TYPE_CHECKING:
    from dbbtrace.sources.dbt.artifacts import Results
    from dbbtrace.sources.dbt.manifest import ManifestNode

__all__ = ["DbtInvocation", "Found", "described", "find_results", "record_dbt"]

_WITHOUT_ROWS = frozenset({"clone", "compile", "docs", "generate", "list", "ls", "parse", "show"})
"""Commands (args.which) whose artifact is not a build's: they only look at nodes, but overwrite the file too."""
_FRACTION = re.compile(r":\d\d[.,](\d{1,9})")


@dataclass(frozen=True)
class DbtInvocation:
    """What ``record_dbt`` found in an artifact."""

    file: str
    """The artifact."""
    invocation_id: str | None = None
    """dbt's own id of the invocation."""
    dbt_version: str | None = None
    """E.g. ``1.11.2``."""
    command: str | None = None
    """E.g. ``build``."""
    generated_at: datetime | None = None
    """When dbt wrote the artifact; UTC."""
    nodes: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    """How many nodes ended with each of dbt's words."""
    reason: str | None = None
    """Why no node was recorded; None when some were."""
    again: bool = False
    """This process had recorded this very artifact in this run before: its rows are the same."""

    @property
    def recorded(self) -> bool:
        """Whether nodes were recorded."""
        return self.reason is None

    @property
    def failed(self) -> int:
        """How many nodes failed: error, fail, runtime error, partial success."""
        return sum(count for word, count in self.nodes.items() if word in NODE_FAILURES)

    def __str__(self) -> str:
        name = f"dbt {self.command or ''}".strip()
        if self.reason is not None:
            return f"{name}: nothing recorded: {self.reason}"
        words = ", ".join(f"{count} {word or 'without status'}" for word, count in self.nodes.items())
        when = f", {iso_utc(to_unix_nanos(self.generated_at))}" if self.generated_at else ""
        who = f"invocation {self.invocation_id or 'unknown'}, dbt {self.dbt_version or 'unknown'}{when}"
        total = sum(self.nodes.values())
        return f"{name}: {total} {'node' if total == 1 else 'nodes'} ({words}); {who}"


def record_dbt(
    path: str | os.PathLike[str] = "target",
    *,
    manifest: str | os.PathLike[str] | None = None,
    select: str | None = None,
    not_before: object = None,
    allow_old: bool = False,
    run_id: object = None,
    data_product: str | None = None,
    environment: str | None = None,
    workspace_id: object = None,
    pipeline_id: object = None,
    pipeline_run_id: object = None,
) -> DbtInvocation:
    """Record what dbt did, from its artifact: rows of ``meta.monitoring_transformation_dbt`` for each node.

    Recorded twice, each node is still one span and has its rows once; a log line and ``again`` tell. Never raises into
    the job.

    Args:
        path: dbt's target folder, or its run_results.json; sources.json for ``dbt source freshness``; for dbt Fusion
            also the file that ``--otel-file-name`` wrote.
        manifest: manifest.json; default the one beside the results, if the same invocation wrote it. Gives
            resource types, what a node depends on, and why it was skipped.
        select: what was built (build_models); default that of the enclosing ``transformation``, else dbt's own
            selection.
        not_before: an artifact that was written earlier is refused: dbt leaves the old file where it fails early.
            Default: when this job opened, joined or began the run it is in; outside of a run, no limit.
        allow_old: take the artifact however old it is.
        run_id, data_product, environment, workspace_id: where no run is open; see ``join_run``.
        pipeline_id, pipeline_run_id: instead of those of the enclosing ``transformation``.
    """
    with guard("record dbt's results"):
        try:
            found = find_results(path, None if allow_old else _limit(not_before, run_id))
        except UsageError as error:
            _record_failure(str(error), path)
            complain(str(error))
            return DbtInvocation(str(path), reason=str(error))
        invocation = described(str(found.file), found.results, found.written_at)
        if invocation.reason is not None:
            log.warning("%s", invocation)
        if invocation.command in _WITHOUT_ROWS:
            from dbbtrace.job.finished import record_refused

            record_refused("dbt", "transformation", str(invocation.reason))
            return invocation
        from dbbtrace.job.context import scope_for
        from dbbtrace.job.finished import emit_all
        from dbbtrace.sources.dbt.build import build_spans, purpose_of_target
        from dbbtrace.sources.dbt.results import with_no_ops
        from dbbtrace.sources.dbt.terms import exclusion_of, selection_of
        from dbbtrace.tracing import runtime

        scope = scope_for(
            run_id,
            data_product=data_product,
            environment=environment,
            workspace_id=workspace_id,
            pipeline_id=pipeline_id,
            pipeline_run_id=pipeline_run_id,
            select=select,
            workload="transformation",
        )
        nodes = found.manifest(manifest)
        results = with_no_ops(found.results, nodes)
        if results is not found.results:
            invocation = described(invocation.file, results, found.written_at)
        stages = runtime.current().takes_all
        selected, exclude = scope.select or selection_of(results), exclusion_of(results)
        target = purpose_of_target(found.file.parent, selected, exclude)
        if _is_known(scope.run_id, invocation):
            invocation = replace(invocation, again=True)
            log.warning(
                "%s was recorded in this run already (written %s by dbt %s): its rows stay as they are. A dbt command "
                "that came since has not written one",
                invocation.file,
                iso_utc(found.written_at),
                invocation.command or "",
            )
        emit_all(build_spans(scope, results, nodes, written_at=found.written_at, with_stages=stages, target=target))
        log.info("recorded %s", invocation)
        return invocation
    return DbtInvocation(str(path), reason="dbbtrace failed to record it; its log says why")


def _record_failure(reason: str, path: str | os.PathLike[str]) -> None:
    """In a run: dbt left nothing that could be recorded, so it did not do what it was to do.

    Args:
        path: where it was looked for.
    """
    from dbbtrace.job.finished import emit, fact
    from dbbtrace.model import attributes as key
    from dbbtrace.sources.dbt.build import purpose_of_target
    from dbbtrace.tracing.provider import now

    scope = current_scope("transformation")
    if scope is None:
        return
    at = now()
    error = ("dbt.error", reason)
    attributes: dict[str, str] = {
        key.CICD_TASK_NAME: "dbt",
        key.CICD_TASK_RUN_RESULT: "failure",
        key.WORKLOAD: "transformation",
    }
    if isinstance(path, (str, os.PathLike)):
        named = Path(path)
        attributes[key.PART_DETAIL] = purpose_of_target(named.parent if named.suffix else named, scope.select)
    emit(
        [
            fact(
                scope,
                name="dbt",
                operation=key.OPERATION_DBT_INVOCATION,
                identity=None,
                start=at,
                end=at,
                attributes=attributes,
                error=error,
            )
        ]
    )


_recorded: dict[tuple[str, str | None, datetime | None], None] = {}
"""Which artifacts this process has recorded, by run; the newest thousand."""


def _is_known(run_id: str, invocation: DbtInvocation) -> bool:
    """Whether this process has recorded it in this run; it counts as recorded from now on."""
    which = (run_id, invocation.invocation_id, invocation.generated_at)
    known = which in _recorded
    _recorded[which] = None
    if len(_recorded) > 1000:
        _recorded.pop(next(iter(_recorded)), None)
    return known


@dataclass(frozen=True)
class Found:
    """An artifact as it was read."""

    file: Path
    results: Results
    written_at: int
    """generated_at, or when the file was last changed; nanoseconds since the Unix epoch."""

    def manifest(self, given: str | os.PathLike[str] | None) -> Mapping[str, ManifestNode]:
        """The nodes of the manifest: of the one given, which the caller vouches for, or of the one beside."""
        from dbbtrace.sources.dbt.manifest import read_manifest

        if given is not None:
            return read_manifest(Path(given), None)
        beside = self.file.with_name("manifest.json")
        if self.results.freshness or not beside.exists():
            return {}
        return read_manifest(beside, self.results.about.invocation_id)


def described(file: str, results: Results, written_at: int) -> DbtInvocation:
    """What there is to record, or why there is nothing."""
    from dbbtrace.sources.dbt.terms import command_of, status_of

    about, command = results.about, command_of(results)
    reason = None
    if command in _WITHOUT_ROWS:
        reason = f"{file} was written by dbt {command}, which builds nothing: record dbt before that runs"
    elif not results.nodes:
        reason = f"{file} holds no results: dbt selected no node, check its selection"
    return DbtInvocation(
        file=file,
        invocation_id=about.invocation_id,
        dbt_version=about.dbt_version,
        command=command or None,
        generated_at=to_datetime(written_at),
        nodes=MappingProxyType(Counter(status_of(node) for node in results.nodes) if not reason else {}),
        reason=reason,
    )


def find_results(path: str | os.PathLike[str], limit: int | None) -> Found:
    """The artifact that the path means.

    Raises:
        UsageError: it is missing, can't be read, or was written before the limit.
    """
    from dbbtrace.sources.dbt.artifacts import read_results, results_file
    from dbbtrace.sources.dbt.fusion import is_telemetry, read_telemetry
    from dbbtrace.sources.dbt.terms import moment

    try:
        file = results_file(Path(path))
    except TypeError:
        raise UsageError(f"{path!r} is not a path: name dbt's target folder or its run_results.json") from None
    results = read_telemetry(file) if is_telemetry(file) else read_results(file)
    generated_at = results.about.generated_at
    written_at = moment(generated_at)
    precision = 1
    if written_at is None:
        written_at = file.stat().st_mtime_ns
    elif generated_at is not None:
        fraction = _FRACTION.search(generated_at)
        precision = 10 ** (9 - len(fraction[1]) if fraction else 9)
    # Exactly, but for the digits that dbt left out: a second's grace would let in the file of a job just before.
    if limit is not None and written_at < limit // precision * precision:
        raise UsageError(
            f"{file} was written {iso_utc(written_at)}, before {iso_utc(limit)}: it holds what an earlier dbt did, and "
            "this one has written none; not_before= sets another limit, allow_old=True accepts it anyway"
        )
    return Found(file, results, written_at)


def _limit(not_before: object, run_id: object) -> int | None:
    """What an artifact must not be older than; None: no limit."""
    given = checked("not_before", to_unix_nanos, not_before)
    if given is not None:
        return given
    scope = current_scope("transformation")
    if scope is None or (run_id is not None and normalise_run_id(run_id) not in ("", scope.run_id)):
        return None
    return scope.began_at
