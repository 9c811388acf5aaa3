"""Puts provider, delivery and exporters together, once a process.

``configure()`` says where rows and spans go; ``runtime`` holds what is in force. A backend that is down, or
settings that make no sense, never raise into the job: spans wait in the journal. Exporters are reached by
OpenTelemetry entry point, never by import.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from dbbtrace.access.fixed import fix_identity
from dbbtrace.diagnostics import is_strict, log, set_strict
from dbbtrace.errors import ConfigurationError, UsageError
from dbbtrace.model import attributes as key
from dbbtrace.model.destinations import UNRESOLVED, exporter_name, otlp_name, warehouse_name
from dbbtrace.model.masking import masked, set_masking
from dbbtrace.model.parts import gives_rows
from dbbtrace.settings import DEFAULT_WAREHOUSE, NO_DIRECTORY, Settings, read
from dbbtrace.tracing import runtime
from dbbtrace.tracing.provider import Foreign, Provider
from dbbtrace.tracing.runtime import Runtime

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.export import SpanExporter

    from dbbtrace.access.credentials import AccessToken as Credentials
    from dbbtrace.delivery import Destination

__all__ = [
    "AccessToken",
    "configure",
    "destinations",
    "exporter_named",
    "flush",
    "gives_rows",
    "resolve",
    "shutdown",
    "takes_spans",
]

AccessToken = str | Callable[[], str]
"""A token for ``https://database.windows.net/.default``, or a function that gives a fresh one."""

_EXPORTERS = "opentelemetry_traces_exporter"
_lock = threading.RLock()
# A fork takes the locks of modules in the reverse order of their imports, and a thread that opens its first run takes
# those of ``job`` before this one: so this module is imported before them, and imports nothing of ``job``.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release)
_provider: Provider | None = None


def configure(
    *,
    warehouse: str | None = None,
    access_token: AccessToken | None = None,
    fabric_token: Credentials | None = None,
    exporters: Sequence[SpanExporter] = (),
    journal_dir: str | os.PathLike[str] | None = None,
    rows_timeout: float | None = None,
    strict: bool | None = None,
    **settings: object,
) -> None:
    """Say where rows and spans go. All of it may come from the environment; calling it again is harmless.

    Args:
        warehouse: DBBTRACE_WAREHOUSE: ``sqlite:///file.db``, an ODBC connection string, ``mssql://server/database``,
            or ``none``.
        access_token: for ``mssql://``: a token, or a function that gives one for each new connection.
        fabric_token: for Fabric's and Power BI's API: a token, a function that gives a new one, or a credential of
            azure-identity.
            Default: the notebook's, otherwise azure-identity's, with the AZURE_* variables as they are now.
        exporters: further OpenTelemetry span exporters that get every span.
        journal_dir: DBBTRACE_JOURNAL_DIR.
        rows_timeout: DBBTRACE_ROWS_TIMEOUT; seconds that the end of a run waits for its rows.
        strict: DBBTRACE_STRICT; raise what is otherwise logged. For tests.
        settings: any other of ``dbbtrace.settings.SETTINGS`` by name.

    Never raises because a backend is down. With other arguments than before, later spans take the new road and open
    ones end where they began.

    Raises:
        UsageError: a setting makes no sense, only when strict; otherwise it is ignored, and a log line says so.
    """
    arguments = {
        **settings,
        "warehouse": warehouse,
        "journal_dir": journal_dir,
        "rows_timeout": rows_timeout,
        "strict": strict,
    }
    exporters = _as_several(exporters)
    fix_identity()
    with _lock:
        before = runtime.installed()
        if strict is not None and not (before and before.held):
            set_strict(strict)
        resolved = _read(arguments)
        if before is None:
            runtime.install(_assemble(resolved, arguments, access_token, exporters).but(fabric_token=fabric_token))
        elif before.held:
            if fabric_token is not None:
                runtime.install(before.but(fabric_token=fabric_token))
        elif _road(before.settings, before.access_token, before.exporters) == _road(resolved, access_token, exporters):
            if before.settings.rows_timeout != resolved.rows_timeout:
                before.delivery.exit_timeout = resolved.rows_timeout
            set_masking(resolved.mask_secrets)
            token = fabric_token if fabric_token is not None else before.fabric_token
            runtime.install(before.but(settings=resolved, arguments=arguments, fabric_token=token))
            before.delivery.try_again()
        else:
            token = fabric_token if fabric_token is not None else before.fabric_token
            runtime.install(_assemble(resolved, arguments, access_token, exporters).but(fabric_token=token))
            runtime.retire(before)


def _as_several(exporters: Any) -> tuple[SpanExporter, ...]:
    return (exporters,) if hasattr(exporters, "export") else tuple(exporters or ())


runtime.configure_by(configure)


def _judge(run_id: str, seconds: float) -> None:
    from dbbtrace.operate.verdict import judge

    judge(run_id, seconds)


runtime.judge_by(_judge)


def _road(settings: Settings, *given: object) -> tuple[object, ...]:
    """What decides where spans go, and how; what the settings say of the run changes while it is open."""
    return (
        settings.warehouse,
        settings.journal_dir,
        settings.journal_fsync,
        settings.journal_mirror,
        settings.service_name,
        settings.otlp_url,
        settings.otlp_protocol,
        settings.forward,
        *given,
    )


def _read(arguments: dict[str, Any]) -> Settings:
    settings, faults = read(**arguments)
    for fault in faults:
        if is_strict():
            raise UsageError(fault)
        log.error("this dbbtrace setting makes no sense and is ignored: %s", fault)
    fault_of_address = _fault_of_address(settings.warehouse)
    if fault_of_address and is_strict():
        raise UsageError(fault_of_address)
    return settings


def _assemble(
    settings: Settings,
    arguments: dict[str, Any],
    access_token: AccessToken | None,
    exporters: Sequence[SpanExporter],
) -> Runtime:
    from dbbtrace.delivery import Delivery

    global _provider
    set_masking(settings.mask_secrets)
    if _provider is None or _provider.service_name != settings.service_name:
        _provider = Provider(settings.service_name)
        _provider.understand("dbt.runner", _dbt_spans)
    if settings.global_provider:
        _provider.become_global()
    targets = [*destinations(settings, access_token), *_given(exporters)]
    delivery = Delivery(
        targets,
        journal_dir=settings.journal_dir,
        fsync=settings.journal_fsync,
        mirror=settings.journal_mirror,
        exit_timeout=settings.rows_timeout,
        resolve=resolve,
    )
    _provider.processor = delivery
    delivery.open_ahead()
    _say(settings, targets)
    return Runtime(settings, _provider, delivery, arguments, access_token=access_token, exporters=tuple(exporters))


def destinations(settings: Settings, access_token: AccessToken | None = None) -> list[Destination]:
    """Where the settings send spans: the warehouse unless it is ``none``, and the OTLP backend if one is named."""
    from dbbtrace.delivery import Destination

    found = []
    url = settings.warehouse
    is_file = url is not None and url.lower().startswith("sqlite:///")
    path = os.path.expanduser(url[len("sqlite:///") :]) if url is not None and is_file else ""
    # A directory has a name like a file, and may make room for one.
    if url is None or (_fault_of_address(url) and not os.path.isdir(path)):
        found.append(Destination(UNRESOLVED, partial(_warehouse, url), rows=True, wants=gives_rows))
    elif url.lower() != "none":
        if is_file:  # it is opened with the first row, when the job may be in another directory
            url = f"sqlite:///{os.path.abspath(path)}"
        found.append(
            Destination(
                warehouse_name(url),
                partial(_warehouse, url, access_token),
                rows=True,
                wants=gives_rows,
                ahead=not is_file,  # a file is opened at once, and only if it is needed
                # Rows that waited for a warehouse to be named; a file may be there to try something out.
                also=() if is_file else (UNRESOLVED,),
            )
        )
    endpoint, protocol = settings.otlp_url, settings.otlp_protocol
    if endpoint and settings.forward:
        found.append(
            Destination(
                otlp_name(endpoint, protocol),
                lambda: exporter_named("dbb_otlp", endpoint=endpoint, protocol=protocol),
                rows=False,
                wants=takes_spans,
                ahead=True,
            )
        )
    return found


def resolve(span: ReadableSpan) -> ReadableSpan | None:
    """What became of the work that an interrupted span followed; None: nobody can be asked."""
    if (span.attributes or {}).get(key.OPERATION) != key.OPERATION_REFRESH:
        return None
    from dbbtrace.sources.powerbi.resolve import resolve as ask

    return ask(span)


def _dbt_spans() -> Foreign:
    from dbbtrace.sources.dbt.spans import DbtSpans

    return DbtSpans()


def takes_spans(span: ReadableSpan) -> bool:
    """Whether the span is for any other destination: all are, but those that were there before."""
    return key.plain(span._attributes).get(key.AUDIENCE) != key.FOR_ROWS


def _given(exporters: Sequence[SpanExporter]) -> list[Destination]:
    from dbbtrace.delivery import Destination

    names: list[str] = []
    for exporter in exporters:
        name = exporter_name(exporter)
        names.append(name if name not in names else f"{name} #{len(names) + 1}")
    return [
        Destination(name, partial(_itself, exporter), rows=False, wants=takes_spans)
        for name, exporter in zip(names, exporters, strict=True)
    ]


def _itself(exporter: SpanExporter) -> SpanExporter:
    return exporter


def _fault_of_address(url: str | None) -> str | None:
    """Why rows can't go there, whatever answers: the URL names no warehouse. None: it may."""
    if url is None or url.lower() == "none":
        return None
    if url == DEFAULT_WAREHOUSE or (url.startswith("sqlite:///") and os.path.isfile(url.removeprefix("sqlite:///"))):
        return None  # known to be fine, and what reads addresses takes a while to import
    from dbbtrace.warehouse.urls import address_of

    try:
        address_of(url)
    except UsageError as error:
        return str(error)
    return None


def _warehouse(url: str | None, access_token: AccessToken | None = None) -> SpanExporter:
    """The warehouse's exporter.

    Raises:
        ConfigurationError: none is named, or not by a URL that makes sense.
    """
    if url is None:
        raise ConfigurationError(
            "no warehouse is named; rows wait in the journal: set DBBTRACE_WAREHOUSE, e.g. to mssql://server/database"
        )
    if fault := _fault_of_address(url):
        raise ConfigurationError(fault)
    exporter: SpanExporter = exporter_named("dbb_warehouse", url=url, access_token=access_token)
    return exporter


def exporter_named(name: str, **arguments: Any) -> Any:
    """An exporter of the class that is registered under this OpenTelemetry entry point.

    Any: dbbtrace's own have more methods than OpenTelemetry asks for (``deliver``, ``check``).

    Raises:
        ConfigurationError: no such exporter is installed.
    """
    from importlib.metadata import entry_points

    for point in entry_points(group=_EXPORTERS, name=name):
        return point.load()(**arguments)
    raise ConfigurationError(
        f"no OpenTelemetry exporter {name!r} is installed; run: pip install --force-reinstall dbbtrace"
    )


def _say(settings: Settings, targets: Sequence[Destination]) -> None:
    """One line that tells where rows and spans go, and by which setting."""
    if settings.journal_dir == NO_DIRECTORY:
        log.warning("this user has no directory for a journal, so spans are kept in memory: set DBBTRACE_JOURNAL_DIR")
    if fault := _fault_of_address(settings.warehouse):
        log.error("%s; until then rows wait in the journal %s", fault, settings.journal_dir)
    elif settings.warehouse is None:
        log.warning("no warehouse is named: set DBBTRACE_WAREHOUSE; rows wait in the journal %s", settings.journal_dir)
    if not log.isEnabledFor(logging.INFO):
        return
    names = ", ".join(f"{'rows' if target.rows else 'spans'} → {masked(target.name)}" for target in targets)
    log.info(
        "dbbtrace: %s; journal %s; warehouse named by %s",
        names or "nothing is recorded (warehouse none, no OTLP endpoint)",
        settings.journal_dir,
        settings.sources.get("warehouse"),
    )


def flush(timeout: float | None = None) -> bool:
    """Wait until all rows recorded so far are in the warehouse.

    Args:
        timeout: seconds; None: the setting rows_timeout; negative waits for ever; 0 returns at once.

    Returns False if rows remain in the journal, also those that ``shutdown()`` left there.
    """
    current = runtime.installed()
    if current is None:
        return runtime.all_stood
    return current.flush(current.settings.rows_timeout if timeout is None else timeout)


def shutdown(timeout: float | None = None) -> None:
    """Flush until the deadline and stop; the rest stays in the journal. The next use configures again.

    Args:
        timeout: seconds; None: the setting rows_timeout.
    """
    current = runtime.installed()
    if current is not None:
        runtime.end_runs()
        if current.held:
            return
        runtime.install(None)
        runtime.stop(current, current.settings.rows_timeout if timeout is None else timeout)
