"""import_run of a pipeline run with 5,000 activities, to rows in SQLite, compared with json.loads of the responses.

The run is the demo's, with 1,250 iterations of its ForEach. A local HTTP server in another process answers, 1,000
activities a page. Both sides count the CPU time of their own process. Before that, one pipeline of the run is imported
into another run, so that modules, connections and tables are there.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable
from time import process_time
from typing import Any

from benchmarks.figures import Effort, Figure, alternate, at_most, compared
from benchmarks.processes import fresh

__all__ = ["imported", "measure"]

_ITERATIONS = 1_250
_PIPELINE_RUN = "30000000-7d3f-4b6a-9f10-2a6d5b1c8e47"
_SMALL_RUN = "40000000-7d3f-4b6a-9f10-2a6d5b1c8e47"
_SMALL_PIPELINE = "44444444-3c5d-4e6f-8a7b-1c2d3e4f5a6b"
_SERVER = """
import json, sys
from benchmarks.rows.fabric import documents
from dbbtrace.demo.fabric_service import FabricService
with FabricService(documents()) as service:
    print(service.url, flush=True)
    sys.stdin.read()
"""


def measure(effort: Effort) -> Iterable[Figure]:
    """The figures."""
    times = alternate(lambda: fresh(imported, effort.scratch), lambda: fresh(parsed, effort.scratch), effort.size(9, 3))
    what, against = "import_run, 5,000 activities, to rows in SQLite: CPU time", "json.loads of its responses"
    yield compared(what, against, list(times), at_most(10), "s")


def documents() -> list[Any]:
    """The demo's responses, with many iterations in one pipeline."""
    from dbbtrace.demo.fabric_service import load_responses

    found = load_responses()
    [document] = [each for each in found if "value" in each and each["value"][0].get("pipelineRunId") == _PIPELINE_RUN]
    listed = document["value"]
    once = [each for each in listed if not each["iterationHash"]]
    iteration = [json.dumps(each) for each in listed if each["iterationHash"] == f"{4:032x}"]
    tables = [f"Table{number}" for number in range(_ITERATIONS)]
    many = []
    for number, table in enumerate(tables):
        for place, text in enumerate(iteration):
            activity = json.loads(text.replace("Calendar", table))
            activity["iterationHash"] = f"{number:032x}"
            activity["activityRunId"] = f"{number:08x}-{place:04x}-4000-8000-000000000000"
            many.append(activity)
    for each in once:
        if each["activityType"] == "Filter":
            each["output"]["Value"] = [{"table_name": table, "schema_name": "mdm"} for table in tables]
    document["value"] = once + many
    [job] = [each for each in found if "jobType" in each]
    of_small = {"id": _SMALL_RUN, "itemId": _SMALL_PIPELINE, "status": "Completed", "failureReason": None}
    return [*found, {**job, **of_small}]


def imported() -> float:
    """Seconds of CPU time until every row is written."""
    import dbbtrace
    from dbbtrace.demo.fabric_service import RUN, WORKSPACE

    server = subprocess.Popen([sys.executable, "-c", _SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        url = server.stdout.readline().strip()
        dbbtrace.configure(warehouse="sqlite:///w.db", fabric_url=url, fabric_token="t")
        dbbtrace.import_run(_SMALL_RUN, workspace_id=WORKSPACE)
        assert dbbtrace.flush(-1)
        began = process_time()
        done = dbbtrace.import_run(RUN, workspace_id=WORKSPACE)
        assert dbbtrace.flush(-1)
        took = process_time() - began
    finally:
        server.communicate("")
    assert done.loads == _ITERATIONS + 2, done
    return took


def parsed() -> float:
    """Seconds of CPU time to parse the responses."""
    texts = [json.dumps(document) for document in documents()]
    began = process_time()
    for text in texts:
        json.loads(text)
    return process_time() - began
