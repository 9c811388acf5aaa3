"""The Python drivers for T-SQL, and which one is used. A module each; what they share is in ``tsql``.

pyodbc comes first where it finds the ODBC driver that the address asks for, as in Fabric. Otherwise Microsoft's
mssql-python is used, whose wheel brings its own driver. Importing this imports no driver.
"""

from __future__ import annotations

from dbbtrace.errors import ConfigurationError
from dbbtrace.warehouse.drivers.interface import Driver
from dbbtrace.warehouse.urls import OdbcAddress

__all__ = ["Driver", "driver_for"]


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
