"""Access tokens of Microsoft Entra: from the caller, from the Fabric notebook, or from azure-identity, in that order.

The warehouse, Fabric's API and Power BI all ask here. No token is stored, logged or put into a span. A token expires,
so each use asks for a new one. The identity is fixed by ``configure()``: a cell that sets AZURE_CLIENT_* later does not
change it.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

from dbbtrace.access.fixed import azure_variables, fixed
from dbbtrace.errors import ConfigurationError, DbbtraceError, TransientError

__all__ = ["FABRIC", "POWER_BI", "WAREHOUSE", "AccessToken", "Audience", "Credential", "TokenSource",
           "token_of", "token_source"]  # fmt: skip

TokenSource = Callable[[], str]


class Credential(Protocol):
    """An object of azure-identity, or one like it."""

    def get_token(self, *scopes: str) -> Any:
        """An object whose ``token`` is the text."""


AccessToken = str | TokenSource | Credential
"""A token, a function that gives a new one, or a credential of azure-identity."""


class Audience(NamedTuple):
    """Whom a token is for."""

    name: str
    scope: str
    in_a_notebook: str
    """What notebookutils calls it."""
    needs: str
    """What an error says that needs azure-identity, and what else would do."""
    argument: str
    """Argument that takes a token."""


WAREHOUSE = Audience(
    "the warehouse",
    "https://database.windows.net/.default",
    "pbi",  # the audience that Fabric's SQL endpoints take from a notebook
    "mssql:// without access_token needs azure-identity: pip install 'dbbtrace[fabric]',"
    " pass access_token=, or write Authentication=... in an ODBC connection string",
    "access_token=",
)
FABRIC = Audience(
    "Fabric's API",
    "https://api.fabric.microsoft.com/.default",
    "pbi",
    "Fabric's API without a token needs azure-identity: pip install 'dbbtrace[fabric]', or pass"
    " configure(fabric_token=...)",
    "configure(fabric_token=...)",
)
POWER_BI = Audience(
    "Power BI's API",
    "https://analysis.windows.net/powerbi/api/.default",
    "pbi",
    "Power BI's API without a token needs azure-identity: pip install 'dbbtrace[fabric]', or pass"
    " configure(fabric_token=...)",
    "configure(fabric_token=...)",
)


def token_source(given: AccessToken | None, audience: Audience = WAREHOUSE) -> TokenSource:
    """The source of tokens: the argument, otherwise the notebook, otherwise DefaultAzureCredential.

    Raises:
        ConfigurationError: neither is installed; the message says what to install.
    """
    if isinstance(given, str):
        text = given
        return lambda: text
    if given is not None and hasattr(given, "get_token"):
        credential: Any = given
        return lambda: str(credential.get_token(audience.scope).token)
    if callable(given):
        return given
    return _from_notebook(audience) or _from_azure(audience)


def token_of(source: TokenSource, audience: Audience = WAREHOUSE) -> str:
    """A new token.

    Raises:
        DbbtraceError: there is none; the message says what to do.
    """
    try:
        token = source()
    except DbbtraceError:
        raise
    except Exception as error:
        raise _of_credential(error, audience) from error
    if not isinstance(token, str) or not token:
        raise ConfigurationError("the access token is empty: the callable must return the token's text")
    return token


def _of_credential(error: Exception, audience: Audience) -> DbbtraceError:
    kind = type(error).__name__
    message = f"no access token for {audience.name}: {kind}: {str(error).splitlines()[0][:500] if str(error) else ''}"
    if kind in ("ServiceRequestError", "ServiceResponseError", "ConnectionError", "TimeoutError"):
        return TransientError(message)
    return ConfigurationError(
        f"{message}; log in (az login, a managed identity, AZURE_CLIENT_*), or pass {audience.argument}"
    )


def _from_notebook(audience: Audience) -> TokenSource | None:
    try:
        import notebookutils
    except ImportError:
        return None
    credentials: Any = notebookutils.credentials
    return lambda: str(credentials.getToken(audience.in_a_notebook))


def _from_azure(audience: Audience) -> TokenSource:
    try:
        credential = _azure_credential()
    except ImportError:
        raise ConfigurationError(audience.needs) from None
    return lambda: str(credential.get_token(audience.scope).token)


# -- who we are -----------------------------------------------------------------------------------------------

_lock = threading.Lock()


@lru_cache(maxsize=1)
def _azure_credential() -> Any:
    from azure.identity import DefaultAzureCredential

    with _as_fixed():
        return DefaultAzureCredential()


@contextmanager
def _as_fixed() -> Iterator[None]:
    """While the block runs, AZURE_* are the variables that were fixed: a credential reads them when it is made."""
    with _lock:
        now, counting = azure_variables(), fixed()
        _exchange(now, counting)
        try:
            yield
        finally:
            _exchange(counting, now)


def _exchange(out: dict[str, str], into: dict[str, str]) -> None:
    if out != into:
        for name in out:
            os.environ.pop(name, None)
        os.environ.update(into)
