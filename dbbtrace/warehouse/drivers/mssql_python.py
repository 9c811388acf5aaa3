"""mssql-python, Microsoft's own: a wheel with its ODBC driver in it, so no unixODBC and no system driver.

It takes fewer keywords in a connection string than ODBC does, and chooses Driver= and APP= itself. Its exceptions have
no number: ``driver_texts`` has what they say instead.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping
from typing import Any

from dbbtrace.errors import ConfigurationError, DbbtraceError
from dbbtrace.warehouse import driver_errors
from dbbtrace.warehouse.drivers.interface import LOGIN_TIMEOUT, STATEMENT_TIMEOUT
from dbbtrace.warehouse.urls import OdbcAddress

__all__ = ["MssqlPython", "installed"]

_SQL_DRIVER_NAME, _SQL_DRIVER_VERSION = 6, 7
_CHOSEN_BY_IT = ("driver", "app")
_SYSTEM_LIBRARIES = {
    "libltdl.so.7": "libltdl7",
    "libkrb5.so.3": "libkrb5-3",
    "libgssapi_krb5.so.2": "libgssapi-krb5-2",
}
"""What its ODBC driver loads and slim images lack, with Debian's packages for it."""


def installed() -> bool:
    """Whether the package is there."""
    if "mssql_python" in sys.modules:
        return sys.modules["mssql_python"] is not None
    return importlib.util.find_spec("mssql_python") is not None


class MssqlPython:
    """The ``Driver`` mssql-python."""

    def __init__(self) -> None:
        first = "mssql_python" not in sys.modules
        try:
            import mssql_python
        except ImportError as error:
            raise ConfigurationError(f"mssql-python can't be loaded ({error}){_lacking()}") from None
        if first:
            # A forked child would take its parent's connections from a pool. A job that imported it first has its own
            # idea of pooling.
            mssql_python.pooling(enabled=False)
        self._module = mssql_python

    def connect(self, address: OdbcAddress, before: Mapping[int, bytes]) -> Any:
        if not address.microsoft:
            raise ConfigurationError(
                f"mssql-python brings Microsoft's driver and takes no other: leave Driver={address.driver or ''} and"
                " DSN= out of the warehouse's connection string, or install pyodbc and that driver"
            )
        connection = self._module.connect(
            address.without(*_CHOSEN_BY_IT), autocommit=True, timeout=LOGIN_TIMEOUT, attrs_before={**before}
        )
        connection.timeout = STATEMENT_TIMEOUT
        return connection

    def describe(self, connection: Any) -> str:
        name, version = connection.getinfo(_SQL_DRIVER_NAME), connection.getinfo(_SQL_DRIVER_VERSION)
        return f"mssql-python {self._module.__version__} with {name} {version}"

    def bind_texts(self, connection: Any, cursor: Any, parameters: tuple[Any, ...]) -> None:
        """Nothing to do: it sends long texts as varchar(max) or nvarchar(max)."""

    def fault(self, error: BaseException, *, writing: bool) -> DbbtraceError:
        if type(error).__name__ == "ConnectionStringParseError":
            said = driver_errors.short("; ".join(getattr(error, "errors", [str(error)])))
            return ConfigurationError(
                f"mssql-python does not take the warehouse's connection string: {said}; leave that out, or install"
                " pyodbc and Microsoft's ODBC driver, which take it"
            )
        lacking = _lacking()
        if lacking and "SQLSTATE" not in str(error) and "[Microsoft]" not in str(error):
            return ConfigurationError(f"{driver_errors.short(str(error))}{lacking}")
        return driver_errors.of_mssql_python(error, writing=writing)


def _lacking() -> str:
    """Which system libraries can't be loaded, and how to get them; empty if none is missing."""
    if sys.platform != "linux":
        return ""
    missing = [library for library in _SYSTEM_LIBRARIES if not _loads(library)]
    if not missing:
        return ""
    packages = " ".join(_SYSTEM_LIBRARIES[library] for library in missing)
    return f": its ODBC driver needs {', '.join(missing)}, which this system lacks: apt-get install {packages}"


def _loads(library: str) -> bool:
    import ctypes

    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True
