"""``verify``: count loaded tables where readers read them, as a Copy may succeed and its table still look empty.

A table that looks empty may only be late: the SQL endpoint is asked to look at its lakehouse again, and the table is
counted once more. Each count goes the way of everything else, journal first, into the run's own record and into the
platform's meta.monitoring_integration_validation. Loading again is up to the caller.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from dbbtrace.answers.suggest import suggestion
from dbbtrace.diagnostics import complain, guard, log
from dbbtrace.errors import DbbtraceError, LoginError, TransientError, UsageError
from dbbtrace.job.context import scope_for
from dbbtrace.job.endpoint import Loaded, name_at_endpoint
from dbbtrace.job.parts import record_count
from dbbtrace.settings import Settings
from dbbtrace.tracing import runtime
from dbbtrace.warehouse import Warehouse, open_warehouse, views
from dbbtrace.warehouse.dialects import SQLITE
from dbbtrace.warehouse.urls import OdbcAddress, address_of

__all__ = ["Counted", "count_tables", "verify"]


@dataclass(frozen=True)
class Counted:
    """What readers find in one table."""

    table: str
    """``schema.table``."""
    source: str | None
    name: str
    """Its name at the SQL endpoint."""
    rows: int | None
    """None: it could not be counted."""
    refreshed: bool = False
    """Whether the endpoint was asked to look at its lakehouse again before the last count."""
    problem: str | None = None
    """Why it could not be counted, or the endpoint not be refreshed."""

    @property
    def is_empty(self) -> bool:
        """Whether readers find no row."""
        return self.rows == 0


def verify(
    *tables: str,
    schema: str | None = None,
    source: str | None = None,
    run_id: object = None,
    data_product: str | None = None,
    environment: str | None = None,
    workspace_id: object = None,
    refresh: bool = True,
) -> list[Counted]:
    """Count tables that the run loaded, where readers read them; record what was found.

    ``empty = [each.table for each in dbbtrace.verify() if each.is_empty]``. Never raises into the job: what can't be
    counted has ``rows`` None, and the run is Warned of it.

    Args:
        tables: their names, with or without schema; default: all that the run has loaded successfully.
        schema, source: of tables that are named here and that the run's rows don't have.
        run_id: the run; default the one that is open.
        data_product, environment: of the run, where none is open.
        workspace_id: of the lakehouse; default the run's.
        refresh: False: an empty table is not counted again.
    """
    found: list[Counted] = []
    with guard("verify tables"):
        try:
            found = count_tables(
                *tables, schema=schema, source=source, run_id=run_id, data_product=data_product,
                environment=environment, workspace_id=workspace_id, refresh=refresh,
            )  # fmt: skip
        except DbbtraceError as error:
            complain(f"the tables were not counted: {error}")
            found = [Counted(table, source, table, None, problem=str(error)) for table in tables]
    return found


def count_tables(
    *tables: str,
    schema: str | None = None,
    source: str | None = None,
    run_id: object = None,
    data_product: str | None = None,
    environment: str | None = None,
    workspace_id: object = None,
    refresh: bool = True,
    known_only: bool = False,
) -> list[Counted]:
    """The same, as an operator wants it.

    Args:
        known_only: tables must be among those that the run loaded.

    Raises:
        UsageError: a name or a setting makes no sense.
        ConfigurationError, TransientError: the warehouse can't be asked.
    """
    settings = runtime.current_settings()
    scope = scope_for(
        run_id, data_product=data_product, environment=environment, workspace_id=workspace_id, workload="integration"
    )
    runtime.current().flush_at_end_of_run()  # the loads of this process count too
    loads = _loads_of(scope.run_id)
    wanted = [_meant(table, loads, schema, source, known_only) for table in tables] if tables else loads
    if not wanted:
        return []
    with open_warehouse(settings.sql_endpoint, create=False) as endpoint:
        found = _count(endpoint, wanted, settings)
        if refresh:
            late = _refreshed(found, settings, scope.workspace_id or settings.workspace_id)
            again = iter(_count(endpoint, [wanted[place] for place, why in late.items() if not why], settings))
            for place, why in late.items():
                found[place] = replace(found[place], problem=why) if why else replace(next(again), refreshed=True)
    for loaded, each in zip(wanted, found, strict=True):
        record_count(scope, loaded, each.rows, each.problem or "")
    return found


def _meant(name: str, loads: Sequence[Loaded], schema: str | None, source: str | None, known_only: bool) -> Loaded:
    """The load that the name means."""
    wanted = name.strip().lower()
    for load in loads:
        if wanted in (load.label.lower(), load.table.lower()) and source in (None, load.source):
            return load
    if known_only or not wanted:
        raise UsageError(f"the run has loaded no table {name!r}{suggestion(name, [load.label for load in loads])}")
    said, dot, table = name.strip().rpartition(".")
    return Loaded(table, said, source) if dot and schema is None else Loaded(name.strip(), schema, source)


def _loads_of(run_id: str) -> list[Loaded]:
    """The tables that the run has loaded, each once, as its rows say."""
    newest: dict[tuple[str, ...], Loaded] = {}
    if (runtime.current_settings().warehouse or "none").lower() == "none":
        return []
    with open_warehouse(create=False) as warehouse:
        for source, schema, table, started, status in views.ask(warehouse, _LOADS, runs=[run_id]):
            which = tuple(str(part or "").lower() for part in (source, schema, table))
            if str(status) == "Succeeded":
                newest[which] = Loaded(str(table), schema, source, str(started))
            else:
                newest.pop(which, None)
    return list(newest.values())


_LOADS = """\
SELECT
    l.source_name, l.schema_name, l.table_name, COALESCE(MOMENT(l.process_started_at), MOMENT(l.[timestamp])), l.status
FROM meta.monitoring_integration AS l
ORDER BY 4
"""


# -- counting -----------------------------------------------------------------------------------------------


def _count(endpoint: Warehouse, tables: Iterable[Loaded], settings: Settings) -> list[Counted]:
    """Count the tables. Where the endpoint does not answer, the rest are not asked for: each would wait as long."""
    found: list[Counted] = []
    gone = None
    for loaded in tables:
        name = name_at_endpoint(loaded, settings.lakehouse_tables, settings.table_pattern)
        rows, problem = None, gone
        if gone is None:
            try:
                rows = _rows(endpoint, name)
            except (TransientError, LoginError) as error:
                problem = gone = str(error)
            except DbbtraceError as error:
                said = str(error).partition(": run `dbbtrace migrate`")[0]
                problem = f"{said} (the setting lakehouse_tables says what loaded tables are called there)"
        found.append(Counted(loaded.label, loaded.source, ".".join(name), rows, problem=problem))
    return found


def _rows(endpoint: Warehouse, name: Sequence[str]) -> int:
    target = ".".join(map(endpoint.dialect.quote, name))
    count = f"SELECT COUNT(*) FROM {target}" if endpoint.dialect is SQLITE else f"SELECT COUNT_BIG(*) FROM {target}"
    return int(endpoint.query(count).rows[0][0])


def _refreshed(found: Sequence[Counted], settings: Settings, workspace: str | None) -> dict[int, str | None]:
    """Place of each table that is worth counting again, now that its lakehouse's SQL endpoint was refreshed → None, or
    why that could not be."""
    groups: dict[str, list[int]] = defaultdict(list)
    usual = settings.lakehouse or _lakehouse_of(settings)
    for place, each in enumerate(found):
        database, dot, _ = each.name.partition(".")
        lakehouse = database if each.name.count(".") > 1 and dot else usual
        if not each.rows and lakehouse:
            groups[lakehouse].append(place)
    late: dict[int, str | None] = {}
    for lakehouse, places in groups.items():
        try:
            failed = _refresh(lakehouse, workspace)
        except DbbtraceError as error:
            log.warning("the SQL endpoint of %s was not refreshed: %s", lakehouse, error)
            late |= dict.fromkeys(places, f"its SQL endpoint was not refreshed: {error}")
            continue
        for place in places:
            late[place] = failed.get(found[place].name.rpartition(".")[2].lower())
    return late


def _lakehouse_of(settings: Settings) -> str | None:
    """In Fabric a SQL endpoint's database is called as its lakehouse is."""
    address = address_of(settings.sql_endpoint or settings.warehouse or "")
    return address.database if isinstance(address, OdbcAddress) and address.in_fabric else None


def _refresh(lakehouse: str, workspace: str | None) -> dict[str, str]:
    """Have the lakehouse's SQL endpoint look at it again. Returns table in lower case → why it could not be read.

    Raises:
        DbbtraceError: it was not done.
    """
    from dbbtrace.sources.fabric.http import from_settings

    if not workspace:
        raise UsageError("its workspace is not known: pass workspace_id, or set DBBTRACE_WORKSPACE_ID")
    api = from_settings()
    endpoints = api.sql_endpoints(workspace)
    if lakehouse.lower() not in endpoints:
        raise UsageError(f"workspace {workspace} has no lakehouse {lakehouse!r}{suggestion(lakehouse, endpoints)}")
    failed = {}
    for table in api.refresh_endpoint(workspace, endpoints[lakehouse.lower()]):
        if str(table.get("status")).lower() == "failure":
            error = table.get("error")
            why = error.get("message") if isinstance(error, Mapping) else None
            name = str(table.get("tableName")).rpartition(".")[2].lower()
            failed[name] = f"its SQL endpoint could not read it: {why or 'no reason is given'}"
    return failed
