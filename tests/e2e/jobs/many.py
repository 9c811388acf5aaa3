"""A sender of very many spans: so many finished loads in each of so many runs.

Usage: many.py NUMBER RUNS LOADS.
"""

import sys
from uuid import UUID

from opentelemetry import trace

import dbbtrace


def main(number: int, runs: int, loads: int) -> None:
    """Record everything in one go."""
    for run in range(1, runs + 1):
        for load in range(loads):
            dbbtrace.record_load(
                f"Table{load:04}",
                schema="mdm",
                source="MDS",
                run_id=UUID(int=number << 64 | run),
                started_at=1_764_000_000 + load,
                ended_at=1_764_000_010 + load,
                rows_written=load,
                pipeline_run_id=UUID(int=number + 1),
            )


main(*map(int, sys.argv[1:]))
assert trace.get_tracer_provider().force_flush(200_000), "the Collector has not taken everything"
