"""What dbbtrace says about itself: log lines on stderr's side, never stdout, never an exception into the job.

One logger, one guard. Its own faults become one log line each; with ``strict`` (tests) they are raised. No log line
holds a secret: each is masked before the host's handlers see it.
"""

from __future__ import annotations

import logging
import os
import sys
from contextlib import suppress
from types import FrameType

from dbbtrace.errors import UsageError
from dbbtrace.model.masking import masked

__all__ = ["caller", "complain", "guard", "is_strict", "log", "set_strict", "warn_once"]


def _harmless(logger: logging.Logger) -> logging.Logger:
    """The logger. Its handlers, which are the host's, are shown no secrets and can't raise into the job."""
    call = logger.callHandlers

    def call_handlers(record: logging.LogRecord) -> None:
        with suppress(Exception):
            _mask(record)
            call(record)

    logger.callHandlers = call_handlers  # type: ignore[method-assign]
    return logger


def _mask(record: logging.LogRecord) -> None:
    """Mask the line, and the traceback below it if it has one."""
    record.msg, record.args = masked(record.getMessage()), ()
    if record.exc_info:
        record.exc_text = masked(logging.Formatter().formatException(record.exc_info))
        record.exc_info = None


log = _harmless(logging.getLogger("dbbtrace"))

_said: set[str] = set()
_strict: bool | None = None
_PACKAGES = tuple(
    os.path.join(os.path.dirname(os.path.dirname(__file__)), name) + os.sep
    for name in ("dbbtrace", os.path.join("exporters", "dbbtrace_exporters"), "dbbtrace_exporters")
)
_STDLIB = os.path.dirname(logging.__path__[0]) + os.sep
_NOT_THE_CALLER = (*_PACKAGES, *(_STDLIB + name for name in ("contextlib.py", "functools.py", f"asyncio{os.sep}")))


def set_strict(strict: bool | None) -> bool | None:
    """Raise dbbtrace's own complaints and faults (tests) or log them (jobs); None: as DBBTRACE_STRICT says.

    Returns what was set before.
    """
    global _strict
    before, _strict = _strict, strict
    return before


def is_strict() -> bool:
    """Whether complaints are raised."""
    if _strict is not None:
        return _strict
    from dbbtrace.settings import strict_by_environment

    return strict_by_environment()


def caller() -> str:
    """``file.py:12`` of the user's line that led here: the first frame outside dbbtrace."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if not frame.f_code.co_filename.startswith(_NOT_THE_CALLER):
            return f"{frame.f_code.co_filename}:{frame.f_lineno}"
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
    if key not in _said:
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
        if not isinstance(error, Exception):
            return False
        if sys.is_finalizing():
            return True  # modules are being taken apart, and nobody is left to hear of it
        if is_strict():
            return False
        warn_once(
            f"guard:{self._doing}:{type(error).__name__}",
            "dbbtrace could not %s and continues without it: %s: %s",
            self._doing,
            type(error).__name__,
            error,
        )
        return True
