"""Single values of dbt's artifacts in our terms. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from dbbtrace.model.statuses import NODE_FAILURES
from dbbtrace.model.times import to_unix_nanos

if TYPE_CHECKING:
    from dbbtrace.sources.dbt.artifacts import AdapterResponse, Criteria, NodeResult, Results

__all__ = [
    "NO_OP",
    "UPSTREAM",
    "age_of",
    "command_of",
    "count",
    "error_of",
    "exclusion_of",
    "label_of",
    "moment",
    "relation_parts",
    "rows_affected_of",
    "selection_of",
    "status_of",
    "without_colours",
]

NO_OP = "no-op"
"""dbt's word, since 1.10, for a node of which nothing is built."""
UPSTREAM = "Skipped due to upstream failure"
"""What Fusion says of every node that a failure held up, and dbt-core leaves unsaid."""
_POINT_ZERO = re.compile(r"\.0+\s*$")
_ANSI = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")
_HASH = re.compile(r"[0-9a-f]{10}")
_COMMAND = re.compile(r"[a-z][a-z-]{0,30}")
_RELATION_PART = re.compile(r'"((?:[^"]|"")*)"|\[((?:[^\]]|\]\])*)\]|`((?:[^`]|``)*)`|([^.]+)')


def moment(text: str | None) -> int | None:
    """A point in time as nanoseconds since the Unix epoch; None if there is none that a span can hold."""
    if text is None:
        return None
    try:
        nanos = to_unix_nanos(text)
    except ValueError:
        return None
    return nanos if 0 < nanos < 2**63 else None


def count(value: object) -> int | None:
    """A whole number from 0 to 2**63 - 1, from a number or from text; otherwise None."""
    try:
        if isinstance(value, str) and value.isascii():
            number = int(_POINT_ZERO.sub("", value))
        elif isinstance(value, (int, float)) and value == int(value):
            number = int(value)
        else:
            return None
    except (ValueError, OverflowError):
        return None
    return number if 0 <= number < 2**63 else None


def rows_affected_of(response: AdapterResponse) -> int | None:
    """How many rows the database says a node wrote; adapters that don't know say -1."""
    value = response.rows_affected
    return None if value is None or value == -1 else count(value)


def command_of(results: Results) -> str:
    """dbt's command, e.g. ``build``; '' when unknown. After ``dbt retry`` it is the original one."""
    if results.freshness:
        return "source freshness"
    which = ((results.args and results.args.which) or "").strip().lower()
    return which if _COMMAND.fullmatch(which) else ""


def selection_of(results: Results) -> str:
    """What dbt was told to select: the selectors joined with spaces, or ``selector:name``; '' for everything."""
    if results.args is None:
        return ""
    select = results.args.select or ()
    text = select if isinstance(select, str) else " ".join(select)
    return text or (f"selector:{results.args.selector}" if results.args.selector else "")


def exclusion_of(results: Results) -> str:
    """What dbt was told to leave out: the selectors joined with spaces."""
    exclude = (results.args.exclude if results.args is not None else None) or ()
    return exclude if isinstance(exclude, str) else " ".join(exclude)


def status_of(node: NodeResult) -> str:
    """dbt's own word. In lower case, since Fusion capitalises what it says of freshness."""
    return (node.status or "").strip().lower()


def without_colours(message: str) -> str:
    """The message without what only a terminal understands; its lines are kept."""
    return _ANSI.sub("", message) if "\x1b" in message else message


def error_of(word: str, message: str | None) -> tuple[str, str] | None:
    """error.type and message of a node that failed; a node without a status must not pass for a success."""
    if word in NODE_FAILURES:
        return f"dbt.{word.replace(' ', '_')}", message or word
    return None if word else ("dbt.unknown", "the artifact gives no status")


def label_of(unique_id: str) -> str:
    """What people call the node: its kind and name, e.g. ``model stg_flights``; not the hash that ends the id of a
    generic test."""
    kind, *path = unique_id.split(".")
    name = path[1:-1] if kind == "test" and _HASH.fullmatch(path[-1] if path[2:] else "") else path[1:]
    return f"{kind} {'.'.join(name)}" if name else unique_id


def relation_parts(relation_name: str) -> tuple[str | None, str]:
    """``"db"."schema"."table"`` → ``db.schema`` and ``table``, whatever the quotes."""
    quote = relation_name[:1]
    parts = relation_name[1:-1].split(f"{quote}.{quote}")
    if quote not in ('"', "`") or relation_name[-1] != quote or relation_name.count(quote) != 2 * len(parts):
        parts = ["".join(groups) for groups in _RELATION_PART.findall(relation_name)]
    return (".".join(parts[:-1]) or None, parts[-1]) if parts else (None, relation_name)


def age_of(node: NodeResult, word: str) -> str | None:
    """Why a source is not fresh, in dbt's own terms."""
    criteria: Criteria | None = node.criteria
    if criteria is None or node.max_loaded_at is None:
        return None
    limit = criteria.error_after if word == "error" else criteria.warn_after
    if limit is None or limit.count is None:
        return None
    plural = "" if limit.count == 1 else "s"
    return f"last loaded {node.max_loaded_at}, allowed is {limit.count} {limit.period}{plural} ({word}_after)"
