"""The Python drivers for T-SQL, and which one is used. A module each; what they share is in ``tsql``.

pyodbc comes first where it finds the ODBC driver that the address asks for, as in Fabric. Otherwise Microsoft's
mssql-python is used, whose wheel brings its own driver. Importing this imports no driver.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from dbbtrace.errors import ConfigurationError, DbbtraceError
from dbbtrace.warehouse.urls import OdbcAddress

__all__ = ["LOGIN_TIMEOUT", "STATEMENT_TIMEOUT", "Driver", "driver_for"]

LOGIN_TIMEOUT = 120
"""Seconds. A sleeping Fabric Warehouse takes 60 to 90 to answer."""
STATEMENT_TIMEOUT = 120
"""Seconds until a statement is given up. A statement whose connection was lost may run that long."""


class Driver(Protocol):
    """One Python package that speaks T-SQL."""

    def connect(self, address: OdbcAddress, before: Mapping[int, bytes]) -> Any:
        """A new DB-API connection in autocommit, with both time limits; raises the driver's exceptions.

        Args:
            address: the database.
            before: connection attributes to set before connecting: the access token.
        """

    def describe(self, connection: Any) -> str:
        """Name and version of the package, and of the ODBC driver under it."""

    def bind_texts(self, connection: Any, cursor: Any, parameters: tuple[Any, ...]) -> None:
        """Make texts of any length arrive as (n)varchar, whatever the driver would do by itself."""

    def fault(self, error: BaseException, *, writing: bool) -> DbbtraceError:
        """The typed error for the driver's exception."""


def driver_for(address: OdbcAddress) -> Driver:
    """The driver to reach this database with.

    Raises:
        ConfigurationError: neither package can be imported; the message says what to install.
    """
    from dbbtrace.warehouse.drivers import mssql_python, pyodbc

    try:
        odbc: pyodbc.Pyodbc | None = pyodbc.Pyodbc()
    except ConfigurationError as error:
        odbc, why = None, error
    if odbc is not None and odbc.has(address.driver):
        return odbc
    if mssql_python.installed():
        return mssql_python.MssqlPython()
    if odbc is not None:
        return odbc  # its own error names the driver that is missing
    raise why
