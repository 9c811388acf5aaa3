"""A server that speaks T-SQL and a pyodbc that talks to it, without either: T-SQL is parsed, then run on SQLite.

It raises what the real ones document: ``Error(sqlstate, "[SQLSTATE] [Microsoft][ODBC Driver 18 for SQL Server]
[SQL Server]text (native) (SQLExecDirectW)")``, and refuses what they would refuse: JSON with short escapes, values
that don't convert, texts that don't fit, comparisons of two collations, syntax that T-SQL doesn't know. Text beyond a
code page is lost in it as it is there.
"""

from __future__ import annotations

import json
import re
import sqlite3
import sys
import types
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import sqlglot
from sqlglot.errors import SqlglotError

STATES = {208: "42S02", 207: "42S22", 229: "42000", 230: "42000", 262: "42000", 916: "08004", 18456: "28000",
          4060: "42000", 2628: "22001", 8152: "22001", 8115: "22003", 8114: "42000", 241: "22007", 245: "22018",
          2601: "23000", 2627: "23000", 515: "23000", 547: "23000", 1205: "40001", 102: "42000", 468: "42000",
          13609: "42000", 10054: "08S01", 10053: "08S01", 10060: "08001"}  # fmt: skip


class Error(Exception):
    """pyodbc's base of errors."""


class DataError(Error):
    """Values the server can't take."""


class IntegrityError(Error):
    """Constraints."""


class OperationalError(Error):
    """Connections."""


class ProgrammingError(Error):
    """SQL."""


def fault(native: int, text: str = "Something went wrong.", *, state: str | None = None) -> Error:
    """The exception as pyodbc raises it for a server's error."""
    state = state or STATES.get(native, "42000")
    kind = {"22": DataError, "23": IntegrityError, "08": OperationalError, "28": OperationalError}
    driver = "[Microsoft][ODBC Driver 18 for SQL Server]"
    server = "" if state.startswith("08") else "[SQL Server]"
    message = f"[{state}] {driver}{server}{text} ({native}) (SQLExecDirectW)"
    return kind.get(state[:2], ProgrammingError)(state, message)


class Server:
    """One database with a schema meta, and everything that was asked of it."""

    def __init__(self, path: Path, *, edition: int = 3) -> None:
        self.path = path
        self.edition = edition
        self.collation = "Latin1_General_100_CI_AS_SC_UTF8"
        self.column_collations: dict[str, str] = {}
        self.babelfish: int | None = None
        self.driver = "libmsodbcsql-18.3.so.2.1"
        self.has_schema = False
        self.rights = ["INSERT", "SELECT"]
        self.statements: list[tuple[str, tuple[Any, ...]]] = []
        self.connections: list[Connection] = []
        self.connect_arguments: list[tuple[str, dict[str, Any]]] = []
        self.connect_faults: list[Exception] = []
        self.faults: list[tuple[str, Exception, bool]] = []
        self.poison: str | None = None

    def stand_in(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Be what ``import pyodbc`` gives, behind any address: nobody knocks there first."""
        monkeypatch.setitem(sys.modules, "pyodbc", self.module())
        monkeypatch.setattr("dbbtrace.warehouse.tsql.knock", lambda address: None)

    def fail(self, pattern: str, error: Exception, *, after: bool = False) -> None:
        """Raise once for the next statement that matches; ``after`` it was carried out, where its answer was lost."""
        self.faults.append((pattern, error, after))

    def sql(self, statement: str, parameters: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """Ask the database behind the server, in SQLite's words."""
        with sqlite3.connect(":memory:", isolation_level=None) as connection:
            connection.execute("ATTACH ? AS meta", (str(self.path),))
            return connection.execute(statement, parameters).fetchall()

    def inserts(self) -> list[str]:
        """The INSERT statements so far."""
        return [sql for sql, _ in self.statements if sql.startswith("INSERT")]

    def module(self) -> types.ModuleType:
        """The pyodbc that talks to this server."""
        module = types.ModuleType("pyodbc")
        module.Error, module.DataError, module.IntegrityError = Error, DataError, IntegrityError
        module.OperationalError, module.ProgrammingError = OperationalError, ProgrammingError
        module.connect = self.connect
        module.drivers = lambda: ["ODBC Driver 18 for SQL Server", "My Driver"]
        module.version = "5.2.0"
        return module

    def connect(self, connection_string: str, **arguments: Any) -> Connection:
        """As pyodbc.connect."""
        self.connect_arguments.append((connection_string, arguments))
        if self.connect_faults:
            raise self.connect_faults.pop(0)
        connection = Connection(self)
        self.connections.append(connection)
        return connection


class Connection:
    """As pyodbc.Connection, in autocommit."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.timeout = 0
        self.closed = False
        self._sqlite = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        self._sqlite.execute("ATTACH ? AS meta", (str(server.path),))

    def getinfo(self, what: int) -> str:
        return {6: self.server.driver, 7: "18.03.0002"}[what]  # SQL_DRIVER_NAME, SQL_DRIVER_VER

    def cursor(self) -> Cursor:
        if self.closed:
            raise ProgrammingError("Attempt to use a closed connection.")
        return Cursor(self)

    def close(self) -> None:
        self.closed = True
        self._sqlite.close()

    def run(self, sql: str, parameters: tuple[Any, ...]) -> sqlite3.Cursor:
        server = self.server
        server.statements.append((sql, parameters))
        _parse(sql)
        for place, (pattern, error, after) in enumerate(server.faults):
            if re.search(pattern, sql):
                del server.faults[place]
                if after:
                    self._execute(sql, parameters)
                raise error
        return self._execute(sql, parameters)

    def _execute(self, sql: str, parameters: tuple[Any, ...]) -> sqlite3.Cursor:
        for pattern, answer in _SYSTEM:
            if match := re.search(pattern, sql):
                return answer(self, match, parameters)
        if "OPENJSON" in sql:
            sql, parameters = self._insert(sql, parameters)
        try:
            return self._sqlite.execute(_in_sqlite(sql), parameters)
        except sqlite3.IntegrityError as error:
            raise fault(2601 if "UNIQUE" in str(error) else 515, str(error)) from None
        except sqlite3.OperationalError as error:
            native = 208 if "no such table" in str(error) else 207 if "column" in str(error) else 102
            raise fault(native, str(error)) from None

    def _insert(self, sql: str, parameters: tuple[Any, ...]) -> tuple[str, tuple[Any, ...]]:
        assert len(parameters) == 1, "one parameter a statement"
        text = parameters[0]
        assert text.isascii()
        assert not re.search(r"\\(?!u[0-9a-f]{4})", text), "\\uXXXX is the only escape"
        assert not re.search("[\x00-\x1f]", text)
        self._check_collations(sql)
        given = re.search(r"OPENJSON\(\?\) WITH \((.*?)\) AS j\n", sql, re.S)
        assert given, sql
        columns = re.findall(r"(\[.*?\]) ([a-z0-9]+(?:\((?:[0-9,]+|max)\))?) '\$\[(\d+)\]'", given[1])
        if self.server.poison and self.server.poison in text:
            raise fault(8114, "Error converting data type nvarchar to bigint.")
        try:
            rows = json.loads(text)
        except ValueError:
            raise fault(13609, "JSON text is not properly formatted.") from None
        for row in rows:
            for _, type_, place in columns:
                _convert(row[int(place)], type_)
            self._check_lengths(sql, row)
            self._lose(sql, row, [type_ for _, type_, _ in columns])
        chosen = ", ".join(f"json_extract(value, '$[{place}]') AS {name}" for name, _, place in columns)
        return sql.replace(given[0], f"(SELECT {chosen} FROM json_each(?)) AS j\n"), (json.dumps(rows),)

    def _lose(self, sql: str, row: list[Any], types: list[str]) -> None:
        """Text beyond the code page survives no varchar of the database's collation, on its way or at its end."""
        target = re.search(r"INTO \[meta\]\.\[(\w+)\] \((.*?)\)", sql)
        assert target
        kept = {name for name, type_, collation in self._texts(target[1]) if type_ == "nvarchar" or _utf8(collation)}
        names = re.findall(r"\[(.*?)\]", target[2])
        for place, (value, type_) in enumerate(zip(row, types, strict=True)):
            through = type_.startswith("nvarchar") or _utf8(self.server.collation)
            if isinstance(value, str) and not (through and (place >= len(names) or names[place] in kept)):
                row[place] = value.encode("cp1252", "replace").decode("cp1252")

    def _check_collations(self, sql: str) -> None:
        for column, collation in self.server.column_collations.items():
            for match in re.finditer(rf"t\.\[{column}\](?:, '')?\)? = (?:COALESCE\()?j\.\[\w+\]( COLLATE \w+)?", sql):
                if match[1] != f" COLLATE {collation}":
                    raise fault(468, "Cannot resolve the collation conflict.")

    def _check_lengths(self, sql: str, row: list[Any]) -> None:
        table = re.search(r"INTO \[meta\]\.\[(\w+)\] \((.*?)\)", sql)
        assert table
        declared = {name: type_ for _, name, type_, *_ in self._columns(table[1])}
        for name, value in zip(re.findall(r"\[(.*?)\]", table[2]), row, strict=False):
            limit = re.fullmatch(r"varchar\((\d+)\)", declared.get(name, ""))
            if limit and value is not None and len(str(value).encode()) > int(limit[1]):
                raise fault(2628, f"String or binary data would be truncated in column '{name}'.")

    def _columns(self, table: str) -> list[tuple[Any, ...]]:
        return self._sqlite.execute(f"PRAGMA meta.table_info([{table}])").fetchall()

    def _texts(self, table: str) -> list[tuple[str, str, str]]:
        """(name, type, collation) of the text columns."""
        declared = {name: type_.split("(")[0] for _, name, type_, *_ in self._columns(table)}
        collations = self.server.column_collations
        return [
            (name, type_, collations.get(name, self.server.collation))
            for name, type_ in declared.items()
            if "varchar" in type_
        ]

    def information_schema(self) -> list[tuple[Any, ...]]:
        tables = self._sqlite.execute("SELECT name FROM meta.sqlite_master WHERE type = 'table'").fetchall()
        rows = []
        for (table,) in tables:
            collations = {name: collation for name, _, collation in self._texts(table)}
            for _, name, type_, *_ in self._columns(table):
                size = re.fullmatch(r"n?varchar\((\d+)\)", type_)
                length = int(size[1]) if size else None
                default = self.server.collation
                rows.append((table, name, type_.split("(")[0], length, collations.get(name), default))
        return rows

    def answer(self, rows: list[tuple[Any, ...]]) -> sqlite3.Cursor:
        marks = ", ".join("?" * len(rows[0])) if rows else "NULL"
        union = " UNION ALL ".join([f"SELECT {marks}"] * len(rows)) or "SELECT NULL WHERE 0"
        return self._sqlite.execute(union, [value for row in rows for value in row])


class Cursor:
    """As pyodbc.Cursor."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._cursor: Any = None
        self._sizes: list[Any] = []

    def setinputsizes(self, sizes: list[Any]) -> None:
        self._sizes = sizes

    def execute(self, sql: str, *parameters: Any) -> Cursor:
        if len(parameters) == 1 and isinstance(parameters[0], (tuple, list)):
            parameters = tuple(parameters[0])
        self._check_sizes(parameters)
        self._cursor = self.connection.run(sql, parameters)
        return self

    def _check_sizes(self, parameters: tuple[Any, ...]) -> None:
        """Microsoft's driver sends long texts as ntext unless it is told; FreeTDS does not want to be told."""
        sizes = [*self._sizes, *[None] * (len(parameters) - len(self._sizes))]
        for size, value in zip(sizes, parameters, strict=True):
            told = size == (-9, 0, 0)
            if (
                not isinstance(value, str)
                or len(value) <= 2000
                or told == ("msodbcsql" in self.connection.server.driver)
            ):
                continue
            if told:
                raise fault(0, "Invalid string or buffer length", state="HY090")
            raise fault(4189, "Cannot convert to text/ntext or collate to 'Latin1_General_100_BIN2_UTF8'.")

    def fetchone(self) -> Any:
        return self._cursor.fetchone()

    def fetchall(self) -> Any:
        return self._cursor.fetchall()

    @property
    def description(self) -> Any:
        return self._cursor.description

    @property
    def rowcount(self) -> int:
        return int(self._cursor.rowcount)

    def close(self) -> None:
        self._cursor = None


def _utf8(collation: str) -> bool:
    return collation.endswith("_UTF8")


def _parse(sql: str) -> None:
    try:
        for dialect in ("tsql", "fabric"):
            sqlglot.parse_one(sql, dialect=dialect, error_level=sqlglot.ErrorLevel.RAISE)
    except SqlglotError as error:
        raise fault(102, f"Incorrect syntax: {error}") from None


def _convert(value: Any, type_: str) -> None:
    """Raise as OPENJSON ... WITH does for what does not convert."""
    if value is None:
        return
    try:
        if type_ == "bigint":
            if not -(2**63) <= int(value) < 2**63:
                raise fault(8115, "Arithmetic overflow error converting expression to data type bigint.")
        elif type_.startswith("decimal"):
            if "e" in repr(value).lower() or abs(float(value)) >= 1e16:
                raise fault(8114, "Error converting data type nvarchar to numeric.")
        elif type_ == "float":
            float(value)
        elif type_ == "bit":
            if value not in (0, 1):
                raise fault(8114, "Error converting data type nvarchar to bit.")
        elif type_.startswith("datetime2"):
            datetime.fromisoformat(value)
        else:
            assert type_.startswith(("varchar", "nvarchar")), type_
    except ValueError:
        raise fault(241, "Conversion failed.") from None


def _in_sqlite(sql: str) -> str:
    sql = re.sub(r" COLLATE \w+", "", sql)
    sql = re.sub(r"DATEADD\(second, (-?\d+), ([^)]+)\)", r"datetime(\2, '\1 second')", sql)
    return re.sub(r"^CREATE UNIQUE INDEX (\[\w+\]) ON \[meta\]\.", r"CREATE UNIQUE INDEX [meta].\1 ON ", sql)


def _create_schema(connection: Connection, match: Any, parameters: Any) -> sqlite3.Cursor:
    connection.server.has_schema = True
    return connection.answer([])


def _edition(server: Server) -> list[tuple[Any, ...]]:
    return [(server.edition, server.babelfish)]


def _index_count(connection: Connection, match: Any, parameters: Any) -> sqlite3.Cursor:
    target, name = parameters
    indexes = connection._sqlite.execute(f"PRAGMA meta.index_list({target.split('.')[1]})").fetchall()
    found = 0
    for _, index, unique, *_ in indexes:
        columns = [row[2] for row in connection._sqlite.execute(f"PRAGMA meta.index_info([{index}])")]
        found += index == name or bool(unique and "record_id" in columns)
    return connection.answer([(found,)])


_SYSTEM: list[tuple[str, Callable[[Connection, Any, Any], sqlite3.Cursor]]] = [
    (r"FROM INFORMATION_SCHEMA\.COLUMNS", lambda connection, *_: connection.answer(connection.information_schema())),
    (
        r"^SELECT CONVERT\(varchar\(128\), DATABASEPROPERTYEX",
        lambda connection, *_: connection.answer([(connection.server.collation,)]),
    ),
    (r"SERVERPROPERTY\('EngineEdition'\)", lambda connection, *_: connection.answer(_edition(connection.server))),
    (r"SUSER_SNAME\(\)", lambda connection, *_: connection.answer([("u",)])),
    (
        r"FROM sys\.fn_my_permissions\(\?, 'OBJECT'\)",
        lambda connection, *_: connection.answer([(right,) for right in connection.server.rights]),
    ),
    (r"FROM sys\.views AS v", lambda connection, *_: connection.answer([])),
    (r"FROM sys\.schemas", lambda connection, *_: connection.answer([(int(connection.server.has_schema),)])),
    (r"FROM sys\.indexes", _index_count),
    (r"^CREATE SCHEMA \[meta\]", _create_schema),
]
