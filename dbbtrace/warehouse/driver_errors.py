"""What a driver's exception means: try again, a person must act, or refused for good. Imports no driver.

pyodbc raises ``Error(sqlstate, "[SQLSTATE] [Microsoft][ODBC Driver 18 for SQL Server][SQL Server]text (native)
(SQLExecDirectW)")``, several of them in one text where the driver has several things to say. FreeTDS fills the same
form, but has numbers of its own for what happens between it and the server. mssql-python gives neither state nor
number: ``driver_texts`` reads both from what it says.
"""

from __future__ import annotations

import re
from typing import Final

from dbbtrace.errors import ConfigurationError, DbbtraceError, LoginError, RefusedError, TransientError
from dbbtrace.model.masking import masked
from dbbtrace.warehouse.driver_texts import number_of, state_of

__all__ = ["RETRIABLE_ERRORS", "RETRIABLE_STATES", "LockedError", "of_mssql_python", "of_odbc", "of_sqlite", "short"]

RETRIABLE_STATES: Final = frozenset({"08S01", "08001", "08003", "08007", "HYT00", "40001"})
RETRIABLE_ERRORS: Final = frozenset({
    926, 4060, 4221, 615, 40197, 40501, 40613, 49918, 49919, 49920, 10928, 10929, 10053, 10054, 10060, 1205, 1222,
    3961, 24556, 24706, 24804, 6005,
    701, 922, 1204, 8645, 17142, 18401, 40143, 40540, 42108, 42109,  # it starts, fails over, or lacks memory or locks
})  # fmt: skip
"""https://learn.microsoft.com/azure/azure-sql/database/troubleshoot-common-errors-issues, and Fabric's own."""

_STARTING = re.compile(
    "the database system is (?:starting up|shutting down|in recovery mode|not yet accepting connections)"
    "|server is (?:starting up|in script upgrade mode|not ready to accept|currently paused)|is being recovered"
    "|is not currently available|is currently busy|too many connections|too many clients already",
    re.IGNORECASE,
)
"""What servers say while they start, fail over or throttle, whatever the number: PostgreSQL behind Babelfish too."""

_DOUBLED = frozenset({2601, 2627})
"""Another writer stored the same record first. The next try finds its row."""
_CONNECTION_LOST = frozenset({10053, 10054, 10060, 40197, 6005})
_LOST_STATES = frozenset({"08S01", "08003", "08007", "HYT00", "HYT01"})
"""HYT00: the statement's time was up, and where that is because the network swallows everything, the driver's word
to stop did not reach the server."""
_FREETDS = "[FreeTDS]"
_FREETDS_LOST = frozenset({20001, 20003, 20004, 20006, 20017, 20020})
"""Out of step, timed out, read failed, write failed, end of file, bad token. It raises them as HY000 or 01000."""
_FREETDS_RESET = "Unknown error (0)"
"""FreeTDS's whole message for a connection that was reset."""

_REFUSED_STATES = ("22",)
_REFUSED_ERRORS = frozenset({
    220, 232, 235, 241, 242, 244, 245, 248, 295, 517, 535, 547, 2628, 8114, 8115, 8152, 8169, 9420, 13608, 13609,
})  # fmt: skip

_ADVICE = {
    18456: "check the login and its secret",
    229: "the login lacks a right: GRANT SELECT, INSERT ON SCHEMA::meta TO it",
    230: "the login lacks a right: GRANT SELECT, INSERT ON SCHEMA::meta TO it",
    262: "the login may not do that in this database; have its owner run the SQL of `dbbtrace migrate --dry-run`",
    916: "the login is not a user of this database: CREATE USER for it",
    208: "the table is missing: run `dbbtrace migrate`",
    207: "a column is missing: run `dbbtrace migrate`",
    515: "the table requires a value that rows don't have: make that column nullable",
}
_LOGIN = frozenset({18450, 18452, 18456, 18470, 18486, 18487, 18488})
"""Wrong login, or one that is locked, disabled or expired."""
_CERTIFICATE = re.compile("certificate verify failed|certificate chain|encryption not supported", re.IGNORECASE)
_NATIVE = re.compile(r"\((-?\d+)\)(?= \(SQL|;|\Z)")
_STATE = re.compile(r"\[([0-9A-Z]{5})\]")
_DRIVER = "ODBC Driver 18 for SQL Server"
_GET_DRIVER = "https://learn.microsoft.com/sql/connect/odbc/download-odbc-driver-for-sql-server"


def of_odbc(error: BaseException, *, writing: bool = False) -> DbbtraceError:
    """The typed error for an exception of pyodbc.

    Args:
        error: what pyodbc raised.
        writing: whether a statement was writing, so that after a lost connection its outcome is unknown.
    """
    text = " ".join(str(part) for part in error.args) or str(error)
    states = set(_STATE.findall(text)) | ({str(error.args[0])} if error.args else set())
    natives = {int(number) for number in _NATIVE.findall(text)}
    return _sorted(error, text, states, natives, writing)


def of_mssql_python(error: BaseException, *, writing: bool = False) -> DbbtraceError:
    """The typed error for an exception of mssql-python. Arguments as for ``of_odbc``."""
    text = str(error)
    state, number = state_of(getattr(error, "driver_error", "")), number_of(getattr(error, "ddbc_error", ""))
    return _sorted(error, text, {state} if state else set(), {number} if number else set(), writing)


def _sorted(error: BaseException, text: str, states: set[str], natives: set[int], writing: bool) -> DbbtraceError:
    message = short(text)
    if _CERTIFICATE.search(text):
        return ConfigurationError(
            f"{message}: install the server's certificate, or add TrustServerCertificate=yes (Encrypt=optional where it"
            " can't encrypt) to the warehouse's connection string"
        )
    if _FREETDS in text and (natives & _FREETDS_LOST or _FREETDS_RESET in text):
        return TransientError(message, ambiguous=writing)
    retriable = natives & (RETRIABLE_ERRORS | _DOUBLED) or states & (RETRIABLE_STATES | {"HYT01"})
    if retriable or _STARTING.search(text):
        lost = bool(states & _LOST_STATES or natives & _CONNECTION_LOST)
        return TransientError(message, ambiguous=writing and lost)
    for number, advice in _ADVICE.items():
        if number in natives:
            kind = LoginError if number in _LOGIN else ConfigurationError
            return kind(f"{message}: {advice}")
    if natives & _LOGIN or "28000" in states:
        return LoginError(message)
    if natives & _REFUSED_ERRORS or any(state.startswith(_REFUSED_STATES) for state in states):
        return RefusedError(message)
    if states & {"IM002", "IM003"} or "Can't open lib" in text:
        return ConfigurationError(
            f"{message}: install {_DRIVER!r} ({_GET_DRIVER}), or name an installed one as Driver= in the warehouse's"
            " connection string"
        )
    if _of_binding(error):
        return RefusedError(message)
    return ConfigurationError(message)


def _of_binding(error: BaseException) -> bool:
    """A value that never reached the server, because the driver could not convert it to a parameter."""
    return isinstance(error, (OverflowError, UnicodeError, TypeError, ValueError))


_LOCKED_SQLITE = ("locked", "busy")
_TRANSIENT_SQLITE = ("disk i/o error", "disk is full", "interrupted")


class LockedError(TransientError):
    """Another writer has the database for the moment; nothing was done."""


def of_sqlite(error: BaseException) -> DbbtraceError:
    """The typed error for an exception of sqlite3."""
    message = f"SQLite: {error}"
    lowered = str(error).lower()
    kinds = {kind.__name__ for kind in type(error).__mro__}
    if "OperationalError" in kinds and any(word in lowered for word in _LOCKED_SQLITE):
        return LockedError(message)
    if "OperationalError" in kinds and any(word in lowered for word in _TRANSIENT_SQLITE):
        return TransientError(message)
    if "IntegrityError" in kinds:
        if lowered.startswith("unique"):
            return TransientError(message)  # another writer stored the same record first
        if lowered.startswith("not null"):
            return ConfigurationError(f"{message}: {_ADVICE[515]}")
        return RefusedError(message)
    if kinds & {"DataError", "InterfaceError"} or "binding" in lowered or "too big" in lowered or _of_binding(error):
        return RefusedError(message)
    if "no such table" in lowered or "no such column" in lowered:
        return ConfigurationError(f"{message}: run `dbbtrace migrate`")
    return ConfigurationError(message)


def short(text: str) -> str:
    """One line, without secrets."""
    line = masked(" ".join(text.split()))
    return line if len(line) <= 1000 else line[:999] + "…"
