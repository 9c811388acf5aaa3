"""What the tests of runs share: jobs in processes of their own, and a run as Jaeger and as the warehouse show it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from dbbtrace.answers import Operation, operations
from dbbtrace.warehouse import open_warehouse
from tests.e2e.programs import Collector

JOBS = Path(__file__).parent / "jobs"


def job_environment(collector: Collector, protocol: str = "http/protobuf") -> dict[str, str]:
    """The environment of a job whose rows the receiver writes."""
    return {
        **os.environ,
        "DBBTRACE_WAREHOUSE": "none",
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.grpc if protocol == "grpc" else collector.http,
        "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
    }


class LoadingJob:
    """jobs/loads.py: one table after another, as it is told."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def load(self, *tables: str) -> None:
        """Load each, and return when that is done."""
        assert self._process.stdin
        assert self._process.stdout
        for table in tables:
            self._process.stdin.write(table + "\n")
            self._process.stdin.flush()
            assert self._process.stdout.readline() == table + "\n"


@contextmanager
def loading_job(run_id: str, collector: Collector, protocol: str = "http/protobuf") -> Iterator[LoadingJob]:
    """The job that opens the run; at the end of the block it ends, and has handed over everything."""
    process = subprocess.Popen(
        [sys.executable, JOBS / "loads.py", run_id],
        env=job_environment(collector, protocol),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield LoadingJob(process)
        assert process.stdin
        process.stdin.close()
        assert process.wait(180) == 0
    finally:
        process.kill()
        process.wait()


def building_job(run_id: str, collector: Collector, protocol: str = "http/protobuf") -> None:
    """jobs/build.py, from start to end."""
    subprocess.run(
        [sys.executable, JOBS / "build.py", run_id],
        env=job_environment(collector, protocol),
        check=True,
        timeout=180,
    )


def rows(warehouse: str, run_id: str) -> list[Operation]:
    """The run's operations as the warehouse has them; none while it does not exist."""
    opened = open_warehouse(warehouse, create=False)
    try:
        return operations(opened, [run_id])
    finally:
        opened.close()


def record_ids(warehouse: str) -> list[str]:
    """The record id of every row of the three tables."""
    opened = open_warehouse(warehouse, create=False)
    try:
        found: list[str] = []
        for table in ("integration", "transformation_dbt", "semantic_model_refresh"):
            found += [row[0] for row in opened.query(f"SELECT record_id FROM meta.monitoring_{table}").rows]
        return found
    finally:
        opened.close()


def tags(span: Mapping[str, Any]) -> dict[str, Any]:
    """The span's tags as a mapping."""
    return {tag["key"]: tag["value"] for tag in span["tags"]}


def parent(span: Mapping[str, Any]) -> str | None:
    """Id of the span's parent."""
    references = [reference["spanID"] for reference in span["references"] if reference["refType"] == "CHILD_OF"]
    return references[0] if references else None


def tree(spans: Mapping[str, Mapping[str, Any]]) -> str:
    """The trace as indented names, with what failed marked."""
    lines: list[str] = []

    def add(span: Mapping[str, Any], depth: int) -> None:
        mark = " !" if tags(span).get("error") is True else ""
        lines.append("  " * depth + span["operationName"] + mark)
        children = [other for other in spans.values() if parent(other) == span["spanID"]]
        for child in sorted(children, key=lambda other: other["startTime"]):
            add(child, depth + 1)

    for span in spans.values():
        if parent(span) not in spans:
            add(span, 0)
    return "\n".join(lines)


def period(operation: Operation) -> tuple[int, int]:
    """Start and duration of an operation as Jaeger has them, in microseconds."""
    assert operation.started_at
    assert operation.ended_at
    microsecond = timedelta(microseconds=1)
    start = round(operation.started_at.timestamp() * 1e6)
    return start, (operation.ended_at - operation.started_at) // microsecond
