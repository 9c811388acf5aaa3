"""The views of schema ``meta``: their SQL is in the .sql files in this folder, this makes it one dialect's.

    monitoring_operations     one uniform row per operation
    monitoring_parts          one row per part of a run that is no operation
    monitoring_jobs           one row per job instance of Fabric's, in the columns of the platform's job events
    monitoring_runs           one row per run, with its verdict
    monitoring_lineage        lineage validation: each edge of a run's graph, with the status of both ends
    monitoring_performance    performance: newest duration compared with earlier ones
    monitoring_failures       diagnostics: what failed, why, what it held up
    monitoring_gaps           audit: what is missing
    monitoring_reconciliation reconciliation results, if their table exists

A base table is read as the columns it really has, NULL for those it lacks and no row where it is missing, so that
tables which dbbtrace did not create can be read with their old rows. ``statements`` gives the DDL for ``migrate``;
``ask`` puts the same SQL before a question as WITH clauses, for a warehouse on which no views may be created. On T-SQL
it reads the created views where they are there and current.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final, Protocol
from weakref import WeakKeyDictionary

from dbbtrace.errors import ConfigurationError
from dbbtrace.model.identity import normalise_run_id
from dbbtrace.warehouse.dialects import SQLITE, Dialect
from dbbtrace.warehouse.migrate import Step
from dbbtrace.warehouse.schema import ALL_TABLES, PARTS, SCHEMA, VALIDATIONS
from dbbtrace.warehouse.views.spelling import spelled

if TYPE_CHECKING:
    from dbbtrace.warehouse.connection import Connector, Result
    from dbbtrace.warehouse.statements import Shape

__all__ = ["VIEWS", "BaseTable", "ask", "base_tables", "current", "look", "plan", "statements"]

VIEWS: Final = (
    "monitoring_operations",
    "monitoring_parts",
    "monitoring_jobs",
    "monitoring_runs",
    "monitoring_lineage",
    "monitoring_performance",
    "monitoring_failures",
    "monitoring_gaps",
    "monitoring_reconciliation",
)
"""In the order of creation: each reads only the tables and earlier views."""

RECONCILIATION: Final = "kpi_reconciliation_history"
"""The platform's table of reconciliation results. Many deployments don't have it."""
_RECONCILIATION_COLUMNS = {
    "orchestration_run_id": "varchar(255)",
    "data_product": "varchar(255)",
    "source_name": "varchar(255)",
    "kpi_name": "varchar(255)",
    "amount": "float",
    "reconciliation_pipeline_run_id": "varchar(255)",
}
ENVIRONMENTS: Final = "environments"
"""The platform's table of workspaces and their environments, which hand-made rows of loads don't name."""
_ENVIRONMENTS_COLUMNS = {"workspace_id": "varchar(255)", "environment": "varchar(255)"}
_COLUMNS: Final[Mapping[str, Mapping[str, str]]] = {
    **{table.name: {column.name: column.sql_type for column in table.columns} for table in ALL_TABLES},
    RECONCILIATION: _RECONCILIATION_COLUMNS,
    ENVIRONMENTS: _ENVIRONMENTS_COLUMNS,
}
_RUN_ID = "orchestration_run_id"
"""Read in lower case where it is a GUID, as dbbtrace writes it: programs by others may write it in upper case."""
_STORED_ID = "stored_run_id"
"""A column of every table, for questions alone: the run id as it is in the table, where an index finds it."""
_GUID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_PARTS_ARE_KEPT = "PARTS_ARE_KEPT"
"""Stands for 1 in the views' SQL, and for 0 where the warehouse has no table of the runs' own record."""
_READ = re.compile(r"\b(?:meta\.)?(?P<name>monitoring_\w+|kpi_reconciliation_history|environments) AS (?P<alias>\w+)")


@dataclass(frozen=True)
class BaseTable:
    """A table with its real columns."""

    target: str
    """Its name in SQL, with its schema."""
    columns: Mapping[str, str]
    """The schema's column → the expression that reads it. Columns that the table lacks are left out."""
    exact: bool = False
    """Whether the database holds texts for different that differ in case alone; SQLite always does."""


class Queried(Protocol):
    """What the views are read from: an open warehouse."""

    name: str

    @property
    def dialect(self) -> Dialect: ...

    def shapes(self) -> dict[str, Shape]: ...

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> Result: ...


def base_tables(dialect: Dialect, shapes: Mapping[str, Shape]) -> dict[str, BaseTable]:
    """The three tables, with the columns that the connection found."""
    found = {}
    for name, shape in shapes.items():
        columns = {
            column: dialect.quote(here.name) + (" COLLATE DATABASE_DEFAULT" if here.collation else "")
            for column, here in shape.found
        }
        found[name] = BaseTable(dialect.target(name), columns, shape.exact)
    return found


def look(warehouse: Queried) -> dict[str, BaseTable]:
    """The tables that the views read, as they are in this warehouse.

    Raises:
        ConfigurationError: none of the tables is there.
    """
    tables = base_tables(warehouse.dialect, warehouse.shapes())
    if not tables.keys() - {VALIDATIONS.name}:
        raise ConfigurationError(f"schema {SCHEMA} of {warehouse.name} has no tables yet: run `dbbtrace migrate`")
    return tables | _of_the_platform(warehouse.dialect, lambda sql: warehouse.query(sql).rows)


def _of_the_platform(dialect: Dialect, query: Callable[[str], Sequence[Sequence[Any]]]) -> dict[str, BaseTable]:
    """The platform's tables that the views read, each in whichever schema it is; those that are missing are left out.

    Their ids may be of type uniqueidentifier, which T-SQL turns into upper case: ``monitoring_operations`` joins
    them in lower case.
    """
    names = f"'{RECONCILIATION}', '{ENVIRONMENTS}'"
    if dialect is SQLITE:
        found = query(
            f"SELECT '{SCHEMA}', t.name, c.name FROM {SCHEMA}.sqlite_master AS t"
            f" JOIN pragma_table_info(t.name, '{SCHEMA}') AS c WHERE LOWER(t.name) IN ({names})"
        )
    else:
        found = query(
            "SELECT TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME FROM INFORMATION_SCHEMA.COLUMNS"
            f" WHERE LOWER(TABLE_NAME) IN ({names})"
            f" AND (LOWER(TABLE_NAME) = '{RECONCILIATION}' OR TABLE_SCHEMA = '{SCHEMA}')"
            f" ORDER BY CASE WHEN TABLE_SCHEMA = '{SCHEMA}' THEN 0 ELSE 1 END, TABLE_SCHEMA"
        )
    tables: dict[str, BaseTable] = {}
    for name in dict.fromkeys(str(row[1]) for row in found):
        schema = next(str(row[0]) for row in found if str(row[1]) == name)
        columns = {
            str(column).lower(): dialect.quote(str(column))
            for where, table, column in found
            if (str(where), str(table)) == (schema, name)
        }
        tables.setdefault(name.lower(), BaseTable(f"{dialect.quote(schema)}.{dialect.quote(name)}", columns))
    return tables


def plan(connector: Connector, connection: Any) -> list[Step]:
    """The steps of ``migrate`` that create the views. They come last, when all columns exist."""
    dialect = connector.dialect(connection)

    def query(sql: str) -> list[Any]:
        return list(connection.cursor().execute(sql).fetchall())

    tables = {}
    shapes = base_tables(dialect, connector.shapes(connection))
    for table in ALL_TABLES:
        found = shapes[table.name].columns if table.name in shapes else {}
        columns = {column.name: found.get(column.name, dialect.quote(column.name)) for column in table.columns}
        exact = table.name in shapes and shapes[table.name].exact
        tables[table.name] = BaseTable(dialect.target(table.name), columns, exact=exact)
    standing = f"SELECT name FROM {SCHEMA}.sqlite_master WHERE type = 'view'"
    if dialect is not SQLITE:
        standing = f"SELECT TABLE_NAME FROM INFORMATION_SCHEMA.VIEWS WHERE TABLE_SCHEMA = '{SCHEMA}'"
    existing = {str(row[0]) for row in query(standing)}
    made = statements(dialect, tables | _of_the_platform(dialect, query), existing)
    return [Step(_in_words(name, statement), statement) for name, statement in made.items()]


def _in_words(name: str, statement: str) -> str:
    done = {"CREATE": "created", "ALTER": "renewed", "DROP": "dropped"}[statement.split(None, 1)[0]]
    return f"{done} view {SCHEMA}.{name.removeprefix('DROP ')}"


def statements(dialect: Dialect, tables: Mapping[str, BaseTable], existing: Collection[str] = ()) -> dict[str, str]:
    """View → the statement that creates or changes it, in the order to run them.

    Args:
        dialect: the warehouse's.
        tables: the tables; see ``look``.
        existing: views of schema meta that are there already. T-SQL alters those, which keeps the rights granted on
            them; elsewhere they are dropped first, for which the name appears twice, as ``DROP name`` too.
    """
    made: dict[str, str] = {}
    if not dialect.alters_views:
        standing = [name for name in reversed(VIEWS) if name in existing]  # none before those that read it
        made = {f"DROP {name}": f"DROP VIEW {dialect.target(name)}" for name in standing}
    for name in VIEWS:
        if name == "monitoring_reconciliation" and RECONCILIATION not in tables:
            continue
        verb = "ALTER" if name in existing and dialect.alters_views else "CREATE"
        ctes, select = _parts(name)
        body = _Rendering(dialect, tables, inside=True).sql((f"WITH {ctes}\n" if ctes else "") + select)
        made[name] = f"{verb} VIEW {dialect.target(name)} AS\n{_head(name)}{body}"
    return made


def ask(
    warehouse: Queried,
    sql: str,
    parameters: Sequence[Any] = (),
    *,
    runs: Iterable[str] | None = None,
    tables: Mapping[str, BaseTable] | None = None,
) -> list[tuple[Any, ...]]:
    """Rows of a SELECT that reads the views, whether or not they were created.

    Args:
        warehouse: to ask.
        sql: reads ``meta.monitoring_... AS alias`` and may use the words of ``spelling``; values are bound.
        parameters: the values.
        runs: read only the rows of these runs, which keeps answers fast; None: all.
        tables: the result of ``look``, to reuse it for several queries.
    """
    tables, scope = tables or look(warehouse), None if runs is None else sorted(set(map(normalise_run_id, runs)))
    created = current(warehouse, tables) if scope is None or 0 < len(scope) <= _FEW else frozenset()
    if scope is not None:
        created -= _OF_SEVERAL_RUNS
    rendering = _Rendering(warehouse.dialect, tables, inside=False, scope=scope, created=created)
    ctes = [rendering.sql(part) for name in _needed(sql, created) for part in _as_ctes(name)]
    text = (f"WITH {', '.join(ctes)}\n" if ctes else "") + rendering.sql(sql)
    result = warehouse.query(text, [*rendering.bound, *parameters])
    return result.rows if rendering.exact else _with_ids_in_lower_case(result)


def _with_ids_in_lower_case(result: Result) -> list[tuple[Any, ...]]:
    """The rows with run ids as dbbtrace writes them: to a server that is blind to case, one spelling is as good as
    another."""
    if _RUN_ID not in result.columns:
        return result.rows
    place = result.columns.index(_RUN_ID)
    return [
        (*row[:place], normalise_run_id(row[place]), *row[place + 1 :]) if row[place] else row for row in result.rows
    ]


_FEW: Final = 20
"""Runs. Their ids are bound one by one to a created view, which a server can look up in the tables' statistics."""
_OF_SEVERAL_RUNS: Final = frozenset({"monitoring_performance"})
"""A row of these compares runs, so that some runs' rows are not what the view says of these runs' data alone."""
_OF_OTHER_RUNS: Final = "past"
"""The alias by which a view reads rows of other runs than those asked about; it bounds them in time itself."""
_DEFINITIONS: Final = f"""\
SELECT v.name, m.definition
FROM sys.views AS v
INNER JOIN sys.schemas AS s ON s.schema_id = v.schema_id
INNER JOIN sys.sql_modules AS m ON m.object_id = v.object_id
WHERE s.name = '{SCHEMA}'"""
_KNOWN: WeakKeyDictionary[Queried, tuple[object, frozenset[str]]] = WeakKeyDictionary()
"""Warehouse → its shapes, which a new connection looks up anew, and the views that were current then."""


def current(warehouse: Queried, tables: Mapping[str, BaseTable]) -> frozenset[str]:
    """The views that are there in T-SQL, and say what this release of dbbtrace would create for these tables.

    Reading one spares the server a long statement: on one the same answer took 11 s without and 0.03 s with. SQLite
    gains nothing by it.
    """
    if warehouse.dialect is SQLITE:
        return frozenset()
    shapes, (known, found) = warehouse.shapes(), _KNOWN.get(warehouse, (None, frozenset()))
    if known is not shapes:
        there = {str(name): str(definition) for name, definition in warehouse.query(_DEFINITIONS).rows}
        made = statements(warehouse.dialect, tables)
        same = {name for name, sql in made.items() if _body(there.get(name, "")) == _body(sql)}
        found = frozenset(name for name in same if same.issuperset(_needed(_source(name))))
        _KNOWN[warehouse] = shapes, found
    return found


def _body(statement: str) -> str:
    """What follows ``CREATE VIEW name AS``."""
    return statement.replace("\r\n", "\n").partition(" AS\n")[2].strip()


def _needed(sql: str, created: Collection[str] = ()) -> list[str]:
    """The views that the SQL reads, directly or through other views, in order; those that are created apart."""
    needed: set[str] = set()
    waiting = [sql]
    while waiting:
        for name in _read_by(waiting.pop()):
            if name in VIEWS and name not in needed and name not in created:
                needed.add(name)
                waiting.append(_source(name))
    return [name for name in VIEWS if name in needed]


@lru_cache(maxsize=64)
def _read_by(sql: str) -> frozenset[str]:
    """The tables and views that the SQL names."""
    return frozenset(match["name"] for match in _READ.finditer(sql))


@lru_cache(maxsize=256)
def _columns_read(sql: str, alias: str) -> frozenset[str]:
    """The columns that the SQL reads of that alias."""
    return frozenset(re.findall(rf"\b{alias}\.\[?(\w+)", sql))


@cache
def _as_ctes(name: str) -> tuple[str, ...]:
    ctes, select = _parts(name)
    return (*([ctes] if ctes else []), f"{name} AS (\n{select}\n)")


@cache
def _source(name: str) -> str:
    return files(__name__).joinpath(f"{name}.sql").read_text(encoding="utf-8")


def _head(name: str) -> str:
    """The comment at the start of a view's file."""
    return "".join(line for line in _source(name).splitlines(keepends=True) if line.startswith("--"))


@cache
def _parts(name: str) -> tuple[str, str]:
    """A view's own WITH clauses, without the word WITH, and its SELECT. Both begin a line in the files."""
    text = _source(name).removeprefix(_head(name))
    ctes, _, select = text.partition("\nSELECT\n")
    return ctes.strip().removeprefix("WITH").strip(), f"SELECT\n{select.rstrip()}"


class _Rendering:
    """One dialect, one set of tables; collects what is bound, in the order of the text."""

    def __init__(
        self,
        dialect: Dialect,
        tables: Mapping[str, BaseTable],
        *,
        inside: bool,
        scope: Sequence[str] | None = None,
        created: Collection[str] = (),
    ) -> None:
        self.dialect = dialect
        self.tables = tables
        self.inside = inside
        """Whether the SQL becomes a view. In an SQLite file, views must name tables without the schema."""
        self.scope = scope
        """The only runs to read; None: all."""
        self.created = created
        """The views that are read as they are in the database."""
        self.bound: list[str] = []
        self.exact = dialect is SQLITE or any(table.exact for table in tables.values())
        """Whether upper and lower case differ in ids."""

    def sql(self, text: str) -> str:
        text = _READ.sub(lambda match: f"{self._read(match['name'], match['alias'], text)} AS {match['alias']}", text)
        text = text.replace(_PARTS_ARE_KEPT, str(int(PARTS.name in self.tables)))
        return spelled(text, tsql=self.dialect is not SQLITE)

    def _read(self, name: str, alias: str, text: str) -> str:
        if name in self.created:
            return self._created(name)
        if name not in _COLUMNS:
            return self._name(name) if self.inside else name
        used = _columns_read(text, alias)
        table = self.tables.get(name)
        columns = [
            self._column(column, sql_type, table) for column, sql_type in _COLUMNS[name].items() if column in used
        ]
        if _STORED_ID in used:
            columns.append(f"{table.columns.get(_RUN_ID, 'NULL') if table else 'NULL'} AS {_STORED_ID}")
        return f"(SELECT {', '.join(columns)}{self._rows(name, alias, table)})"

    def _created(self, name: str) -> str:
        if self.scope is None:
            return self._name(name)
        self.bound += self.scope
        marks = ", ".join("?" * len(self.scope))
        return f"(SELECT * FROM {self._name(name)} WHERE orchestration_run_id IN ({marks}))"

    def _column(self, name: str, sql_type: str, table: BaseTable | None) -> str:
        here = table.columns.get(name) if table else None
        null = "NULL" if self.dialect is SQLITE else f"CAST(NULL AS {sql_type})"
        quoted = self.dialect.quote(name)
        if name == _RUN_ID and here and self.exact:
            here = f"RUN_ID({here})"
        return here if here == quoted else f"{here or null} AS {quoted}"

    def _rows(self, name: str, alias: str, table: BaseTable | None) -> str:
        if table is None:
            return " WHERE 1 = 0"
        source = f" FROM {self._name(name) if self.dialect is SQLITE else table.target}"
        if self.scope is None or alias == _OF_OTHER_RUNS or _RUN_ID not in table.columns:
            return source
        # Ids are GUIDs in lower case, but for rows that others wrote.
        other = [run_id.upper() for run_id in self.scope if _GUID.fullmatch(run_id)] if self.exact else []
        self.bound.append(json.dumps([*self.scope, *other]))
        listed = "JSON_EACH(?)" if self.dialect is SQLITE else "OPENJSON(?) WITH ([value] varchar(255) '$')"
        return f"{source} WHERE {table.columns[_RUN_ID]} IN (SELECT value FROM {listed})"

    def _name(self, name: str) -> str:
        inside_file = self.inside and self.dialect is SQLITE
        return self.dialect.quote(name) if inside_file else self.dialect.target(name)
