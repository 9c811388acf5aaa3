"""Access tokens for T-SQL: from the caller, from the Fabric notebook, or from azure-identity. None is stored or shown.

A token expires, so each new connection asks for one. The identity is fixed when the warehouse is opened. A cell that
sets AZURE_CLIENT_* later must not change it.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from dbbtrace.errors import ConfigurationError, DbbtraceError, TransientError

__all__ = ["SQL_COPT_SS_ACCESS_TOKEN", "TokenSource", "packed", "token_source"]

SQL_COPT_SS_ACCESS_TOKEN = 1256
"""Connection attribute of Microsoft's ODBC driver."""
_SCOPE = "https://database.windows.net/.default"

TokenSource = Callable[[], str]


def token_source(access_token: str | Callable[[], str] | None) -> TokenSource:
    """The source of tokens: the argument, otherwise the notebook, otherwise DefaultAzureCredential.

    Raises:
        ConfigurationError: neither is installed; the message says what to install.
    """
    if isinstance(access_token, str):
        given = access_token
        return lambda: given
    if access_token is not None:
        return access_token
    return _from_notebook() or _from_azure_identity()


def packed(source: TokenSource) -> bytes:
    """A new token in the driver's format: its length in bytes, then the text in UTF-16-LE."""
    try:
        token = source()
    except DbbtraceError:
        raise
    except Exception as error:
        raise _of_credential(error) from error
    if not isinstance(token, str) or not token:
        raise ConfigurationError("the access token is empty: the callable must return the token's text")
    encoded = token.encode("utf-16-le")
    return struct.pack(f"<I{len(encoded)}s", len(encoded), encoded)


def _of_credential(error: Exception) -> DbbtraceError:
    kind = type(error).__name__
    message = f"no access token for the warehouse: {kind}: {str(error).splitlines()[0][:500] if str(error) else ''}"
    if kind in ("ServiceRequestError", "ServiceResponseError", "ConnectionError", "TimeoutError"):
        return TransientError(message)
    return ConfigurationError(
        f"{message}; log in (az login, a managed identity, AZURE_CLIENT_*), or pass access_token="
    )


def _from_notebook() -> TokenSource | None:
    try:
        import notebookutils
    except ImportError:
        return None
    credentials: Any = notebookutils.credentials
    # "pbi" is the audience that Fabric's SQL endpoints take from a notebook.
    return lambda: str(credentials.getToken("pbi"))


@lru_cache(maxsize=1)
def _from_azure_identity() -> TokenSource:
    try:
        from azure.identity import DefaultAzureCredential
    except ImportError:
        raise ConfigurationError(
            "mssql:// without access_token needs azure-identity: pip install 'dbbtrace[fabric]',"
            " pass access_token=, or write Authentication=... in an ODBC connection string"
        ) from None
    credential: Any = DefaultAzureCredential()
    return lambda: str(credential.get_token(_SCOPE).token)
