"""A job of a run: loads the table that each line of its input names, and says so.

``!name`` fails, ``?name`` fails at the first attempt.

Usage: loads.py RUN_ID. Knows only the Collector, and that by the environment.
"""

import sys

from opentelemetry import trace

import dbbtrace

PIPELINE = "11111111-1111-4111-8111-111111111111"
PIPELINE_RUN = "22222222-2222-4222-8222-222222222222"
WORKSPACE = "33333333-3333-4333-8333-333333333333"


def load(line: str) -> None:
    """Load one table."""
    name = line.strip("!?")
    with dbbtrace.table_load(name, schema="mdm", source="MDS", source_type="SQL", load_type="FULL") as load:
        if line.startswith("!"):
            raise LookupError(f"no table {name} in the source")
        for attempt in load.attempts(2) if line.startswith("?") else ():
            with attempt:
                if attempt.number == 1:
                    raise TimeoutError("the source did not answer")
        load.rows_read = load.rows_written = len(name)
        load.data_written = 100


def main(run_id: str) -> None:
    """Open the run and load until the input ends."""
    with dbbtrace.orchestration_run(run_id, data_product="Shop", environment="TST", workspace_id=WORKSPACE):
        with dbbtrace.integration(pipeline_id=PIPELINE, pipeline_run_id=PIPELINE_RUN):
            for line in sys.stdin:
                try:
                    load(line.strip())
                except LookupError:
                    pass
                print(line, end="", flush=True)


main(sys.argv[1])
assert trace.get_tracer_provider().force_flush(120_000), "the Collector has not taken everything"
