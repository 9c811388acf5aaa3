"""Failed jobs and workloads that began again: whether what had failed was done again. Pure.

A part that began again after it had failed is usually a second try, and its outcome counts. But a job that loads one
source after the other, and catches what goes wrong with each, looks the same; so do a notebook's runs for one source
each. The operations tell them apart: a second try does again what the first one did, or at least what it failed at. A
program that failed before it did anything, and ran again, is a second try, too; one that did something may have gone on
where it had stopped.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dbbtrace.answers.rows import Operation, Part

__all__ = ["Repeated", "not_done_again"]

REPEATABLE = ("job", "workload")


@dataclass(frozen=True)
class Repeated:
    """A failed part that began again, and of which nothing tells that it was made good."""

    part: Part
    left: tuple[str, ...]
    """What it did and nobody did again, if that is certain: nothing of it was."""


def not_done_again(parts: Iterable[Part], operations: Sequence[Operation]) -> list[Repeated]:
    """The failed parts that began again without being made good, the innermost of each error.

    Args:
        parts: all jobs and workloads of the run.
        operations: all of the run, those that it did again later too.
    """
    run = _Run([part for part in parts if part.part in REPEATABLE], operations)
    found: list[Repeated] = []
    told: set[tuple[str | None, str | None]] = set()
    failed = [part for part in run.parts if part.superseded and part.status in ("Failed", "Interrupted")]
    for part in sorted(failed, key=lambda part: part.part != "workload"):
        error = (part.error_type, part.error_message)
        if part.part == "job" and error in told:
            continue
        told.add(error)
        repeated = run.judge(part)
        if repeated is not None:
            found.append(repeated)
    return found


class _Run:
    """The parts and operations of one run."""

    def __init__(self, parts: list[Part], operations: Sequence[Operation]) -> None:
        self.parts = parts
        self._operations = [one for one in operations if one.started_at is not None]

    def judge(self, part: Part) -> Repeated | None:
        """None: the part was made good."""
        ended = part.ended_at
        if ended is None:
            return None
        inside = [one for one in self._operations if self._is_in(one, part)]
        ran_again = self._program_ran_again(part)
        if not inside and (ran_again or part.part == "job"):
            return None
        later = {one.operation_id for one in self._operations if one.started_at and one.started_at >= ended}
        causes = [one for one in inside if (one.error_type, one.error_message) == (part.error_type, part.error_message)]
        for needed in (causes, inside):
            if needed and later.issuperset(one.operation_id for one in needed):
                return None
        is_certain = not ran_again and self._is_alone(part) and not later & _ids(inside)
        return Repeated(part, tuple(sorted({one.label for one in inside})) if is_certain else ())

    def _is_in(self, operation: Operation, part: Part) -> bool:
        """Whether the operation began while the part ran, and may be its own."""
        if part.part == "workload" and operation.workload != part.workload:
            return False
        began, started, ended = operation.started_at, part.started_at, part.ended_at
        return began is not None and started is not None and ended is not None and started <= began < ended

    def _is_alone(self, part: Part) -> bool:
        """Whether no other part of its kind ran beside it, whose operations its own can't be told from."""
        return not any(_overlap(part, other) for other in self.parts if other is not part and other.part == part.part)

    def _program_ran_again(self, part: Part) -> bool:
        """Whether the job began again in a process of its own; of a workload, its job. Of a pipeline its run's id
        tells it."""
        if part.part == "job":
            process = _process_of(part)
            return process is None or any(
                other.name == part.name
                and _process_of(other) != process
                and other.started_at is not None
                and part.ended_at is not None
                and other.started_at >= part.ended_at
                for other in self.parts
                if other.part == "job"
            )
        jobs = [other for other in self.parts if other.part == "job" and _overlap(part, other)]
        if not jobs:
            return part.pipeline_run_id is not None
        return all(job.superseded and self._program_ran_again(job) for job in jobs)


def _overlap(one: Part, other: Part) -> bool:
    if one.started_at is None or other.started_at is None:
        return False
    return (other.ended_at is None or one.started_at < other.ended_at) and (
        one.ended_at is None or other.started_at < one.ended_at
    )


def _ids(operations: Iterable[Operation]) -> set[str]:
    return {one.operation_id for one in operations}


def _process_of(job: Part) -> object:
    """The process that the job was; None: nobody said."""
    try:
        said = json.loads(job.detail or "{}")
    except ValueError:
        return None
    return said.get("process") if isinstance(said, dict) else None
