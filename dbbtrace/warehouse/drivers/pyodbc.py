"""pyodbc, with Microsoft's ODBC driver or FreeTDS. Both are system packages."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from dbbtrace.errors import ConfigurationError, DbbtraceError
from dbbtrace.warehouse import driver_errors
from dbbtrace.warehouse.drivers.interface import LOGIN_TIMEOUT, STATEMENT_TIMEOUT
from dbbtrace.warehouse.urls import OdbcAddress

__all__ = ["Pyodbc"]

_SQL_DRIVER_NAME, _SQL_DRIVER_VERSION = 6, 7
_MICROSOFT = "msodbcsql"
_SQL_WVARCHAR = -9
_ANY_TEXT = (_SQL_WVARCHAR, 0, 0)
"""nvarchar(max). Else pyodbc and Microsoft's driver send a text of more than 2,000 characters as ntext, which OPENJSON
does not take, nor a database in UTF-8, as every Fabric Warehouse is: https://github.com/mkleehammer/pyodbc/issues/835.
FreeTDS does it well, and refuses to be told."""


class Pyodbc:
    """The ``Driver`` pyodbc."""

    def __init__(self) -> None:
        try:
            import pyodbc
        except ModuleNotFoundError:
            raise ConfigurationError("T-SQL warehouses need a driver: pip install 'dbbtrace[mssql]'") from None
        except ImportError as error:
            raise ConfigurationError(
                f"pyodbc needs the system's unixODBC ({error}): pip install 'dbbtrace[mssql]', which needs no system"
                " package; or apt-get install unixodbc (brew install unixodbc), and then the driver:"
                " https://learn.microsoft.com/sql/connect/odbc/download-odbc-driver-for-sql-server"
            ) from None
        self._pyodbc = pyodbc

    def has(self, driver: str | None) -> bool:
        """Whether the ODBC driver of that name, or at that path, is installed; None: a data source names it."""
        if driver is None:
            return True
        if os.path.isabs(driver):
            return os.path.exists(driver)
        return driver.lower() in {name.lower() for name in self._pyodbc.drivers()}

    def connect(self, address: OdbcAddress, before: Mapping[int, bytes]) -> Any:
        connection = self._pyodbc.connect(
            address.connection_string, autocommit=True, timeout=LOGIN_TIMEOUT, attrs_before={**before}
        )
        connection.timeout = STATEMENT_TIMEOUT
        return connection

    def describe(self, connection: Any) -> str:
        name, version = connection.getinfo(_SQL_DRIVER_NAME), connection.getinfo(_SQL_DRIVER_VERSION)
        return f"pyodbc {self._pyodbc.version} with {name} {version}"

    def bind_texts(self, connection: Any, cursor: Any, parameters: tuple[Any, ...]) -> None:
        texts = [isinstance(value, str) for value in parameters]
        if any(texts) and _MICROSOFT in str(connection.getinfo(_SQL_DRIVER_NAME)).lower():
            cursor.setinputsizes([_ANY_TEXT if text else None for text in texts])

    def fault(self, error: BaseException, *, writing: bool) -> DbbtraceError:
        return driver_errors.of_odbc(error, writing=writing)
