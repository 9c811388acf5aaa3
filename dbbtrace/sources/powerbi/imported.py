"""``import_refreshes``: refreshes that others started, as sempy or Power BI's history lists them → their rows.

The service forgets after a few dozen, the table doesn't. A refresh that still runs gives no row before it has ended;
one that the table has already, in whatever run, gives no other.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dbbtrace.diagnostics import log
from dbbtrace.errors import DbbtraceError, UsageError
from dbbtrace.job.api import refresh_names
from dbbtrace.job.context import make_scope, scope_for
from dbbtrace.job.finished import emit
from dbbtrace.job.scope import Scope
from dbbtrace.model import attributes as key
from dbbtrace.model.identity import normalise_guid, normalise_run_id, refresh_identity, trace_id_of
from dbbtrace.model.times import NANOS, iso_utc, to_unix_nanos
from dbbtrace.sources.powerbi.api import from_settings, is_guid
from dbbtrace.sources.powerbi.details import Details, entries_of, read_details
from dbbtrace.sources.powerbi.spans import inner_spans, refresh_span
from dbbtrace.tracing import runtime
from dbbtrace.tracing.provider import now

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

__all__ = ["ImportedRefreshes", "import_refreshes"]

_STARTS = """SELECT process_started_at FROM meta.monitoring_semantic_model_refresh
WHERE LOWER(semantic_model_id) = ? AND status <> 'Unknown'"""
_A_SECOND = NANOS
"""Within this two starts are the same: who writes by hand rounds them, we floor them."""


@dataclass
class ImportedRefreshes:
    """What ``import_refreshes`` found."""

    recorded: int = 0
    known: int = 0
    """The table has them already."""
    running: int = 0
    """They have no row yet."""
    refused: list[str] = field(default_factory=list)
    """Why an entry could not be read: each names the field."""

    def __str__(self) -> str:
        parts = [f"{self.recorded} refresh{'' if self.recorded == 1 else 'es'} recorded"]
        if self.known:
            parts.append(f"{self.known} in the table already")
        if self.running:
            parts.append(f"{self.running} still running")
        if self.refused:
            parts.append(f"{len(self.refused)} refused")
        return ", ".join(parts)


def import_refreshes(
    refreshes: object,
    *,
    model: str,
    workspace: str,
    name: str | None = None,
    run_id: object = None,
    request_id: object = None,
    data_product: str | None = None,
    environment: str | None = None,
) -> ImportedRefreshes:
    """Record refreshes of a semantic model that are over; again, it adds nothing.

    Args:
        refreshes: what ``sempy.fabric.list_refresh_requests`` or the refresh history of Power BI's API gave, or the
            execution details of one refresh: an object, a frame or JSON text.
        model, workspace: ids or names of the model and of the workspace it lives in. Names are asked for.
        name: of the model, with its id.
        run_id: the orchestration run that the refresh belongs to. Default: each refresh counts as a run by hand of
            its own, whose run id is the request id.
        request_id: only this refresh; needed with run_id where there are several.
        data_product, environment: of the run, with run_id.

    Raises:
        UsageError: what was given makes no sense as a whole. An entry that makes no sense is in ``refused``.
        DbbtraceError: Power BI can't be asked for a name.
    """
    wanted = normalise_run_id(request_id) or None
    done, over = ImportedRefreshes(), list[Details]()
    clock = now()
    for path, entry in entries_of(refreshes):
        try:
            details = read_details(entry, now=clock, path=path)
        except UsageError as error:
            done.refused.append(str(error))
            continue
        if details.request is None and wanted is not None:
            details = details._replace(request=wanted)  # execution details do not repeat it
        if wanted not in (None, details.request):
            continue
        if details.is_over:
            over.append(details)
        else:
            done.running += 1
    if run_id is not None and len(over) > 1:
        raise UsageError(f"{len(over)} refreshes were given, and one belongs to the run: name its request id")
    place = _place_of(model, workspace, name)
    known = _known_starts(place.model) if over and run_id is None else ()
    for details in over:
        if any(abs(start - (details.start or 0)) <= _A_SECOND for start in known):
            done.known += 1
            continue
        scope = _scope(details, place, run_id, data_product, environment)
        emit(place.spans(scope, details))
        done.recorded += 1
    return done


@dataclass(frozen=True)
class _Place:
    """Which model the refreshes are of."""

    model: str
    workspace: str
    name: str | None

    def identity(self, details: Details) -> str:
        return refresh_identity(details.request or f"{self.model} {iso_utc(details.start or 0)}")

    def spans(self, scope: Scope, details: Details) -> list[ReadableSpan]:
        names = refresh_names(self.model, self.name, self.workspace, details.request, details.refresh_type)
        identity = self.identity(details)
        span = refresh_span(scope, details, names, identity=identity)
        task = str(names[key.CICD_TASK_NAME])
        assert span.context is not None
        return [span, *inner_spans(scope, details, task, identity=identity, parent=span.context)]


def _place_of(model: str, workspace: str, name: str | None) -> _Place:
    """The place, by its ids; where a name was given, as Power BI says."""
    if is_guid(model) and is_guid(workspace):
        return _Place(normalise_guid(model), normalise_guid(workspace), name)
    found = from_settings().model(workspace, model)
    return _Place(found.id, found.workspace, name or found.name)


def _scope(details: Details, place: _Place, run_id: object, data_product: str | None, environment: str | None) -> Scope:
    if run_id is not None:
        return scope_for(run_id, data_product=data_product, environment=environment, workload="consumption")
    own = details.request or f"{trace_id_of(place.identity(details)):032x}"
    # Nobody's run: the platform's gate and readiness must not take it for the newest of a data product.
    return make_scope(own, environment=environment).inner(manual=True, nobodys=True, workload="consumption")


def _known_starts(model: str) -> Collection[int]:
    """Starts of the model's refreshes that the table has; none where it can't be asked."""
    from dbbtrace.warehouse import open_warehouse

    if (runtime.current_settings().warehouse or "none").lower() == "none":
        return ()
    try:
        with open_warehouse(create=False) as warehouse:
            rows = warehouse.query(_STARTS, [model]).rows
    except DbbtraceError as error:
        log.info("the table's refreshes can't be read (%s): what it has already may be recorded again", error)
        return ()
    return [to_unix_nanos(start) for (start,) in rows if start is not None]
