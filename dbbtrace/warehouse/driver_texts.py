"""What mssql-python says, as the SQLSTATEs and error numbers that it leaves out. Imports no driver.

Its exceptions have two texts. ``driver_error`` is one fixed text for each SQLSTATE. ``ddbc_error`` is
``[Microsoft][SQL Server]`` and the server's message, in English unless the login has another language. A message that
is not in the table has no number; its SQLSTATE then decides. Babelfish passes on what PostgreSQL says.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["NUMBERS", "STATES", "number_of", "state_of"]

STATES: Final = {
    "String data, right-truncated": "22001",
    "Indicator variable required but not supplied": "22002",
    "Numeric value out of range": "22003",
    "Invalid datetime format": "22007",
    "Datetime field overflow": "22008",
    "Division by zero": "22012",
    "Interval field overflow": "22015",
    "Invalid character value for cast specification": "22018",
    "String data, length mismatch": "22026",
    "Client unable to establish connection": "08001",
    "Connection not open": "08003",
    "Connection failure during transaction": "08007",
    "Communication link failure": "08S01",
    "Invalid authorization specification": "28000",
    "Serialization failure": "40001",
    "Timeout expired": "HYT00",
    "Connection timeout expired": "HYT01",
}
"""The SQLSTATEs that ``driver_errors`` sorts by: https://github.com/microsoft/mssql-python, exceptions.py."""

NUMBERS: Final = {
    # again
    615: "Could not find database ID",
    701: "There is insufficient system memory",
    1204: "The instance of the SQL Server Database Engine cannot obtain a LOCK resource",
    1205: "Transaction .* was deadlocked on|deadlock detected",
    1222: "Lock request time out period exceeded",
    2601: "Cannot insert duplicate key row in object",
    2627: "Violation of .* constraint .* Cannot insert duplicate key|duplicate key value violates unique constraint",
    3961: "Snapshot isolation transaction failed in database",
    4060: "Cannot open database .* requested by the login",
    4221: "Login to read-secondary failed due to long wait",
    6005: "SHUTDOWN is in progress",
    8645: "A timeout occurred while waiting for memory resources",
    10928: "Resource ID ?: .* has been reached",
    10929: "Resource ID ?: .* too busy to support requests",
    24556: "Snapshot isolation transaction aborted due to update conflict",
    40197: "The service has encountered an error processing your request",
    40501: "The service is currently busy",
    40540: "Transaction was aborted as database is moved to read-only mode",
    42108: "Can ?not connect to the SQL pool since it is paused",
    42109: "The SQL pool is warming up",
    49918: "Cannot process request. Not enough resources",
    49919: "Cannot process create or update request. Too many",
    49920: "Cannot process request. Too many operations in progress",
    # a person must act
    207: 'Invalid column name|column ".*" does not exist',
    208: 'Invalid object name|relation ".*" does not exist',
    229: "The .* permission was denied on the object|permission denied for",
    230: "The .* permission was denied on the column",
    262: ".* permission denied in database",
    515: "Cannot insert the value NULL into column|null value in column .* violates not-null constraint",
    916: "The server principal .* is not able to access the database",
    18456: "Login failed for user",
    # refused for good
    220: "Arithmetic overflow error for data type",
    232: "Arithmetic overflow error for type",
    242: "The conversion of a .* data type to a .* data type resulted in an out-of-range value",
    245: "Conversion failed when converting|invalid input syntax for type",
    248: "The conversion of the .* value .* overflowed",
    517: "Adding a value to a .* column caused an overflow",
    535: "The .* function resulted in an overflow",
    547: "The .* statement conflicted with the",
    2628: "String or binary data would be truncated|value too long for type",
    8114: "Error converting data type",
    8115: "Arithmetic overflow error converting",
    13608: "Property cannot be found on the specified JSON path",
    13609: "JSON text is not properly formatted|invalid input syntax for type json",
}
"""Error number → how its message begins: https://learn.microsoft.com/sql/relational-databases/errors-events/ and, after
``|``, what PostgreSQL says. Of numbers with one meaning to ``driver_errors`` and one message, one is listed."""

_TAGS = re.compile(r"(?:\[[^\]]*\])+")
_UNMAPPED = re.compile(r"SQLSTATE code: (\w{5})")
_PATTERNS = [(number, re.compile(pattern, re.IGNORECASE | re.DOTALL)) for number, pattern in NUMBERS.items()]


def state_of(driver_error: str) -> str | None:
    """The SQLSTATE behind this text."""
    unmapped = _UNMAPPED.search(driver_error)
    return unmapped[1] if unmapped else STATES.get(driver_error)


def number_of(ddbc_error: str) -> int | None:
    """The error number of the server's message; None if it is not known, or is the driver's own."""
    message = _TAGS.sub("", ddbc_error, count=1) if "[SQL Server]" in ddbc_error else ""
    return next((number for number, pattern in _PATTERNS if pattern.match(message)), None)
