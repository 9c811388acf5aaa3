"""What a run is called, where it hangs and what it inherits: from arguments, then from the environment."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from opentelemetry.trace import Link, SpanContext, TraceFlags, get_current_span

from dbbtrace.diagnostics import log
from dbbtrace.job import propagation
from dbbtrace.job.scope import Scope, current_scope, enclosing_scope
from dbbtrace.job.values import checked, guid, text
from dbbtrace.model import identity
from dbbtrace.settings import Settings
from dbbtrace.tracing import runtime
from dbbtrace.tracing.provider import now

__all__ = ["checked_options", "make_scope", "run_id_in_environment", "run_id_of", "scope_for"]

_READERS: dict[str, Callable[[object], str]] = {
    "data_product": text,
    "environment": lambda value: text(value).upper(),
    "workspace_id": guid,
    "pipeline_id": guid,
    "pipeline_run_id": guid,
    "select": text,
}
"""What a caller may say of a run, and how it is read."""


def run_id_of(value: object) -> str:
    """The run id that the value is, as rows hold it; '' if it is not one."""
    return identity.normalise_run_id(checked("run_id", text, value))


def run_id_in_environment() -> str:
    """The run id that the settings name; '' where they name none."""
    return run_id_of(_settings().orchestration_run_id)


def checked_options(options: Mapping[str, object]) -> dict[str, str | None]:
    """The options as a scope takes them; None where one is not given, empty, or makes no sense."""
    read = {name: checked(name, _READERS[name], value) for name, value in options.items()}
    return {name: (value or "").strip() or None for name, value in read.items()}


def make_scope(run_id: object, **options: object) -> Scope:
    """Scope of a run; with a made-up run id where neither argument nor environment names one.

    Args:
        options: data_product, environment, workspace_id, pipeline_id, pipeline_run_id, select.
    """
    settings = _settings()
    in_environment = run_id_of(settings.orchestration_run_id)
    named = run_id_of(run_id) or in_environment
    manual = not named or (settings.run_by_hand and named == in_environment)
    if not named:
        named = identity.new_run_id()
        if settings.protect_gate:
            log.warning(
                "no orchestration run id was given: %s is a run by hand, and its rows leave the data product empty; "
                "DBBTRACE_PROTECT_GATE=0 keeps the data product where no platform's gate reads the rows",
                named,
            )
    inherited = {
        "data_product": _data_product(settings, named),
        "environment": settings.environment,
        "workspace_id": settings.workspace_id,
    }
    trace_id = identity.trace_id_of(named)
    parent, links = _parents(trace_id)
    scope = Scope(
        run_id=named,
        trace_id=trace_id,
        parent=parent,
        began_at=now(),
        manual=manual,
        nobodys=manual and settings.protect_gate,
        links=links,
    )
    return scope.inner(**checked_options(inherited)).inner(**checked_options(options))


def scope_for(run_id: object = None, *, workload: str | None = None, **options: object) -> Scope:
    """Scope for a fact: the current one with what is given laid over it; where the run id names another run, or no
    run is open, one joined from the arguments and the environment.

    Args:
        workload: that the fact belongs into, where no context tells.
        options: as ``make_scope`` takes them.
    """
    wanted = run_id_of(run_id)
    current = current_scope(workload) if wanted else enclosing_scope(workload)
    if current is not None and wanted in ("", current.run_id):
        return current.inner(**checked_options(options))
    return make_scope(wanted, **options)


def _settings() -> Settings:
    return runtime.current_settings()


def _data_product(settings: Settings, run_id: str) -> str | None:
    """The data product that the settings name for the run."""
    variable = "DBBTRACE_DATA_PRODUCT"
    if settings.sources.get("data_product") == variable and propagation.told_run() not in (None, run_id):
        return propagation.before(variable)  # the variable is of another run, which this process opened
    return settings.data_product


def _parents(trace_id: int) -> tuple[SpanContext, tuple[Link, ...]]:
    """Parent of what this process does in the trace, and links to other traces that led here."""
    parent = SpanContext(trace_id, identity.root_span_id(trace_id), True, TraceFlags(TraceFlags.SAMPLED))
    links: dict[tuple[int, int], Link] = {}
    for context in (propagation.handed_on(), get_current_span().get_span_context()):
        if context is None or not context.is_valid:
            continue
        if context.trace_id == trace_id:
            parent = context
        else:
            links[context.trace_id, context.span_id] = Link(context)
    return parent, tuple(links.values())
