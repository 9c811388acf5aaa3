"""Which of a run's failures say something: one exception ends a load, its workload, the job and the run. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

from dbbtrace.answers.rows import Operation, Part

__all__ = ["causes"]

_DEEPEST = ("workload", "dbt_invocation", "job", "run")
"""Parts of which one may fail because another did, the first of them nearest to the cause."""
_COUNTED = re.compile(r"\d+ of \d+ operations failed")
"""What ``close`` says of a run in which operations failed."""


def causes(parts: Iterable[Part], operations: Iterable[Operation]) -> list[Part]:
    """The failed parts that say more than the failed operations in them: an exception is told once, where it came from.
    Of a dbt invocation its nodes decide."""
    told = {(one.error_type, one.error_message) for one in operations}
    found = []
    failed = [part for part in parts if part.status == "Failed" and part.part in _DEEPEST]
    for part in sorted(failed, key=lambda part: _DEEPEST.index(part.part)):
        what, message = (part.error_type, part.error_message), part.error_message or ""
        by_nodes = part.part == "dbt_invocation" and " nodes failed: " in message
        if what in told or by_nodes or (told and _COUNTED.fullmatch(message)):
            continue
        told.add(what)
        found.append(part)
    return found
