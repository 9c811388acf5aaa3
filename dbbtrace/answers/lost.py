"""Rows that a job recorded and that are not in the table, by record ids.

``monitoring_runs`` compares counts, so that an imported load can take the place of a row that was lost. Record ids tell
which rows are a job's own live work: each is a hash of its span id.
"""

from __future__ import annotations

from collections import Counter

from dbbtrace.answers.rows import Run
from dbbtrace.model.identity import identity_of_span, record_ids, trace_id_of
from dbbtrace.warehouse import Warehouse, views

__all__ = ["lost_rows"]

_KINDS = {"table_load": "table load", "model_refresh": "model refresh"}
"""What is compared, and what it is called. dbt's nodes are counted by their invocation, whoever recorded them."""


def lost_rows(warehouse: Warehouse, run: Run) -> dict[str, int]:
    """What is missing → how many rows of it, where the run's own figures don't say so already."""
    [told] = views.ask(warehouse, _TOLD, runs=[run.run_id]) or [(None, None)]
    promised = dict(zip(_KINDS, (int(number or 0) for number in told), strict=True))
    if not any(promised.values()):
        return {}
    there = _there(warehouse, run.run_id)
    known = {"table_load": run.loads_lost, "model_refresh": run.refreshes_lost}
    return {
        _KINDS[kind]: missing
        for kind, number in promised.items()
        if (missing := number - there[kind]) > 0 and not known[kind]
    }


def _there(warehouse: Warehouse, run_id: str) -> Counter[str]:
    """Kind → rows that may be live work of a job: by their record id, or made by hand for the same load. The view has
    left out hand-made rows beside one of ours, and doubles."""
    found: Counter[str] = Counter()
    trace_id = f"{trace_id_of(run_id):032x}"
    for kind, record_id, span_id, trace in views.ask(warehouse, _ROWS, runs=[run_id]):
        unclear = record_id is None or not span_id or trace != trace_id
        found[str(kind)] += unclear or _is_live(run_id, str(record_id), str(span_id))
    return found


def _is_live(run_id: str, record_id: str, span_id: str) -> bool:
    try:
        identity = identity_of_span(int(span_id, 16))
    except ValueError:
        return True
    return record_ids([run_id], [identity]) == [record_id]


_TOLD = """\
SELECT SUM(p.loads), SUM(p.refreshes) FROM meta.monitoring_parts AS p WHERE p.part = 'job'
"""
_ROWS = """\
SELECT o.kind, o.record_id, o.span_id, o.trace_id
FROM meta.monitoring_operations AS o
WHERE o.kind IN ('table_load', 'model_refresh') AND COALESCE(o.error_type, '') <> 'Interrupted'
"""
