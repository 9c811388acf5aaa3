"""What one process hands to the next: the run and the span it comes from, as environment variables.

They are in the environment while a run is open, and are removed afterwards. What somebody else sets meanwhile is left
alone.
"""

from __future__ import annotations

import os
import re

from opentelemetry.trace import SpanContext, TraceFlags

from dbbtrace.job.scope import Scope
from dbbtrace.settings import traceparent

__all__ = ["Told", "before", "handed_on", "take_back", "tell", "told_run", "variables"]

Told = dict[str, str | None]
"""What one run tells: variable → value, None where it must not be set."""

_FIELDS = {
    "DBBTRACE_ORCHESTRATION_RUN_ID": "run_id",
    "DBBTRACE_DATA_PRODUCT": "data_product",
    "DBBTRACE_ENVIRONMENT": "environment",
    "DBBTRACE_WORKSPACE_ID": "workspace_id",
}
"""Variable → field of the scope."""

_TRACEPARENT = r"(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?"

_told: list[Told] = []
"""What the open runs tell, innermost last."""
_before: dict[str, str | None] = {}
"""What the variables were before any of them."""


def variables(scope: Scope, parent: SpanContext) -> Told:
    """What a child process is to know; it hangs its work on the parent."""
    told: Told = {name: getattr(scope, field) for name, field in _FIELDS.items()}
    told["DBBTRACE_RUN_BY_HAND"] = "1" if scope.nobodys else None
    told["TRACEPARENT"] = f"00-{parent.trace_id:032x}-{parent.span_id:016x}-01"
    return {name: value if value and _can_be_told(value) else None for name, value in told.items()}


def tell(told: Told) -> None:
    """Put it into the environment, over what is there, until ``take_back``."""
    _told.append(told)
    for name, value in told.items():
        _before.setdefault(name, os.environ.get(name))
        _put(name, value)


def take_back(told: Told) -> None:
    """Restore what was there before, in whatever order runs end."""
    remaining = [other for other in _told if other is not told]
    if len(remaining) == len(_told):
        return
    _told[:] = remaining
    for name, value in told.items():
        if os.environ.get(name) == value:  # else a later run tells of itself, or the job has set it
            _put(name, remaining[-1][name] if remaining else _before.get(name))
    if not remaining:
        _before.clear()


def told_run() -> str | None:
    """The run that the environment tells of because this process put it there; None where it did not."""
    name = "DBBTRACE_ORCHESTRATION_RUN_ID"
    value = os.environ.get(name)
    return value if value is not None and any(told[name] == value for told in _told) else None


def before(name: str) -> str | None:
    """What the variable was before this process told of a run."""
    return _before.get(name) if name in _before else os.environ.get(name)


def handed_on() -> SpanContext | None:
    """The span that TRACEPARENT names, in W3C's form; None if it is missing or malformed."""
    text = traceparent()
    match = re.fullmatch(_TRACEPARENT, text, re.IGNORECASE) if text else None
    if match is None:
        return None
    context = SpanContext(int(match[1], 16), int(match[2], 16), True, TraceFlags(int(match[3], 16)))
    return context if context.is_valid else None


def _put(name: str, value: str | None) -> None:
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value


def _can_be_told(value: str) -> bool:
    """Whether an environment can hold it."""
    try:
        os.fsencode(value)
    except UnicodeError:
        return False
    return "\0" not in value
