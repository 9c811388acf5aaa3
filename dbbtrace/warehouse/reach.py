"""Whether anybody listens where a server should be: a driver tries a dead port for as long as a warehouse may sleep.

One connection, closed at once. Logs nobody in, and says nothing where a driver may know better.
"""

from __future__ import annotations

import errno

from dbbtrace.errors import TransientError
from dbbtrace.warehouse.urls import OdbcAddress

__all__ = ["knock"]

_WITHIN = 10.0
"""Seconds. A warehouse that sleeps takes minutes to log somebody in, but its gateway is awake."""
_NOBODY = {errno.ECONNREFUSED, errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH}


def knock(address: OdbcAddress) -> None:
    """Knock at the server's port, where the address tells which that is.

    Raises:
        TransientError: nobody listens there, or no server has that name; it may be starting.
    """
    if address.endpoint is None:
        return
    import socket

    host, port = address.endpoint
    try:
        socket.create_connection((host, port), timeout=_WITHIN).close()
    except (OSError, ValueError) as error:  # UnicodeError, a ValueError, for what can be no name of a host
        if (
            isinstance(error, OSError)
            and not isinstance(error, (socket.gaierror, TimeoutError))
            and (error.errno not in _NOBODY)
        ):
            return  # no descriptor left, no right to a socket: that tells nothing of the server
        where = f"nothing answers at {host}, port {port}"
        raise TransientError(f"{address.name} is not reached: {where}: {error}") from None
