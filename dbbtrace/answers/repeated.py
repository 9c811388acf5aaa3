"""Failed parts of a run that began again: whether what had failed was done again. Pure.

A part that began again after it had failed is usually a second try, and its outcome counts. But a job that loads one
source after the other, and catches what goes wrong with each, looks the same; so do a notebook's runs for one source
each. The operations tell them apart: a second try does again what the first one did, or at least what it failed at. A
program that failed before it did anything, and ran again, is a second try, too; one that did something may have gone on
where it had stopped. With other arguments a program may have been told to do less: only if it did all of it again, what
it failed at too, and then more, it is a second try for certain.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dbbtrace.answers.rows import Operation, Part
from dbbtrace.model.attributes import INTERRUPTED

__all__ = ["Repeated", "not_done_again"]

REPEATABLE = ("job", "workload")


@dataclass(frozen=True)
class Repeated:
    """A failed part that began again, and of which nothing tells that it was made good."""

    part: Part
    certain: bool
    """It was not made good."""
    left: tuple[str, ...] = ()
    """What it did, if that is certain: nobody did any of it again."""

    @property
    def is_of_dbt(self) -> bool:
        """Whether it is an invocation of dbt."""
        return self.part.part == "dbt_invocation"


def not_done_again(parts: Iterable[Part], operations: Sequence[Operation]) -> list[Repeated]:
    """The failed parts that began again without being made good, the innermost of each error.

    Args:
        parts: all of the run.
        operations: all of the run, those that it did again later too.
    """
    every = list(parts)
    found = [Repeated(part, False) for part in every if part.begun_again and _is_of_dbt(part)]
    run = _Run([part for part in every if part.part in REPEATABLE], operations)
    told: set[tuple[str | None, str | None]] = set()
    failed = [
        part for part in run.parts if (part.superseded or part.begun_again) and part.status in ("Failed", INTERRUPTED)
    ]
    for part in sorted(failed, key=lambda part: part.part != "workload"):
        error = (part.error_type, part.error_message)
        if part.part == "job" and error in told and not part.begun_again:
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
        if part.begun_again:
            return self._judge_other_arguments(part, inside)
        ran_again = self._program_ran_again(part)
        if not inside and (ran_again or part.part == "job"):
            return None if self._is_same_script(part) else Repeated(part, False)
        later = _ids(one for one in self._operations if one.started_at and one.started_at >= ended)
        causes = _causes(part, inside)
        for needed in (causes, inside):
            if needed and later >= _ids(needed):
                return None
        is_certain = bool(inside) and not ran_again and self._is_alone(part) and not later & _ids(inside)
        return Repeated(part, is_certain, _labels(inside) if is_certain else ())

    def _is_same_script(self, part: Part) -> bool:
        """Whether no other script of the same name is known to have run after it; of a workload, after its job."""
        jobs = (
            [part] if part.part == "job" else [one for one in self.parts if one.part == "job" and _overlap(part, one)]
        )
        later = [
            (_detail_of(job).get("script"), _detail_of(other).get("script"))
            for job in jobs
            for other in self.parts
            if other.part == "job" and other.name == job.name and _follows(other, job)
        ]
        return not any(one and other and one != other for one, other in later)

    def _judge_other_arguments(self, part: Part, inside: Sequence[Operation]) -> Repeated | None:
        """Of a job whose script ran again, but was told something else."""
        program = _program_of(part)
        tries = [
            other
            for other in self.parts
            if other.part == "job" and _program_of(other) == program and _follows(other, part)
        ]
        later = _ids(one for one in self._operations if any(self._is_in(one, other) for other in tries))
        did, causes = _ids(inside), _ids(_causes(part, inside))
        if causes and later > did:
            return None
        # Of one that was killed nobody knows what it had still to do.
        is_more = later > did if part.status == INTERRUPTED else later >= did
        is_certain = not (causes and later >= causes) and not (did and is_more)
        return Repeated(part, is_certain, _labels(inside) if is_certain and not later & did else ())

    def _is_in(self, operation: Operation, part: Part) -> bool:
        """Whether the operation began while the part ran, and may be its own."""
        if part.part == "workload" and operation.workload != part.workload:
            return False
        began, started, ended = operation.started_at, part.started_at, part.ended_at
        return began is not None and started is not None and started <= began and (ended is None or began < ended)

    def _is_alone(self, part: Part) -> bool:
        """Whether no other part of its kind ran beside it, whose operations its own can't be told from."""
        return not any(_overlap(part, other) for other in self.parts if other is not part and other.part == part.part)

    def _program_ran_again(self, part: Part) -> bool:
        """Whether the job began again in a process of its own; of a workload, its job. Of a pipeline its run's id
        tells it."""
        if part.part == "job":
            process = _process_of(part)
            return process is None or any(
                other.name == part.name and _process_of(other) != process and _follows(other, part)
                for other in self.parts
                if other.part == "job"
            )
        jobs = [other for other in self.parts if other.part == "job" and _overlap(part, other)]
        if not jobs:
            return part.pipeline_run_id is not None
        return all(job.superseded and self._program_ran_again(job) for job in jobs)


def _is_of_dbt(part: Part) -> bool:
    """Whether dbt failed as a whole, and not some of its nodes, of which each decides."""
    return part.part == "dbt_invocation" and " nodes failed: " not in (part.error_message or "")


def _follows(one: Part, other: Part) -> bool:
    """Whether a part began after another one had ended."""
    return one.started_at is not None and other.ended_at is not None and one.started_at >= other.ended_at


def _program_of(job: Part) -> str:
    """Its name without the mark of its arguments."""
    return _MARK.sub("", job.name or "")


_MARK = re.compile(r" #.{6}$")


def _causes(part: Part, inside: Iterable[Operation]) -> list[Operation]:
    """The operations with whose error the part ended."""
    return [one for one in inside if (one.error_type, one.error_message) == (part.error_type, part.error_message)]


def _labels(operations: Iterable[Operation]) -> tuple[str, ...]:
    return tuple(sorted({one.label for one in operations}))


def _overlap(one: Part, other: Part) -> bool:
    if one.started_at is None or other.started_at is None:
        return False
    return (other.ended_at is None or one.started_at < other.ended_at) and (
        one.ended_at is None or other.started_at < one.ended_at
    )


def _ids(operations: Iterable[Operation]) -> set[str]:
    """The same in any case, as the outcomes are told."""
    return {one.operation_id.lower() for one in operations}


def _process_of(job: Part) -> object:
    """The process that the job was; None: nobody said."""
    return _detail_of(job).get("process")


def _detail_of(job: Part) -> dict[str, object]:
    """What the job said of itself."""
    try:
        said = json.loads(job.detail or "{}")
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}
