"""A verdict and its reasons, as answers hold them. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from dbbtrace.answers.rows import Run

__all__ = ["VERDICTS", "Here", "Reason", "Verdict"]

VERDICTS = ("Failed", "Running", "Unfinished", "Incomplete", "Warned", "Succeeded")
"""In the order in which the first that applies is taken."""


@dataclass(frozen=True)
class Reason:
    """One reason, in a sentence."""

    verdict: str
    """The verdict that it leads to; '' of what is only worth knowing."""
    kind: str
    """failed, running, unfinished, lost, absent, stale, volume, empty, not counted, warning, reconciliation, nothing
    done, rows alone, not judged, ..."""
    text: str
    name: str | None = None
    """The operation, part or table that it is about."""
    known: bool = False
    """Somebody has acknowledged it; the text says why and until when."""


@dataclass(frozen=True)
class Verdict:
    """What is to be thought of a run."""

    run_id: str
    word: str
    """One of ``VERDICTS``."""
    reasons: tuple[Reason, ...]
    """Those that led to the verdict first."""
    run: Run | None = None
    """Its row of ``monitoring_runs``, with this verdict as status; None: nothing of it is in the warehouse."""

    @property
    def ok(self) -> bool:
        """Whether the run may be trusted: Succeeded or Warned."""
        return self.word in ("Succeeded", "Warned")


@dataclass(frozen=True)
class Here:
    """What the journal of this machine knows of a run."""

    started: int = 0
    """Operations and parts that have started and not ended."""
    waiting: int = 0
    """Ended ones whose rows are not in the warehouse yet."""
    alive: bool = False
    """A job of the run still runs here."""
    gone: bool = False
    """A job of the run is gone, and nobody delivers what it left."""
