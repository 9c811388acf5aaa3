"""A run as a tree: workloads, operations with bars on one time axis, and reasons for failures and skipped nodes.

Works on any terminal: every status is a word, colour only repeats it, and names are escaped. Does no query.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich.text import Text

from dbbtrace.answers.reasons import Verdict
from dbbtrace.answers.rows import Part, attempts_of, outcomes, status_of
from dbbtrace.cli.glyphs import STYLES, Glyphs, glyphs
from dbbtrace.cli.text import bytes_of, count_of, counted, duration_of, middle_cut, moment_of, safe, wrapped
from dbbtrace.cli.tree_lines import Line, bare_workloads, extent_of, lines_of
from dbbtrace.model.identity import trace_id_of

if TYPE_CHECKING:
    from dbbtrace.answers import Operation

__all__ = ["run_tree"]

NOTE_STYLES = {**STYLES, "Failed": "red", "Succeeded": "yellow"}
MESSAGE_LINES = 4


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
    bare = bare_workloads(operations, parts)
    lines, left_out = lines_of(operations, drawn, whole, failed, attempts_of(parts), bare)
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
        rest = "--all shows all" if failed else "--failed shows what did not succeed, --all shows all"
        shown.append(Text(f"{said} summed up; {rest}", "dim"))
    return shown


class _Axis:
    """The time axis that all bars share."""

    def __init__(self, operations: Sequence[Operation], bare: Mapping[str, Part]) -> None:
        self.start, self.end = extent_of([*operations, *bare.values()])
        self.seconds = (self.end - self.start).total_seconds() if self.start and self.end else 0.0

    def bar(self, line: Line, width: int, drawn: Glyphs) -> str:
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

    def __init__(self, lines: Sequence[Line], axis: _Axis, width: int, drawn: Glyphs) -> None:
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

    def row(self, line: Line) -> Text:
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
