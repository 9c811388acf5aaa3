"""The warehouse: the database that holds schema ``meta`` with its three tables.

``open_warehouse`` gives the one handle; ``questions`` reads runs and operations; ``schema`` is what the tables are.
Importing this imports no driver.
"""

from __future__ import annotations

from collections.abc import Callable

from dbbtrace.warehouse.addresses import OdbcAddress, address_of
from dbbtrace.warehouse.connection import connector_for
from dbbtrace.warehouse.tokens import token_source
from dbbtrace.warehouse.warehouse import Result, Warehouse

__all__ = ["Result", "Warehouse", "name_of", "open_warehouse"]


def open_warehouse(url: str, *, access_token: str | Callable[[], str] | None = None, create: bool = True) -> Warehouse:
    """The warehouse behind a URL; connects when first used.

    Args:
        url: ``sqlite:///file.db``, ``mssql://server/database``, or an ODBC connection string.
        access_token: for T-SQL, a token or what gives a fresh one; None: the notebook's, else azure-identity's,
            where nothing in ``url`` says how to log in.
        create: make the SQLite file on first use; False where a missing one is a mistake (reading).

    Raises:
        UsageError: the URL makes no sense; the message says what to write.
        ConfigurationError: nothing is there that could give the access token it needs.
    """
    address = address_of(url)
    token = None
    if access_token is not None or (isinstance(address, OdbcAddress) and address.wants_token):
        token = token_source(access_token)
    return Warehouse(connector_for(address, token, create=create))


def name_of(url: str) -> str:
    """The URL without secrets, absolute: what a journal calls this destination.

    Raises:
        UsageError: the URL makes no sense.
    """
    return address_of(url).name
