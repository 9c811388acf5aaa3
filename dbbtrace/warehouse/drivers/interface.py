"""What a Python driver for T-SQL must do for ``tsql``, and the time limits it sets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from dbbtrace.errors import DbbtraceError
from dbbtrace.warehouse.urls import OdbcAddress

__all__ = ["LOGIN_TIMEOUT", "STATEMENT_TIMEOUT", "Driver"]

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
