"""The job's links, the answers and the view say the same of which loaded table a source of dbt's reads."""

from __future__ import annotations

from pathlib import Path
from random import Random

from dbbtrace.answers import operations
from dbbtrace.answers.graph import RunGraph
from dbbtrace.graph import DbtSource, Rules
from dbbtrace.job.lineage import Lineage
from dbbtrace.warehouse import views
from tests.lineage.rows import Story

RUNS = 120
SYSTEMS, SCHEMAS = ("MDS", "crm", ""), ("mdm", "dbo", "MDS", "")
TABLES = ("Customer", "customer_address", "Orders")
SOURCES = [
    f"source.shop.{source}.{table}"
    for source in ("mds", "CRM", "dbo", "mdm", "bronze")
    for table in ("customer", "Customer_Address", "orders", "MDS__mdm_Customer", "crm___orders", "calendar")
]


def test_all_find_the_same_load(tmp_path: Path) -> None:
    """Whatever the tables and the sources are called, where the rows alone tell."""
    chance, story, seen = Random(20261129), Story(), {}
    for number in range(RUNS):
        run, seen[number] = f"run {number}", Lineage(number + 1)
        for _ in range(chance.randint(0, 4)):
            names = chance.choice(TABLES), chance.choice(SCHEMAS), chance.choice(SYSTEMS)
            if names not in seen[number].loads:
                story.load(run, names[0], len(seen[number].loads), schema=names[1], source=names[2])
                seen[number].loads[names] = len(seen[number].loads) + 1
        story.node(run, "model.shop.m", 9, reads=SOURCES)
    found = 0
    with story.stored(tmp_path / "w.db") as warehouse:
        asked = (
            "SELECT v.orchestration_run_id, v.upstream_id, v.upstream_operation_id FROM meta.monitoring_lineage AS v"
        )
        by_view = {(run, source): load for run, source, load in views.ask(warehouse, asked)}
        done = operations(warehouse, [f"run {number}" for number in seen])
        for number, lineage in seen.items():
            graph = RunGraph(one for one in done if one.run_id == f"run {number}")
            for source in SOURCES:
                load = graph.load_of(source)
                span = lineage.load_of(DbtSource.of_id(source), Rules())
                linked = next((n for n, span_id in lineage.loads.items() if span and span_id == span.span_id), None)
                assert (load and (load.name, load.source_name or "")) == (linked and _named(linked)), (number, source)
                assert (load and load.operation_id) == by_view[f"run {number}", source], (number, source)
                found += load is not None
    assert found > RUNS  # it is not about tables that nobody loaded


def _named(names: tuple[str, str, str]) -> tuple[str, str]:
    table, schema, source = names
    return f"{schema}.{table}" if schema else table, source
