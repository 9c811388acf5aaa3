"""A run as a tree: workloads, operations with bars on one time axis, and reasons for failures and skipped nodes.

Works on any terminal: every status is a word, colour only repeats it, and names are escaped. Does no query.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from rich.text import Text

from dbbtrace.answers.reasons import Verdict
from dbbtrace.answers.rows import Part, attempts_of, outcomes, status_of
from dbbtrace.cli.explain import reasons
from dbbtrace.cli.text import bytes_of, count_of, counted, duration_of, middle_cut, moment_of, safe, wrapped
from dbbtrace.model.identity import trace_id_of

if TYPE_CHECKING:
    from dbbtrace.answers import Operation

__all__ = ["Glyphs", "glyphs", "run_tree"]

WORKLOADS = ("integration", "transformation", "consumption")
STYLES = {
    "Succeeded": "green",
    "Failed": "bold red",
    "Skipped": "yellow",
    "Warned": "yellow",
    "Unknown": "yellow",
    "Running": "cyan",
}
NOTE_STYLES = {**STYLES, "Failed": "red", "Succeeded": "yellow"}
SHOWN = 40
"""If a workload has more operations than this, the others are summed up: the successful ones first."""
MESSAGE_LINES = 4


@dataclass(frozen=True)
class Glyphs:
    """The characters of the tree."""

    branch: str
    last: str
    trunk: str
    bar: str
    tick: str
    signs: dict[str, str]


_DRAWN = Glyphs(
    "├─ ",
    "└─ ",
    "│  ",
    "█",
    "▏",
    {
        "Succeeded": "✓",
        "Failed": "✗",
        "Skipped": "○",
        "Warned": "!",
        "Unknown": "?",
        "Running": "…",
        "Unfinished": "?",
        "Incomplete": "!",
    },
)
_TYPED = Glyphs(
    "|- ",
    "`- ",
    "|  ",
    "#",
    "|",
    {
        "Succeeded": "+",
        "Failed": "x",
        "Skipped": "o",
        "Warned": "!",
        "Unknown": "?",
        "Running": ".",
        "Unfinished": "?",
        "Incomplete": "!",
    },
)


def glyphs(*, ascii_only: bool) -> Glyphs:
    """The characters for a terminal: line characters, or ASCII if its encoding has no others."""
    return _TYPED if ascii_only else _DRAWN


@dataclass(frozen=True)
class _Line:
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


def run_tree(
    run_id: str,
    operations: Sequence[Operation],
    *,
    verdict: Verdict | None = None,
    width: int = 80,
    ascii_only: bool = False,
    whole: bool = False,
    failed: bool = False,
    parts: Sequence[Part] = (),
) -> list[Text]:
    """The lines of the tree.

    Args:
        operations: all operations of the run, from ``answers.operations``.
        verdict: on the run, with its reasons; None: as its operations say.
        width: width in columns; at least 60.
        whole: show every operation and every message in full.
        failed: show every operation that did not succeed, and no other.
        parts: the run's own record: attempts that failed have a note, workloads in which nothing was recorded a line.
    """
    drawn, width = glyphs(ascii_only=ascii_only), max(width, 60)
    bare = _bare_workloads(operations, parts)
    lines, left_out = _lines(operations, drawn, whole, failed, attempts_of(parts), bare)
    axis = _Axis(operations, bare)
    columns = _Columns(lines, axis, width, drawn)
    shown = [*_head(run_id, operations, verdict, axis, width, drawn), columns.head()]
    for line in lines:
        shown.append(columns.row(line))
        limit = None if whole else MESSAGE_LINES
        for note in line.notes:
            lead = safe(line.note_lead)
            shown += [
                Text().append(lead, "dim").append(part, NOTE_STYLES.get(line.status, ""))
                for part in wrapped(note, width - len(lead), limit)
            ]
    shown += map(Text, wrapped(_total(operations), width, None))
    if left_out:
        said = counted(left_out, "operation is", "operations are")
        shown.append(Text(f"{said} summed up; --failed shows what did not succeed, --all shows all", "dim"))
    return shown


# -- which lines --------------------------------------------------------------------------------------------


def _lines(
    operations: Sequence[Operation],
    drawn: Glyphs,
    whole: bool,
    failed: bool,
    attempts: Mapping[str, Sequence[Part]],
    bare: Mapping[str, Part],
) -> tuple[list[_Line], int]:
    """The lines in order, and how many operations have no line."""
    lines: list[_Line] = []
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
            lines.append(_Line(drawn.last if place == len(rest) - 1 else drawn.branch, f"{count:,} more", status))
        if hidden:
            left_out += hidden
    return lines, left_out


def _by_workload(operations: Iterable[Operation], bare: Mapping[str, Part]) -> dict[str, list[Operation]]:
    groups: dict[str, list[Operation]] = {name: [] for name in (*WORKLOADS, *bare)}
    for operation in operations:
        groups.setdefault(operation.workload, []).append(operation)
    return {name: group for name, group in groups.items() if group or name in bare}


def _bare_workloads(operations: Iterable[Operation], parts: Iterable[Part]) -> dict[str, Part]:
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


def _workload_line(name: str, group: Sequence[Operation]) -> _Line:
    started, ended = _extent(group)
    done = outcomes(group)
    return _Line(
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


def _bare_line(name: str, part: Part) -> _Line:
    started, ended = part.started_at, part.ended_at
    lasted = (ended - started).total_seconds() if started and ended else None
    note = part.error_message if part.status == "Failed" and part.error_message else "no operation was recorded in it"
    return _Line("", name, part.status, started, ended, lasted, notes=(note,), note_lead="  ", bold=True)


def _operation_line(operation: Operation, notes: tuple[str, ...], drawn: Glyphs, last: bool) -> _Line:
    return _Line(
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


def _extent(operations: Iterable[Operation | Part]) -> tuple[datetime | None, datetime | None]:
    """From the first start to the last end."""
    operations = list(operations)
    started = [operation.started_at for operation in operations if operation.started_at]
    ended = [operation.ended_at for operation in operations if operation.ended_at]
    return (min(started) if started else None, max(ended + started) if ended or started else None)


# -- how they are laid out ----------------------------------------------------------------------------------


class _Axis:
    """The time axis that all bars share."""

    def __init__(self, operations: Sequence[Operation], bare: Mapping[str, Part]) -> None:
        self.start, self.end = _extent([*operations, *bare.values()])
        self.seconds = (self.end - self.start).total_seconds() if self.start and self.end else 0.0

    def bar(self, line: _Line, width: int, drawn: Glyphs) -> str:
        """The line's bar in ``width`` cells: where it ran, at least one cell."""
        if self.start is None or line.started_at is None:
            return " " * width
        begin = (line.started_at - self.start).total_seconds()
        end = (line.ended_at - self.start).total_seconds() if line.ended_at else begin
        scale = width / self.seconds if self.seconds > 0 else 0.0
        first = min(max(int(begin * scale), 0), width - 1)
        cells = min(max(round(end * scale) - first, 1), width - first)
        return (" " * first + drawn.bar * cells).ljust(width)

    def ruler(self, width: int) -> str:
        """``0 s … 12.4 s`` over the bars."""
        end = duration_of(self.seconds)
        return f"0{end:>{max(width - 1, len(end) + 1)}}"[:width] if self.start else " " * width


def _word(status: str) -> str:
    """The status for people. An unknown status may have any length."""
    return middle_cut(safe(status), 16)


class _Columns:
    """The width of each column, so that all lines fit."""

    def __init__(self, lines: Sequence[_Line], axis: _Axis, width: int, drawn: Glyphs) -> None:
        self.axis, self.drawn = axis, drawn
        self.status = max((len(_word(line.status)) for line in lines), default=0) + 2
        self.duration = max((len(duration_of(line.duration)) for line in lines), default=0)
        self.rows = max((len(count_of(line.rows)) for line in lines), default=0)
        self.size = max((len(bytes_of(line.size)) for line in lines), default=0)
        self.rows = max(self.rows, len("rows")) if self.rows else 0
        self.size = max(self.size, len("bytes")) if self.size else 0
        taken = sum(column + 1 for column in (self.status, self.duration, self.rows, self.size) if column)
        longest = max((len(line.lead) + len(safe(line.label)) for line in lines), default=0)
        left = width - taken - 1
        self.bar = max(min(left - longest, 60), 12, min(left // 3, 24))
        self.name = max(min(longest, left - self.bar), 8)

    def head(self) -> Text:
        """What the columns are."""
        text = f"{'':{self.name}} {'':{self.status}} {self.axis.ruler(self.bar)}"
        for title, column in (("time", self.duration), ("rows", self.rows), ("bytes", self.size)):
            text += f" {title:>{column}}" if column else ""
        return Text(text.rstrip(), "dim")

    def row(self, line: _Line) -> Text:
        """One line of the tree."""
        from rich.cells import set_cell_size

        style = STYLES.get(line.status, "")
        label = middle_cut(safe(line.label), self.name - len(line.lead))
        text = Text().append(line.lead, "dim")
        text.append(set_cell_size(label, self.name - len(line.lead)), "bold" if line.bold else "")
        sign = self.drawn.signs.get(line.status, " ")
        text.append(f" {f'{sign} {_word(line.status)}':{self.status}}", style)
        text.append(" " + self.axis.bar(line, self.bar, self.drawn), style)
        for value, column in (
            (duration_of(line.duration), self.duration),
            (count_of(line.rows), self.rows),
            (bytes_of(line.size), self.size),
        ):
            text.append(f" {value:>{column}}" if column else "")
        text.rstrip()
        return text


def _head(
    run_id: str,
    operations: Sequence[Operation],
    verdict: Verdict | None,
    axis: _Axis,
    width: int,
    drawn: Glyphs,
) -> list[Text]:
    """The heading: which run this is, how it went and why."""
    status = verdict.word if verdict is not None else status_of(operations)
    # Failed operations have their lines in the tree.
    reasons = (
        [reason for reason in verdict.reasons if reason.kind != "failed" or reason.name is None or reason.known]
        if verdict
        else []
    )
    facts = [
        next((operation.data_product for operation in operations if operation.data_product), None),
        next((operation.environment for operation in operations if operation.environment), None),
        f"{moment_of(axis.start)} UTC" if axis.start else None,
        duration_of(axis.seconds) if axis.start else None,
    ]
    name = middle_cut(safe(run_id), width - 20)
    return [
        Text("run   ")
        .append(name, "bold")
        .append(f"  {drawn.signs.get(status, ' ')} {status}", STYLES.get(status, "")),
        Text(f"trace {trace_id_of(run_id):032x}"),
        *(Text("      " + line) for line in wrapped(", ".join(fact for fact in facts if fact), width - 6, None)),
        *(
            Text().append("      " + line, STYLES.get(reason.verdict, "dim"))
            for reason in reasons
            for line in wrapped(safe(reason.text), width - 6, MESSAGE_LINES)
        ),
        Text(),
    ]


def _total(operations: Sequence[Operation]) -> str:
    done = outcomes(operations)
    counts = Counter(operation.status for operation in done)
    order = {
        status: place for place, status in enumerate(("Succeeded", "Warned", "Skipped", "Failed", "Unknown", "Running"))
    }
    parts = [
        f"{counts[status]} {safe(status).lower()}" for status in sorted(counts, key=lambda name: order.get(name, 9))
    ]
    if again := len(operations) - len(done):
        parts.append(f"{again} done again later")
    noun = "operation" if len(operations) == 1 else "operations"
    return f"{len(operations)} {noun}" + (f": {', '.join(parts)}" if parts else "")
