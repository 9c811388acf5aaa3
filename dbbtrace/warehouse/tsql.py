"""Connections to T-SQL: SQL Server, Azure SQL, Fabric Warehouse, and Babelfish.

Everything that does not depend on the Python driver; ``drivers`` has what does, and chooses one when first needed.
``connection`` describes what a connector does.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

from dbbtrace.access.credentials import TokenSource, token_of
from dbbtrace.errors import DbbtraceError, TransientError
from dbbtrace.warehouse.connection import shape_of
from dbbtrace.warehouse.dialects import BABELFISH, FABRIC, TSQL, Dialect
from dbbtrace.warehouse.drivers import Driver, driver_for
from dbbtrace.warehouse.drivers.interface import STATEMENT_TIMEOUT
from dbbtrace.warehouse.reach import knock
from dbbtrace.warehouse.schema import SCHEMA, WRITTEN, Row, Table
from dbbtrace.warehouse.statements import Found, Shape, suited
from dbbtrace.warehouse.urls import OdbcAddress

__all__ = ["TsqlConnector"]

_ACCESS_TOKEN = 1256
"""SQL_COPT_SS_ACCESS_TOKEN: connection attribute of Microsoft's ODBC driver."""

_COLUMNS = f"""\
SELECT TABLE_NAME, COLUMN_NAME, DATA_TYPE, CHARACTER_MAXIMUM_LENGTH, COLLATION_NAME,
       CONVERT(varchar(128), DATABASEPROPERTYEX(DB_NAME(), 'Collation'))
FROM INFORMATION_SCHEMA.COLUMNS
WHERE TABLE_SCHEMA = '{SCHEMA}'"""
_EDITION = "SELECT CONVERT(int, SERVERPROPERTY('EngineEdition')), CONVERT(int, SERVERPROPERTY('Babelfish'))"
_FABRIC_EDITION = 11
# Babelfish changes the names of indexes, and someone may have created an equivalent index.
_INDEX = """\
SELECT COUNT(*) FROM sys.indexes AS i
INNER JOIN sys.index_columns AS k ON k.object_id = i.object_id AND k.index_id = i.index_id
INNER JOIN sys.columns AS c ON c.object_id = k.object_id AND c.column_id = k.column_id
WHERE i.object_id = OBJECT_ID(?) AND (i.name = ? OR (i.is_unique = 1 AND c.name = 'record_id'))"""
_IDLE = 30.0
"""Idle seconds after which a connection is tested before use, because gateways cut idle connections."""


class TsqlConnector:
    """SQL Server, Azure SQL or Fabric Warehouse, through either driver."""

    fork_patience = 0.2  # a statement may wait for a lock, or for a warehouse that sleeps

    def __init__(self, address: OdbcAddress, token: TokenSource | None) -> None:
        self.name = address.name
        self._address = address
        self._token = token
        self._dialect = FABRIC if address.in_fabric else None
        self._chosen: Driver | None = None

    @property
    def _driver(self) -> Driver:
        if self._chosen is None:
            self._chosen = driver_for(self._address)
        return self._chosen

    def connect(self) -> Any:
        driver = self._driver
        knock(self._address)
        # Get the token first. This may take long, and needs no connection.
        before = {_ACCESS_TOKEN: _packed(token_of(self._token))} if self._token else {}
        try:
            return driver.connect(self._address, before)
        except DbbtraceError:
            raise
        except Exception as error:
            raise self.fault(error) from error

    def driver(self, connection: Any) -> str:
        return self._driver.describe(connection)

    def connect_bare(self, *, dry_run: bool, waits: float) -> Any:
        return self.connect()

    def dialect(self, connection: Any) -> Dialect:
        if self._dialect is None:
            edition, babelfish = connection.cursor().execute(_EDITION).fetchone()
            self._dialect = BABELFISH if babelfish else FABRIC if edition == _FABRIC_EDITION else TSQL
        return self._dialect

    def still_there(self, connection: Any, idle: float) -> bool:
        if idle < _IDLE:
            return True
        try:
            connection.cursor().execute("SELECT 1").fetchone()
        except Exception:
            return False
        return True

    def shapes(self, connection: Any) -> dict[str, Shape]:
        columns: dict[str, list[Found]] = {}
        for table, name, type_, length, collation, default in connection.cursor().execute(_COLUMNS).fetchall():
            differs = collation if collation and default and collation != default else None
            wide = not _utf8(default) and (str(type_).lower() in ("nvarchar", "nchar") or _utf8(collation))
            exact = bool(default) and "_CI" not in str(default).upper()
            columns.setdefault(str(table), []).append(Found(str(name), length, differs, wide, exact))
        return {table.name: shape_of(table, columns[table.name]) for table in WRITTEN if table.name in columns}

    def indexed(self, connection: Any, table: str, index: str) -> bool:
        target = self.dialect(connection).target(table)
        found = connection.cursor().execute(_INDEX, (target, index)).fetchone()
        return bool(found and found[0])

    def execute(self, connection: Any, sql: str, parameters: Sequence[Any]) -> Any:
        cursor = connection.cursor()
        if not parameters:
            return cursor.execute(sql)
        self._driver.bind_texts(connection, cursor, tuple(parameters))
        return cursor.execute(sql, tuple(parameters))

    def insert(self, connection: Any, table: Table, shape: Shape, rows: Sequence[Row]) -> int:
        dialect = self.dialect(connection)
        bound = suited(dialect, table, shape, rows).bind(rows)
        statement = suited(dialect.fitting(bound), table, shape, rows)
        cursor = self.execute(connection, statement.sql, (dialect.parameter(bound),))
        try:
            return max(int(cursor.rowcount), 0)
        finally:
            cursor.close()

    def interrupt(self, connection: Any) -> None:
        """Nothing to do: a statement ends by itself at its time limit."""

    def fault(self, error: BaseException, *, writing: bool = False) -> DbbtraceError:
        fault = self._driver.fault(error, writing=writing)
        if isinstance(fault, TransientError) and fault.ambiguous and self._dialect is FABRIC:
            # There, nothing prevents both a running statement and its repetition from committing.
            fault.retry_after = STATEMENT_TIMEOUT
        return fault


def _utf8(collation: str | None) -> bool:
    return str(collation).upper().endswith("_UTF8")


def _packed(token: str) -> bytes:
    """The token in the driver's format: its length in bytes, then the text in UTF-16-LE."""
    encoded = token.encode("utf-16-le")
    return struct.pack(f"<I{len(encoded)}s", len(encoded), encoded)
