"""What a process remembers of a run's loads, for links: enough for a real run, and no more."""

from __future__ import annotations

from dbbtrace.job.lineage import Lineage


def test_a_million_loads_do_not_pile_up() -> None:
    """The newest tables are known, the oldest are forgotten; a table that is loaded again has its latest span."""
    seen = Lineage(trace_id=7)
    for number in range(10_000):
        seen.loaded(f"Table{number}", "dbo", "MDS", number + 1)
    seen.loaded("Table9999", "dbo", "MDS", 77)
    latest = seen.load_of("source.shop.mds.table9999", "table9999")
    assert latest is not None
    assert (latest.trace_id, latest.span_id) == (7, 77)
    assert seen.load_of("source.shop.mds.table0", "table0") is None
    assert len(seen._loads) < 3_000
