"""Which lines the tree of a run has, and what each says. Knows nothing of widths and colours."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from dbbtrace.answers.rows import Part, outcomes, status_of
from dbbtrace.cli.explain import reasons

if TYPE_CHECKING:
    from dbbtrace.answers import Operation
    from dbbtrace.cli.glyphs import Glyphs

__all__ = ["Line", "bare_workloads", "extent_of", "lines_of"]

WORKLOADS = ("integration", "transformation", "consumption")
SHOWN = 40
"""If a workload has more operations than this, the others are summed up: the successful ones first."""


@dataclass(frozen=True)
class Line:
    """One line of the tree, before layout."""

    lead: str
    label: str
    status: str
    started_at: datetime | None = None
    ended_at: datetime | None = None
    duration: float | None = None
    rows: int | None = None
    size: int | None = None
    notes: tuple[str, ...] = ()
    note_lead: str = ""
    bold: bool = False


def lines_of(
    operations: Sequence[Operation],
    drawn: Glyphs,
    whole: bool,
    failed: bool,
    attempts: Mapping[str, Sequence[Part]],
    bare: Mapping[str, Part],
) -> tuple[list[Line], int]:
    """The lines in order, and how many operations have no line."""
    lines: list[Line] = []
    left_out = 0
    notes = {id(operation): said for operation, said in zip(operations, reasons(operations), strict=True)}
    for name, group in _by_workload(operations, bare).items():
        if name in bare:
            lines.append(_bare_line(name, bare[name]))
            continue
        lines.append(_workload_line(name, group))
        shown = group if whole else _not_succeeded(group) if failed else _worth_showing(group)
        hidden = len(group) - len(shown)
        rest = Counter(each.status for each in group) - Counter(each.status for each in shown)
        for place, operation in enumerate(shown):
            last = place == len(shown) - 1 and not hidden
            said = (*_tries(attempts.get(operation.span_id or "", ())), *notes[id(operation)])
            lines.append(_operation_line(operation, said, drawn, last))
        for place, (status, count) in enumerate(rest.most_common()):
            lines.append(Line(drawn.last if place == len(rest) - 1 else drawn.branch, f"{count:,} more", status))
        if hidden:
            left_out += hidden
    return lines, left_out


def _by_workload(operations: Iterable[Operation], bare: Mapping[str, Part]) -> dict[str, list[Operation]]:
    groups: dict[str, list[Operation]] = {name: [] for name in (*WORKLOADS, *bare)}
    for operation in operations:
        groups.setdefault(operation.workload, []).append(operation)
    return {name: group for name, group in groups.items() if group or name in bare}


def bare_workloads(operations: Iterable[Operation], parts: Iterable[Part]) -> dict[str, Part]:
    """The workloads of which no operation is known: a pipeline without dbbtrace, or one in which nothing ran."""
    known = {operation.workload for operation in operations}
    return {
        part.workload: part
        for part in parts
        if part.part == "workload" and part.workload and part.workload not in known and not part.superseded
    }


def _worth_showing(group: list[Operation]) -> list[Operation]:
    """All if they are few; otherwise the worst of those that did not succeed, and the slowest of the others."""
    if len(group) <= SHOWN:
        return group
    others = sorted(_not_succeeded(group), key=lambda operation: _WORST.get(operation.status, 1))[:SHOWN]
    plain = [operation for operation in group if operation.status == "Succeeded"]
    slowest = sorted(plain, key=lambda operation: -(operation.seconds or 0))[: max(SHOWN - len(others), 10)]
    kept = {id(operation) for operation in (*others, *slowest)}
    return [operation for operation in group if id(operation) in kept]


_WORST = {"Failed": 0, "Warned": 2, "Skipped": 3}
"""The order in which operations that did not succeed find room; those that run or are unknown come second."""


def _not_succeeded(group: Iterable[Operation]) -> list[Operation]:
    return [operation for operation in group if operation.status != "Succeeded"]


def _tries(found: Iterable[Part]) -> Iterable[str]:
    """What became of each attempt that failed."""
    for part in found:
        kind = (part.error_type or "").rpartition(".")[2]
        yield f"attempt {part.attempt or '?'} {part.status.lower()}: {kind}: {part.error_message or 'no reason'}"


def _workload_line(name: str, group: Sequence[Operation]) -> Line:
    started, ended = extent_of(group)
    done = outcomes(group)
    return Line(
        "",
        name,
        status_of(done),
        started,
        ended,
        (ended - started).total_seconds() if started and ended else None,
        _sum(operation.rows_written for operation in done) if name == "integration" else None,
        _sum(operation.bytes_written for operation in done),
        bold=True,
    )


def _bare_line(name: str, part: Part) -> Line:
    started, ended = part.started_at, part.ended_at
    lasted = (ended - started).total_seconds() if started and ended else None
    note = part.error_message if part.status == "Failed" and part.error_message else "no operation was recorded in it"
    return Line("", name, part.status, started, ended, lasted, notes=(note,), note_lead="  ", bold=True)


def _operation_line(operation: Operation, notes: tuple[str, ...], drawn: Glyphs, last: bool) -> Line:
    return Line(
        drawn.last if last else drawn.branch,
        operation.label,
        operation.status,
        operation.started_at,
        operation.ended_at,
        None if operation.status == "Skipped" else operation.seconds,
        operation.rows_written,
        operation.bytes_written,
        notes,
        ("   " if last else drawn.trunk) + "  ",
    )


def _sum(values: Iterable[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def extent_of(operations: Iterable[Operation | Part]) -> tuple[datetime | None, datetime | None]:
    """From the first start to the last end."""
    operations = list(operations)
    started = [operation.started_at for operation in operations if operation.started_at]
    ended = [operation.ended_at for operation in operations if operation.ended_at]
    return (min(started) if started else None, max(ended + started) if ended or started else None)
