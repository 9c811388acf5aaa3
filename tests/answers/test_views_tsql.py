"""The views' SQL as T-SQL: parsed in both dialects, run by another engine, and by a live server where there is one."""

from __future__ import annotations

import os
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import sqlglot
import sqlglot.errors
from sqlglot import exp

from dbbtrace.warehouse import Result, Warehouse, views
from dbbtrace.warehouse.dialects import FABRIC, TSQL
from dbbtrace.warehouse.schema import ALL_TABLES, Column, Kind
from dbbtrace.warehouse.statements import Found, Shape
from tests.answers import expected
from tests.answers.history import Row, make
from tests.answers.mangle import mangled
from tests.answers.test_views import LACKING, comparable, without
from tests.warehouse.conftest import IN_TURN, live_server


def tsql_tables(lacking: dict[str, tuple[str, ...]]) -> dict[str, views.BaseTable]:
    tables = {
        table.name: views.BaseTable(
            TSQL.target(table.name),
            {c.name: TSQL.quote(c.name) for c in table.columns if c.name not in lacking.get(table.name, ())},
        )
        for table in ALL_TABLES
    }
    names = (
        "orchestration_run_id",
        "data_product",
        "source_name",
        "kpi_name",
        "amount",
        "reconciliation_pipeline_run_id",
    )
    tables[views.RECONCILIATION] = views.BaseTable("[dbo].[kpi_reconciliation_history]", {n: f"[{n}]" for n in names})
    return tables


FORBIDDEN = ("CREATE OR ALTER", "SELECT *", "FOR JSON", "MERGE", "WITH RECURSIVE", "nvarchar", "datetimeoffset", "||")


@pytest.mark.parametrize("read", ["tsql", "fabric"])
@pytest.mark.parametrize("lacking", LACKING.values(), ids=LACKING)
def test_the_t_sql_parses(lacking: dict[str, tuple[str, ...]], read: str) -> None:
    """Each statement is T-SQL that SQL Server and Fabric Warehouse know, with nothing that Fabric lacks."""
    dialect = FABRIC if read == "fabric" else TSQL
    made = views.statements(dialect, tsql_tables(lacking))
    assert tuple(made) == views.VIEWS
    for name, statement in made.items():
        (tree,) = sqlglot.parse(statement, read=read, error_level=sqlglot.errors.ErrorLevel.RAISE)
        assert isinstance(tree, exp.Create), name
        assert not list(tree.find_all(exp.Star)) or "COUNT(*)" in statement
        for words in FORBIDDEN:
            assert words.lower() not in statement.lower(), f"{name}: {words}"
        # Fabric knows no WITH inside a WITH, and no view may sort.
        assert len(list(tree.find_all(exp.With))) <= 1
        assert all(order.find_ancestor(exp.Window) for order in tree.find_all(exp.Order))
        leftover = [
            word for word in ("MOMENT(", "PLUS_SECONDS(", "NULL_TEXT", "EACH_OF", "STATUS(") if word in statement
        ]
        assert leftover == []


def test_t_sql_alters_views_that_stand() -> None:
    """ALTER keeps the rights that were granted on a view; DROP and CREATE would not."""
    made = views.statements(TSQL, tsql_tables({}), existing=("monitoring_runs",))
    assert made["monitoring_runs"].startswith("ALTER VIEW [meta].[monitoring_runs] AS")
    assert made["monitoring_operations"].startswith("CREATE VIEW [meta].[monitoring_operations] AS")


def test_collations_that_differ_are_said() -> None:
    """Columns of other collations can be compared and united only when one is named."""
    from dbbtrace.warehouse.statements import Found, Shape

    shape = Shape((("table_name", Found("Table_Name", None, "Latin1_General_CI_AS")),))
    table = views.base_tables(TSQL, {"monitoring_integration": shape})["monitoring_integration"]
    assert table.columns == {"table_name": "[Table_Name] COLLATE DATABASE_DEFAULT"}
    statement = views.statements(TSQL, {"monitoring_integration": table})["monitoring_operations"]
    assert "[Table_Name] COLLATE DATABASE_DEFAULT AS [table_name]" in statement


@IN_TURN
@pytest.mark.skipif(not os.environ.get("DBBTRACE_TEST_MSSQL"), reason="DBBTRACE_TEST_MSSQL holds no connection string")
def test_a_live_server_takes_the_views() -> None:
    """SQL Server creates them, alters them, and answers."""
    with live_server() as warehouse:
        _takes_the_views(warehouse)


def _takes_the_views(warehouse: Warehouse) -> None:
    warehouse.migrate()
    for existing in ((), views.VIEWS):
        standing = {
            str(row[0])
            for row in warehouse.query(
                "SELECT TABLE_NAME FROM INFORMATION_SCHEMA.VIEWS WHERE TABLE_SCHEMA = 'meta'"
            ).rows
        }
        for statement in views.statements(
            warehouse.dialect, views.look(warehouse), standing | set(existing) & standing
        ).values():
            warehouse.query(statement)
    for view in views.VIEWS[:-1]:
        warehouse.query(f"SELECT COUNT(*) FROM meta.{view}")
        views.ask(warehouse, f"SELECT COUNT(*) FROM meta.{view} AS v", runs=["none"])


# -- run ----------------------------------------------------------------------------------------------------
# No T-SQL server can be had everywhere; sqlglot turns T-SQL into DuckDB's SQL, meaning for meaning.

_OPENJSON = re.compile(r"INNER JOIN LATERAL OPENJSON\(.*? END\) WITH .*? AS e")
_VALID = "CASE WHEN json_valid(o.depends_on) THEN o.depends_on END"  # as the view asks with ISJSON
_UNNEST = f"CROSS JOIN LATERAL (SELECT UNNEST(FROM_JSON({_VALID}, '[\"VARCHAR\"]')) AS value) AS e"
_TYPES = {Kind.TEXT: "varchar", Kind.TIME: "timestamp", Kind.BIT: "integer", Kind.FLOAT: "double"}


def duck_type(column: Column) -> str:
    return _TYPES.get(column.kind, column.sql_type)


_MICROSECOND = re.compile(r"EXTRACT\(microsecond FROM [^()]+\)", re.IGNORECASE)


def run_as_tsql(rows: dict[str, list[Row]], lacking: dict[str, tuple[str, ...]]) -> Any:
    """A connection on which the T-SQL views stand over the rows."""
    import duckdb

    connection = duckdb.connect()
    connection.execute("CREATE SCHEMA meta")
    connection.execute("CREATE MACRO getutcdate() AS (now() AT TIME ZONE 'UTC')")
    connection.execute("CREATE MACRO isjson(x) AS json_valid(x)::integer")
    for table in ALL_TABLES:
        columns = [column for column in table.columns if column.name not in lacking.get(table.name, ())]
        declared = ", ".join(f'"{column.name}" {duck_type(column)}' for column in columns)
        connection.execute(f"CREATE TABLE meta.{table.name} ({declared})")
        if given := rows.get(table.name):
            marks = f"({', '.join('?' * len(columns))})"  # one statement: DuckDB plans it anew for each row of many
            values = [row.get(column.name) for row in given for column in columns]
            connection.execute(f"INSERT INTO meta.{table.name} VALUES {', '.join([marks] * len(given))}", values)
    tables = tsql_tables(lacking)
    del tables[views.RECONCILIATION]
    for statement in views.statements(TSQL, tables).values():
        connection.execute(as_duckdb(statement))
    return connection


@cache
def as_duckdb(statement: str) -> str:
    """A T-SQL statement in DuckDB's words: to translate all views takes seconds."""
    (translated,) = sqlglot.transpile(statement, read="tsql", write="duckdb")
    # DuckDB counts the microseconds of the minute, T-SQL those of the second.
    translated = _MICROSECOND.sub(r"(\g<0> % 1000000)", translated)
    return _OPENJSON.sub(_UNNEST, translated)


def asked(connection: Any, view: str, *columns: str) -> list[Row]:
    found = connection.execute(f"SELECT {', '.join(columns)} FROM meta.{view}").fetchall()
    return [{name: plain(value) for name, value in zip(columns, row, strict=True)} for row in found]


def plain(value: Any) -> Any:
    """DuckDB sums to huge integers and decimals."""
    from decimal import Decimal

    return int(value) if isinstance(value, Decimal) and value == int(value) else value


@pytest.mark.parametrize("lacking", LACKING.values(), ids=LACKING)
@pytest.mark.parametrize("seed", range(4))
def test_the_t_sql_means_the_same(seed: int, lacking: dict[str, tuple[str, ...]]) -> None:
    """Operations, runs and failures are what plain Python makes of the rows, as on SQLite."""
    rows = without(mangled(make(6, seed=seed, failing=0.1 if seed % 2 else 0.01), seed), lacking)
    connection = run_as_tsql(rows, lacking)
    operations = expected.operations(rows)
    assert comparable(asked(connection, "monitoring_operations", *operations[0])) == comparable(operations)
    runs = [{"orchestration_run_id": run, **row} for run, row in expected.runs(operations).items()]
    assert comparable(asked(connection, "monitoring_runs", *runs[0])) == comparable(runs)
    failed = [o for o in operations if o["status"] == "Failed" and not o["superseded"]]
    names = ("orchestration_run_id", "operation_id", "error_message")
    assert comparable(asked(connection, "monitoring_failures", *names)) == comparable(
        [{name: o[name] for name in names} for o in failed]
    )


def test_the_t_sql_of_the_other_views_means_the_same(tmp_path: Path) -> None:
    """Lineage, performance and gaps answer as they do on SQLite."""
    from tests.answers.history import store

    history = mangled(make(9, seed=5, failing=0.05), 5)
    warehouse = store(history, tmp_path / "w.db", unique=False)
    connection = run_as_tsql(history.rows, {})
    for view, columns in {
        "monitoring_lineage": ("orchestration_run_id", "operation_id", "upstream_id", "upstream_status", "verdict"),
        "monitoring_performance": ("operation_id", "seconds", "earlier_runs", "median_seconds", "p95_seconds"),
        "monitoring_gaps": ("orchestration_run_id", "gap", "operation"),
        "monitoring_failures": ("orchestration_run_id", "operation_id", "nodes_held_up"),
    }.items():
        chosen = ", ".join(f"v.{column}" for column in columns)
        wanted = views.ask(warehouse, f"SELECT {chosen} FROM meta.{view} AS v")
        assert wanted
        assert comparable(asked(connection, view, *columns)) == comparable(
            [dict(zip(columns, row, strict=True)) for row in wanted]
        ), view


class Asked:
    """A T-SQL warehouse with these views in it, that notes what it is asked."""

    name = "mssql://h/d"
    dialect = TSQL

    def __init__(self, definitions: dict[str, str]) -> None:
        self.definitions = definitions
        self.asked: list[tuple[str, tuple[Any, ...]]] = []
        self.found = {
            table.name: Shape(tuple((column.name, Found(column.name)) for column in table.columns))
            for table in ALL_TABLES
        }

    def shapes(self) -> dict[str, Shape]:
        return self.found

    def query(self, sql: str, parameters: Any = ()) -> Result:
        self.asked.append((sql, tuple(parameters)))
        return Result((), list(self.definitions.items()) if "sys.sql_modules" in sql else [])


def standing() -> dict[str, str]:
    """The views as ``migrate`` makes them, and the server keeps them."""
    made = views.statements(TSQL, views.look(Asked({})))
    return {name: sql.replace("\n", "\r\n") + "\n" for name, sql in made.items()}


RUNS = "SELECT r.status FROM meta.monitoring_runs AS r WHERE r.operations > ?"


@pytest.mark.parametrize(
    ("runs", "reads", "bound"),
    [
        (None, "FROM [meta].[monitoring_runs] AS r", (5,)),
        (
            ["b", "a"],
            "FROM (SELECT * FROM [meta].[monitoring_runs] WHERE orchestration_run_id IN (?, ?)) AS r",
            ("a", "b", 5),
        ),
    ],
    ids=["all runs", "some"],
)
def test_a_created_view_is_read_as_it_is(runs: list[str] | None, reads: str, bound: tuple[Any, ...]) -> None:
    """The server is spared the statement of some 300 lines."""
    warehouse = Asked(standing())
    views.ask(warehouse, RUNS, [5], runs=runs)
    assert warehouse.asked[-1] == (f"SELECT r.status {reads} WHERE r.operations > ?", bound)


def test_whether_views_are_current_is_asked_once_a_connection() -> None:
    """A new connection looks at the tables anew, and at the views."""
    warehouse = Asked(standing())
    for _ in range(3):
        views.ask(warehouse, RUNS, [5])
    assert sum("sys.sql_modules" in sql for sql, _ in warehouse.asked) == 1
    warehouse.found = dict(warehouse.found)
    warehouse.definitions = {}
    views.ask(warehouse, RUNS, [5])
    assert warehouse.asked[-1][0].startswith("WITH ")


@pytest.mark.parametrize("changed", ["monitoring_runs", "monitoring_operations"])
def test_a_view_of_another_release_is_not_read(changed: str) -> None:
    """Nor one that reads such a view."""
    older = standing()
    older[changed] = older[changed].replace("SELECT", "SELECT 1 AS older,", 1)
    warehouse = Asked(older)
    views.ask(warehouse, RUNS, [5])
    assert warehouse.asked[-1][0].startswith("WITH ")
    assert "[monitoring_runs]" not in warehouse.asked[-1][0]


def test_a_view_for_fewer_columns_is_not_read() -> None:
    """The table has got a column since."""
    warehouse = Asked(standing())
    loads = warehouse.found["monitoring_integration"]
    warehouse.found["monitoring_integration"] = Shape(tuple(one for one in loads.found if one[0] != "environment"))
    assert "monitoring_runs" not in views.current(warehouse, views.look(warehouse))


def test_comparisons_of_runs_and_questions_about_many_are_put_together_as_before() -> None:
    """A view of all runs would answer something else, or read too much."""
    warehouse = Asked(standing())
    views.ask(warehouse, "SELECT p.seconds FROM meta.monitoring_performance AS p", runs=["a"])
    assert "[monitoring_performance]" not in warehouse.asked[-1][0]
    views.ask(warehouse, RUNS, [5], runs=[str(number) for number in range(21)])
    assert warehouse.asked[-1][0].startswith("WITH ")
