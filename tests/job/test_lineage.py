"""What a process remembers of a run's loads, for links: enough for a real run, and no more."""

from __future__ import annotations

from opentelemetry.trace import SpanContext, TraceFlags

from dbbtrace.graph import DbtSource, Rules
from dbbtrace.job.lineage import Lineage, lineage_of, loaded


def load_of(seen: Lineage, source: str) -> SpanContext | None:
    """The load of the table that the source of this unique_id reads."""
    return seen.load_of(DbtSource.of_id(source), Rules())


def test_a_million_loads_do_not_pile_up() -> None:
    """The newest tables are known, the oldest are forgotten; a table that is loaded again has its latest span."""
    trace_id = 0x7E57
    for number in range(10_000):
        loaded(SpanContext(trace_id, number + 1, False, TraceFlags(1)), f"Table{number}", "dbo", "MDS")
    loaded(SpanContext(trace_id, 77, False, TraceFlags(1)), "Table9999", "dbo", "MDS")
    seen = lineage_of(trace_id)
    latest = load_of(seen, "source.shop.mds.table9999")
    assert latest is not None
    assert (latest.trace_id, latest.span_id) == (trace_id, 77)
    assert load_of(seen, "source.shop.mds.table0") is None
    assert len(seen.loads) < 3_000


def test_of_several_loads_of_a_table_the_one_whose_system_is_named_counts() -> None:
    """Names are compared whatever their case; one that came after somebody asked is known too."""
    trace_id = 0x7E58
    loaded(SpanContext(trace_id, 1, False, TraceFlags(1)), "Customer", "mdm", "MDS")
    seen = lineage_of(trace_id)
    assert load_of(seen, "source.shop.crm.customer").span_id == 1
    loaded(SpanContext(trace_id, 2, False, TraceFlags(1)), "customer", "dbo", "CRM")
    assert load_of(seen, "source.shop.crm.CUSTOMER").span_id == 2
    assert load_of(seen, "source.shop.mds.Customer").span_id == 1
