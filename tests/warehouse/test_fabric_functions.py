"""Fabric Warehouse has less than SQL Server: only functions whose documentation names it are used."""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Iterator
from pathlib import Path

import dbbtrace
from dbbtrace.warehouse import views
from dbbtrace.warehouse.dialects import FABRIC
from dbbtrace.warehouse.schema import TABLES, VALIDATIONS, Kind
from dbbtrace.warehouse.statements import Found, Shape, insert
from dbbtrace.warehouse.views.spelling import spelled

DOCS = "https://learn.microsoft.com/sql/"
DOCUMENTED = {
    "AVG": "t-sql/functions/avg-transact-sql",
    "CAST": "t-sql/functions/cast-and-convert-transact-sql",
    "CHARINDEX": "t-sql/functions/charindex-transact-sql",
    "COALESCE": "t-sql/language-elements/coalesce-transact-sql",
    "CONCAT": "t-sql/functions/concat-transact-sql",
    "CONVERT": "t-sql/functions/cast-and-convert-transact-sql",
    "COUNT_BIG": "t-sql/functions/count-big-transact-sql",
    "COUNT": "t-sql/functions/count-transact-sql",
    "DATABASEPROPERTYEX": "t-sql/functions/databasepropertyex-transact-sql",
    "DATEADD": "t-sql/functions/dateadd-transact-sql",
    "DATEDIFF": "t-sql/functions/datediff-transact-sql",
    "DATEPART": "t-sql/functions/datepart-transact-sql",
    "DB_NAME": "t-sql/functions/db-name-transact-sql",
    "GETUTCDATE": "t-sql/functions/getutcdate-transact-sql",
    "ISJSON": "t-sql/functions/isjson-transact-sql",
    "JSON_VALUE": "t-sql/functions/json-value-transact-sql",
    "LAG": "t-sql/functions/lag-transact-sql",
    "LEN": "t-sql/functions/len-transact-sql",
    "LOWER": "t-sql/functions/lower-transact-sql",
    "MAX": "t-sql/functions/max-transact-sql",
    "MIN": "t-sql/functions/min-transact-sql",
    "NULLIF": "t-sql/language-elements/nullif-transact-sql",
    "OBJECT_ID": "t-sql/functions/object-id-transact-sql",
    "OPENJSON": "t-sql/functions/openjson-transact-sql",
    "REPLACE": "t-sql/functions/replace-transact-sql",
    "REVERSE": "t-sql/functions/reverse-transact-sql",
    "RIGHT": "t-sql/functions/right-transact-sql",
    "ROUND": "t-sql/functions/round-transact-sql",
    "ROW_NUMBER": "t-sql/functions/row-number-transact-sql",
    "SERVERPROPERTY": "t-sql/functions/serverproperty-transact-sql",
    "SUBSTRING": "t-sql/functions/substring-transact-sql",
    "SUM": "t-sql/functions/sum-transact-sql",
    "SUSER_SNAME": "t-sql/functions/suser-sname-transact-sql",
    "SYS.FN_MY_PERMISSIONS": "relational-databases/system-functions/sys-fn-my-permissions-transact-sql",
    "TRY_CAST": "t-sql/functions/try-cast-transact-sql",
}
"""Function → its page below DOCS. The head of each page lists "Warehouse in Microsoft Fabric": look there before you
add one."""

NO_FUNCTIONS = {
    "AND", "AS", "BY", "EXISTS", "FROM", "IN", "JOIN", "NOT", "ON", "OR", "OVER", "SELECT", "THEN", "VALUES", "WHEN",
    "WITH", "DATETIME2", "DECIMAL", "NVARCHAR", "VARCHAR",
}  # fmt: skip
"""Other words that a parenthesis may follow."""

PACKAGE = Path(dbbtrace.__file__).parent
SQLITE_ONLY = ("connection.py", "sqlite_batches.py", "dialects.py", "spelling.py")
"""What these say in T-SQL is in the rendered statements."""
_CALL = re.compile(r"(?<![\w@\].])((?:sys\.)?[A-Za-z_]\w*)\s*\(")
_NO_CODE = re.compile(r"'(?:[^']|'')*'|\[[^\]]*\]|--[^\n]*")
_SQL = re.compile(r"\b(SELECT|INSERT INTO|WHERE|CREATE VIEW|ALTER TABLE)\b")


def functions(sql: str) -> set[str]:
    """The functions that a statement calls."""
    found = {name.upper() for name in _CALL.findall(_NO_CODE.sub("''", sql))} - NO_FUNCTIONS
    return {name for name in found if not name.startswith("PRAGMA_")}


def test_the_scan_finds_functions() -> None:
    """And nothing in texts, names and comments."""
    sql = "SELECT Count(*), DATEDIFF_BIG(second, [MAX(x)], 'SUM(y)') FROM sys.fn_x(1) -- MIN(z)\nWHERE a IN (1)"
    assert functions(sql) == {"COUNT", "DATEDIFF_BIG", "SYS.FN_X"}


def test_views_inserts_and_ddl_call_documented_functions_alone() -> None:
    """Every statement that is put together from parts."""
    statements = list(_rendered())
    assert len(statements) > 20
    assert {name for sql in statements for name in functions(sql)} <= DOCUMENTED.keys()


def test_sql_written_in_modules_calls_documented_functions_alone() -> None:
    """The questions of the answers, of doctor and of the connection."""
    called = {(path.name, name) for path, sql in _written() for name in functions(sql)}
    assert ("doctor.py", "SUSER_SNAME") in called
    assert ("tsql.py", "SERVERPROPERTY") in called
    assert {(path, name) for path, name in called if name not in DOCUMENTED} == set()


def test_the_list_names_what_is_used() -> None:
    """Nothing that went."""
    sources = [*_rendered(), *(sql for _, sql in _written())]
    assert {name for sql in sources for name in functions(sql)} == set(DOCUMENTED)


def _rendered() -> Iterator[str]:
    tables = {
        table.name: views.BaseTable(
            FABRIC.target(table.name), {column.name: FABRIC.quote(column.name) for column in table.columns}
        )
        for table in TABLES
    }
    reconciliation = {name: FABRIC.quote(name) for name in views._RECONCILIATION_COLUMNS}
    tables[views.RECONCILIATION] = views.BaseTable("[d].[k]", reconciliation)
    yield from views.statements(FABRIC, tables).values()
    yield FABRIC.rights
    shape = Shape(tuple((c.name, Found(c.name)) for c in VALIDATIONS.columns))
    yield insert(FABRIC, VALIDATIONS, shape, facts=False, interrupted=False).sql
    for table in TABLES:
        yield FABRIC.create_table(table)
        yield from FABRIC.indexes(table).values()
        for wide, facts, interrupted in itertools.product((True, False), repeat=3):
            found = [(c.name, Found(c.name, wide=wide and c.kind is Kind.TEXT)) for c in table.columns]
            yield insert(FABRIC, table, Shape(tuple(found)), facts, interrupted).sql


def _written() -> Iterator[tuple[Path, str]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        if path.name not in SQLITE_ONLY and "demo" not in path.parts:
            for text in _texts(ast.parse(path.read_text(encoding="utf-8"))):
                if _SQL.search(text):
                    yield path, spelled(text, tsql=True)


def _texts(tree: ast.AST) -> Iterator[str]:
    """The strings in a module that are no docstrings; what an f-string puts in reads ``x``."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            continue
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "x" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        yield from _texts(node)
