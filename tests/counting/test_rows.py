"""How much Python runs for a row: calls, of which each costs what a column does."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable

import pytest
from dbbtrace_exporters.warehouse.flatten import flatten
from opentelemetry.sdk.trace import ReadableSpan

from dbbtrace.model import attributes as key
from dbbtrace.model.identity import new_run_id
from tests.warehouse.spans import load, node, refresh, span

COUNT = 500


def calls(work: Callable[[], object]) -> int:
    """Python functions that are called."""
    count = 0

    def called(frame: object, event: str, argument: object) -> None:
        nonlocal count
        count += event == "call"

    before = sys.getprofile()
    sys.setprofile(called)
    try:
        work()
    finally:
        sys.setprofile(before)
    return count


@pytest.mark.parametrize(
    ("made", "most"),
    # Most are the span's own: asked for are its attributes, status, context, start and end. A node has two rows, six
    # points in time that are texts here, and a list, as a refresh has. A step is asked whether it failed: then it has
    # a row too.
    [(load, 17), (node, 44), (refresh, 18), (lambda **_: span({key.OPERATION: key.OPERATION_STEP}), 7)],
    ids=["load", "dbt node", "refresh", "no row"],
)
def test_a_row_of_a_batch_takes_few_calls(made, most):
    """Columns are cleaned at once: a call a column would be thirty more."""
    run = new_run_id()
    spans: list[ReadableSpan] = [
        made(span_id=number + 1, RUN_ID=run, DBT_UNIQUE_ID=f"model.shop.m{number}", TABLE_NAME=f"t{number}")
        for number in range(COUNT)
    ]
    flatten(spans[:1])  # what is remembered from row to row is known by then
    gc.disable()  # what a collection finalises is nobody's row
    try:
        once = calls(lambda: flatten(spans[:1]))
        assert (calls(lambda: flatten(spans)) - once) / (COUNT - 1) <= most
    finally:
        gc.enable()
