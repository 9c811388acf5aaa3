"""``run_dbt`` of 20,000 nodes, live, to rows in SQLite, compared with json.load and executemany in a naive script.

dbt itself is played: a real build of one model is recorded once, event by event, and each of the 20,000 nodes gets all
of its events again under a name of its own, then the artifact. Building that many models takes dbt hours. Both sides
count the CPU time of their whole process, without imports; making the events and the artifact is not counted. The
manifest has the one model only.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterable
from pathlib import Path
from time import process_time, thread_time
from types import SimpleNamespace
from typing import Any

from benchmarks.figures import Effort, Figure, alternate, at_most, compared, missing
from benchmarks.processes import fresh
from benchmarks.rows.dbt import write_naively
from benchmarks.rows.dbt_live import dbt_is_here, make_project
from benchmarks.samples import PRODUCT, RUN

__all__ = ["measure"]

_NAME = "m{:05d}"
_RECORDED = _NAME.format(99_999)
"""What the model is called in the recording: as long as all names, so that messages can be changed as bytes."""


def measure(effort: Effort) -> Iterable[Figure]:
    """The figure."""
    count = effort.size(20_000, 2_000)
    what, against = f"run_dbt live, {count:,} nodes: CPU time", "json.load + executemany of naive tuples"
    if not dbt_is_here():
        yield missing(what, against, at_most(2), "dbt-duckdb is not installed")
        return
    recording = effort.scratch / "recording.json"
    fresh(record, effort.scratch, str(recording))
    artifact = effort.scratch / "run_results.json"
    artifact.write_text(_artifact(json.loads(recording.read_text())["artifact"], count))
    times = alternate(
        lambda: fresh(replayed, effort.scratch, str(recording), count),
        lambda: fresh(naive, effort.scratch, str(artifact)),
        effort.size(5, 2),
    )
    yield compared(what, against, list(times), at_most(2), "s")


def record(file: str) -> bool:
    """Build one model with dbt, and keep its events and its artifact."""
    from dbt.cli.main import dbtRunner

    make_project(Path.cwd(), [_RECORDED])
    events: list[Any] = []
    done = dbtRunner(callbacks=[events.append]).invoke(
        ["--quiet", "build", "--threads", "1", "--profiles-dir", ".", "--no-partial-parse"]
    )
    assert done.success
    names = [event.info.name for event in events]
    first, last = names.index("NodeStart"), names.index("NodeFinished") + 1
    kept = [(type(each).__module__, type(each).__qualname__, each.SerializeToString().hex()) for each in events]
    recording = {
        "before": kept[:first],
        "node": kept[first:last],
        "after": kept[last:],
        "artifact": Path("target/run_results.json").read_text(),
    }
    Path(file).write_text(json.dumps(recording))
    return True


def _artifact(recorded: str, count: int) -> str:
    document = json.loads(recorded)
    one = json.dumps(document["results"][0])
    document["results"] = [json.loads(one.replace(_RECORDED, _NAME.format(number))) for number in range(count)]
    return json.dumps(document)


def naive(file: str) -> float:
    """Seconds of CPU time of the script."""
    return write_naively(file, process_time)


def replayed(file: str, count: int) -> float:
    """Seconds of CPU time in this process from dbt's start until every row is written, without the replay's own."""
    import dbbtrace_exporters.warehouse.exporter  # noqa: F401

    import dbbtrace
    from dbbtrace.sources.dbt import build, events, live, outcome, run  # noqa: F401

    replay = _Replay(json.loads(Path(file).read_text()), count)
    run._importable = lambda: replay.runner
    with dbbtrace.orchestration_run(RUN, data_product=PRODUCT, environment="PRD"):
        dbbtrace.flush(-1)
        began = process_time()
        ended = dbbtrace.run_dbt(["build"])
        assert dbbtrace.flush(-1)
        took = process_time() - began
    assert ended.invocation is not None
    assert ended.invocation.nodes == {"success": count}, ended.invocation
    return took - replay.seconds


class _Replay:
    """Plays dbt."""

    def __init__(self, recording: dict[str, Any], count: int) -> None:
        self.seconds = 0.0
        """CPU time that was spent on making events and the artifact."""
        self._count = count
        self._artifact = recording["artifact"]
        self._before, self._node, self._after = (
            [(_class(module, name), bytes.fromhex(raw)) for module, name, raw in recording[part]]
            for part in ("before", "node", "after")
        )

    def runner(self, callbacks: list[Any]) -> Any:
        """As dbtRunner."""
        [callback] = callbacks

        def invoke(args: list[str]) -> Any:
            for kind, raw in self._before:
                callback(kind.FromString(raw))
            for number in range(self._count):
                began = thread_time()
                name = _NAME.format(number).encode()
                made = [kind.FromString(raw.replace(_RECORDED.encode(), name)) for kind, raw in self._node]
                self.seconds += thread_time() - began
                for event in made:
                    callback(event)
            began = thread_time()
            Path("target").mkdir()
            Path("target/run_results.json").write_text(_artifact(self._artifact, self._count))
            self.seconds += thread_time() - began
            for kind, raw in self._after:
                callback(kind.FromString(raw))
            return SimpleNamespace(success=True, exception=None, result=None)

        return SimpleNamespace(invoke=invoke)


def _class(module: str, name: str) -> Any:
    return getattr(importlib.import_module(module), name)
