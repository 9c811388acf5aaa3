"""What a status word means: dbt's, Fabric's, Power BI's and our own. The one place that knows.

The tables keep each tool's own word; whoever writes or reads them asks here what it stands for. For each kind of
operation there are the words that end it; a word that is not among them, and is not one of ``UNENDED``, nobody knows.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Final

__all__ = [
    "FAILED",
    "LOADS",
    "NODES",
    "NODE_FAILURES",
    "REFRESHES",
    "RUNNING",
    "SKIPPED",
    "STATUSES",
    "SUCCEEDED",
    "UNENDED",
    "WARNED",
    "is_running",
    "meaning",
    "refresh_word",
    "row_of_load",
    "row_of_node",
    "row_of_refresh",
]

SUCCEEDED: Final = "Succeeded"
WARNED: Final = "Warned"
SKIPPED: Final = "Skipped"
FAILED: Final = "Failed"
RUNNING: Final = "Running"

LOADS: Final[Mapping[str, str]] = {
    "succeeded": SUCCEEDED, "success": SUCCEEDED, "completed": SUCCEEDED, "ok": SUCCEEDED,
    "failed": FAILED, "failure": FAILED, "error": FAILED, "cancelled": FAILED, "canceled": FAILED,
}  # fmt: skip
"""Outcome of a table load, in lower case → what it means."""

NODES: Final[Mapping[str, str]] = {
    "success": SUCCEEDED, "pass": SUCCEEDED, "no-op": SUCCEEDED, "reused": SUCCEEDED,
    "warn": WARNED, "warned": WARNED,
    "skipped": SKIPPED,
    "error": FAILED, "fail": FAILED, "runtime error": FAILED, "partial success": FAILED,
}  # fmt: skip
"""Outcome of a dbt node, in lower case → what it means."""

REFRESHES: Final[Mapping[str, str]] = {
    "completed": SUCCEEDED, "succeeded": SUCCEEDED, "success": SUCCEEDED,
    "disabled": SKIPPED,
    "failed": FAILED, "cancelled": FAILED, "timedout": FAILED,
}  # fmt: skip
"""Outcome of a model refresh, in lower case → what it means."""

UNENDED: Final = (
    "unknown", "inprogress", "notstarted",
    "running", "queued", "started", "compiling", "executing",
)  # fmt: skip
"""Words for any work that has not ended, in lower case, without spaces and underscores. ``unknown`` is Power BI's."""

STATUSES: Final[Mapping[str, str]] = {**LOADS, **NODES, **REFRESHES, **dict.fromkeys(UNENDED, RUNNING)}
"""Stored word of any operation, in lower case → Succeeded, Warned, Skipped, Failed or Running."""

NODE_FAILURES: Final = frozenset(word for word, status in NODES.items() if status == FAILED)
"""dbt's words for a node that failed."""

_REFRESH_WORDS = {word.lower(): word for word in ("Completed", "Failed", "Cancelled", "Disabled", "Unknown")}
_REFRESH_WORDS |= {"succeeded": "Completed", "success": "Completed"}


def meaning(word: str, words: Mapping[str, str] = STATUSES) -> str | None:
    """What the word stands for: Succeeded, Warned, Skipped, Failed or Running; None: nobody knows it.

    Args:
        word: in any case.
        words: ``LOADS``, ``NODES`` or ``REFRESHES``, where it is known whose word it is.
    """
    return words.get(word.strip().lower())


@lru_cache(maxsize=256)
def is_running(word: str) -> bool:
    """Whether the word says that the work has not ended."""
    return word.strip().lower().replace(" ", "").replace("_", "") in UNENDED


def refresh_word(word: str) -> str:
    """The word of a refresh as Power BI spells it; a word that nobody knows stays as it is."""
    return _REFRESH_WORDS.get(word.lower(), word)


# -- what a row holds: the span's own word if it has one, else by whether it failed ------------------------------


@lru_cache(maxsize=256)
def row_of_load(word: str | None, failed: bool, interrupted: bool) -> str:
    """Succeeded or Failed. A word that nobody knows counts as Failed: it must not move the watermark."""
    if word is None:
        return FAILED if failed else SUCCEEDED
    return SUCCEEDED if meaning(word, LOADS) == SUCCEEDED and not interrupted else FAILED


@lru_cache(maxsize=256)
def row_of_node(word: str | None, failed: bool, interrupted: bool) -> str:
    """dbt's own word."""
    return "error" if interrupted else word or ("error" if failed else "success")


@lru_cache(maxsize=256)
def row_of_refresh(word: str | None, failed: bool, interrupted: bool) -> str:
    """Power BI's own word. How an interrupted refresh ended nobody knows: the service may well have gone on."""
    if interrupted and (word is None or is_running(word)):
        return "Unknown"
    return refresh_word(word or (FAILED if failed else "Completed"))
