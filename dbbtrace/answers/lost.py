"""Rows that a job recorded and that are not in the table, by record ids.

``monitoring_runs`` compares counts, so that an imported load can take the place of a row that was lost. Record ids tell
which rows are a job's own live work: each is a hash of its span id. What dbt built is compared for each invocation. A
row that others made counts if it is of the same table or model: jobs leave a mark of each.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Collection

from dbbtrace.answers.rows import Run
from dbbtrace.model.identity import dbt_identity, identity_of_span, record_ids, span_id_of, trace_id_of
from dbbtrace.model.parts import mark_of
from dbbtrace.warehouse import Warehouse, views

__all__ = ["lost_rows"]

_KINDS = {"table_load": "table load", "dbt_node": "dbt node", "model_refresh": "model refresh"}
"""What is compared, and what it is called."""


def lost_rows(warehouse: Warehouse, run: Run) -> dict[str, int]:
    """What is missing → how many rows of it, where the run's own figures don't say so already."""
    [told] = views.ask(warehouse, _TOLD, runs=[run.run_id]) or [(None, None, None)]
    promised = dict(zip(_KINDS, (int(number or 0) for number in told), strict=True))
    kinds = [kind for kind, number in promised.items() if number]
    there = _there(warehouse, run.run_id, kinds) if kinds else Counter()
    missing = {kind: max(0, promised[kind] - there[kind]) for kind in _KINDS}
    for kind, number in _without_a_row(warehouse, run.run_id, kinds).items():
        missing[kind] = max(missing[kind], number)
    if run.nodes:
        missing["dbt_node"] += _lost_nodes(warehouse, run.run_id)
    known = {"table_load": run.loads_lost, "dbt_node": run.nodes_lost, "model_refresh": run.refreshes_lost}
    return {_KINDS[kind]: number for kind, number in missing.items() if number and not known[kind]}


def _there(warehouse: Warehouse, run_id: str, kinds: list[str]) -> Counter[str]:
    """Kind → rows that may be live work of a job: by their record id, or made by hand for the same load. The view has
    left out hand-made rows beside one of ours, and doubles."""
    found: Counter[str] = Counter()
    trace_id = f"{trace_id_of(run_id):032x}"
    marks = ", ".join("?" * len(kinds))
    for kind, record_id, span_id, trace in views.ask(warehouse, f"{_ROWS} ({marks})", kinds, runs=[run_id]):
        unclear = record_id is None or not span_id or trace != trace_id
        found[str(kind)] += unclear or _is_live(run_id, str(kind), str(record_id), str(span_id))
    return found


def _is_live(run_id: str, kind: str, record_id: str, span_id: str) -> bool:
    try:
        identity = identity_of_span(int(span_id, 16))
    except ValueError:
        return True
    return record_ids([run_id], [identity], "execute" if kind == "dbt_node" else "") == [record_id]


def _without_a_row(warehouse: Warehouse, run_id: str, kinds: Collection[str]) -> dict[str, int]:
    """Kind → of how many tables or models no row is there, though jobs say that they did them. A row that somebody else
    made of another one stands in for nothing."""
    found = {}
    details = [str(detail) for (detail,) in views.ask(warehouse, _MARKS, runs=[run_id])]
    for kind, sql in _NAMED.items():
        told = {mark for detail in details for mark in _marks(detail, kind)} if kind in kinds else set()
        if told:
            found[kind] = len(told - {mark_of(*names) for names in views.ask(warehouse, sql, runs=[run_id])})
    return found


def _marks(detail: str, kind: str) -> list[str]:
    """The marks that a job gives, four digits each."""
    try:
        digits = json.loads(detail)["marks"][kind]
    except (ValueError, LookupError, TypeError):
        return []  # it says nothing of them, or had too many
    return [digits[at : at + 4] for at in range(0, len(digits), 4)]


def _lost_nodes(warehouse: Warehouse, run_id: str) -> int:
    """Nodes that dbt's invocations built, as their own record says, and that have no row."""
    told = {
        str(span_id): int(nodes)
        for span_id, nodes in views.ask(warehouse, _INVOCATIONS, runs=[run_id])
        if nodes is not None
    }
    if not told:
        return 0
    there, lost, trace_id = _nodes_there(warehouse, run_id), 0, trace_id_of(run_id)
    for invocation in list(there):
        span_id = f"{span_id_of(trace_id, dbt_identity(invocation, '')):016x}"
        if span_id in told:
            lost += max(0, told.pop(span_id) - there.pop(invocation))
    return lost + max(0, sum(told.values()) - sum(there.values()))  # of those whose span has an id of its own


def _nodes_there(warehouse: Warehouse, run_id: str) -> dict[str, int]:
    """dbt's id of an invocation → how many of its nodes have a row."""
    own: dict[str, set[str]] = defaultdict(set)
    named: dict[tuple[str, bool], set[tuple[str, str]]] = defaultdict(set)
    invocations = set()
    for invocation, record_id, item, relation in views.ask(warehouse, _NODES, runs=[run_id]):
        invocations.add(str(invocation))
        named[str(invocation), record_id is None].add((str(item), str(relation or "")))
        if record_id is not None:
            own[str(invocation)].add(str(record_id))
    return {one: len(own[one]) + len(named[one, True] - named[one, False]) for one in invocations}


_TOLD = """\
SELECT SUM(p.loads), SUM(p.nodes), SUM(p.refreshes) FROM meta.monitoring_parts AS p WHERE p.part = 'job'
"""
_MARKS = """\
SELECT p.detail FROM meta.monitoring_parts AS p WHERE p.part = 'job' AND p.detail LIKE '%"marks"%'
"""
_NAMED = {
    "table_load": """\
SELECT l.source_name, l.schema_name, l.table_name FROM meta.monitoring_integration AS l
""",
    "model_refresh": """\
SELECT r.semantic_model_id FROM meta.monitoring_semantic_model_refresh AS r
""",
}
_ROWS = """\
SELECT o.kind, o.record_id, o.span_id, o.trace_id
FROM meta.monitoring_operations AS o
WHERE COALESCE(o.error_type, '') <> 'Interrupted' AND o.kind IN
"""
_INVOCATIONS = """\
SELECT p.span_id, p.nodes FROM meta.monitoring_parts AS p WHERE p.part = 'dbt_invocation'
"""
_NODES = """\
SELECT d.invocation_id, d.record_id, d.item_name, d.relation_name
FROM meta.monitoring_transformation_dbt AS d
WHERE COALESCE(d.process_stage, 'execute') <> 'compile' AND COALESCE(d.error_type, '') <> 'Interrupted'
"""
