"""``watermark``: for a job that loads a table incrementally."""

from __future__ import annotations

from dbbtrace.answers.watermark import Watermark
from dbbtrace.answers.watermark import watermark as ask
from dbbtrace.graph import Table
from dbbtrace.warehouse import open_warehouse

__all__ = ["watermark"]


def watermark(
    table: str, *, schema: str | None = None, source: str | None = None, load_type: str = "INCREMENTAL"
) -> Watermark:
    """From when on the next incremental load of a table reads; the same as the platform's own query says.

    Args:
        table: the table's name as its rows have it; letter by letter, as all names here.
        schema: its schema.
        source: the source system, e.g. MDS.
        load_type: of the load that is to come: INCREMENTAL, or FULL, which reads everything.

    Raises:
        UsageError: the load type is neither.
        ConfigurationError, TransientError: the warehouse can't be asked. Nothing is ever read as "never loaded" then.
    """
    with open_warehouse(create=False) as warehouse:
        return ask(warehouse, Table(source or "", schema or "", table), load_type)
