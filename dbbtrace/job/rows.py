"""Which steps and attempts give a row: with the setting record_steps all of them, and no more than a job may have."""

from __future__ import annotations

from dbbtrace.job.handle import Handle
from dbbtrace.model import attributes as key
from dbbtrace.model.parts import claims_rows
from dbbtrace.tracing import runtime

__all__ = ["limit_rows"]


def limit_rows(work: Handle) -> None:
    """Say on the step or attempt, which is about to end, whether it gives a row, where that is not as usual."""
    place, values = work._place, work._values
    if place is None:
        return
    wanted = runtime.current().settings.record_steps == "all"
    attributes = {**values, key.OPERATION: work.operation}
    if not wanted and not claims_rows(attributes, failed=work.failed):
        return
    tally = place.tally
    fits = tally is None or tally.step_fits()
    if wanted or not fits:
        values[key.PART_ROW] = fits
