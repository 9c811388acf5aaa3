"""The warehouse: the database that holds schema ``meta`` with its three tables.

``open_warehouse`` gives the one handle; ``schema`` is what the tables are; ``views`` is the SQL that answers read.
Importing this imports no driver.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from dbbtrace.errors import UsageError

if TYPE_CHECKING:
    from dbbtrace.warehouse.connection import Result
    from dbbtrace.warehouse.warehouse import Warehouse

__all__ = ["Result", "Warehouse", "name_of", "open_warehouse"]


def open_warehouse(
    url: str | None = None, *, access_token: str | Callable[[], str] | None = None, create: bool = True
) -> Warehouse:
    """The warehouse behind a URL; connects when first used. ``with`` closes it at the end.

    Args:
        url: ``sqlite:///file.db``, ``mssql://server/database``, or an ODBC connection string; None: the one that
            ``configure()`` was told of, with its access token, or that the settings name.
        access_token: for T-SQL, a token or what gives a fresh one; None: the notebook's, else azure-identity's,
            where nothing in ``url`` says how to log in.
        create: make the SQLite file on first use; False where a missing one is a mistake (reading).

    Raises:
        UsageError: the URL makes no sense; the message says what to write.
        ConfigurationError: nothing is there that could give the access token it needs.
    """
    from dbbtrace.warehouse.connection import SqliteConnector
    from dbbtrace.warehouse.urls import SqliteAddress, address_of
    from dbbtrace.warehouse.warehouse import Warehouse

    if url is None:
        url, configured = _configured()
        access_token = access_token if access_token is not None else configured
    address = address_of(url)
    if isinstance(address, SqliteAddress):
        if access_token is not None:
            raise UsageError(f"{address.name} is a file: it takes no access token")
        return Warehouse(SqliteConnector(address, create=create))
    from dbbtrace.access.credentials import token_source
    from dbbtrace.warehouse.tsql import TsqlConnector

    wants_token = access_token is not None or address.wants_token
    return Warehouse(TsqlConnector(address, token_source(access_token) if wants_token else None))


def _configured() -> tuple[str, str | Callable[[], str] | None]:
    """URL and access token that are in force in this process."""
    from dbbtrace.tracing import runtime

    settings, installed = runtime.current_settings(), runtime.installed()
    if settings.warehouse is None or settings.warehouse.lower() == "none":
        raise UsageError("no warehouse is named: name one here, or set DBBTRACE_WAREHOUSE")
    return settings.warehouse, installed.access_token if installed is not None else None


def name_of(url: str) -> str:
    """The URL without secrets, absolute: what a journal calls this destination.

    Raises:
        UsageError: the URL makes no sense.
    """
    from dbbtrace.warehouse.urls import address_of

    return address_of(url).name


def __getattr__(name: str) -> Any:
    """What a job need not import whose warehouse's address alone is looked at."""
    if name == "Warehouse":
        from dbbtrace.warehouse.warehouse import Warehouse

        return Warehouse
    if name == "Result":
        from dbbtrace.warehouse.connection import Result

        return Result
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
