"""What dbbtrace says about itself: log lines on stderr's side, never stdout, never an exception into the job.

One logger, one guard. Its own faults become one log line each; with ``strict`` (tests) they are raised.
"""

from __future__ import annotations

import logging
import os
import sys
import threading

from dbbtrace.errors import UsageError

__all__ = ["caller", "complain", "guard", "is_strict", "log", "set_strict", "warn_once"]

log = logging.getLogger("dbbtrace")

_said: set[str] = set()
_said_lock = threading.Lock()
_strict: bool | None = None
_PACKAGES = tuple(
    os.path.join(os.path.dirname(os.path.dirname(__file__)), name) + os.sep
    for name in ("dbbtrace", os.path.join("exporters", "dbbtrace_exporters"), "dbbtrace_exporters")
)
_STDLIB_CONTEXT = (os.sep + "contextlib.py", os.sep + "functools.py", os.sep + "asyncio" + os.sep)


def set_strict(strict: bool | None) -> None:
    """Raise dbbtrace's own complaints and faults (tests) or log them (jobs); None: as DBBTRACE_STRICT says."""
    global _strict
    _strict = strict


def is_strict() -> bool:
    """Whether complaints are raised."""
    if _strict is not None:
        return _strict
    from dbbtrace.settings import strict_by_environment

    return strict_by_environment()


def caller() -> str:
    """``file.py:12`` of the user's line that led here: the first frame outside dbbtrace."""
    frame = sys._getframe(1)
    while frame is not None:
        name = frame.f_code.co_filename
        if not name.startswith(_PACKAGES) and not any(part in name for part in _STDLIB_CONTEXT):
            return f"{name}:{frame.f_lineno}"
        if frame.f_back is None:
            break
        frame = frame.f_back
    return "unknown line"


def complain(message: str) -> None:
    """Say what is wrong with the caller's input and where; go on without it.

    Raises:
        UsageError: only when strict.
    """
    if is_strict():
        raise UsageError(message)
    log.warning("%s (%s)", message, caller())


def warn_once(key: str, message: str, *args: object, level: int = logging.WARNING) -> None:
    """One log line per process for each ``key``, however often the fault returns."""
    with _said_lock:
        if key in _said:
            return
        _said.add(key)
    log.log(level, message, *args)


class guard:  # noqa: N801 - reads as what it is: with guard("save a span")
    """Keep a fault of dbbtrace's own out of the job: one log line a kind; raised when strict.

    Only ``Exception``: a KeyboardInterrupt that arrives while we work is the job's, not ours.
    """

    __slots__ = ("_doing",)

    def __init__(self, doing: str) -> None:
        self._doing = doing

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if error is None:
            return False
        if not isinstance(error, Exception) or is_strict():
            return False
        warn_once(
            f"guard:{self._doing}:{type(error).__name__}",
            "dbbtrace could not %s and goes on without: %s: %s",
            self._doing,
            type(error).__name__,
            error,
        )
        return True
