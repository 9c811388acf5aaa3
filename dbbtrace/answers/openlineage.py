"""A lineage as OpenLineage events: what ran, what it read and what it wrote, for any backend that reads the standard.

Each operation is a run of a job of its own, below the orchestration run. Ids are made of what rows hold, so that the
same run gives the same events whenever it is asked. Needs the package openlineage-python, which also sends them.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from dbbtrace.answers.things import Lineage, Thing
from dbbtrace.errors import ConfigurationError, DbbtraceError, TransientError
from dbbtrace.model.identity import record_id, trace_id_of
from dbbtrace.sources.dbt.terms import relation_parts
from dbbtrace.version import __version__

if TYPE_CHECKING:
    from dbbtrace.warehouse import Warehouse

__all__ = ["JOBS", "as_json_lines", "events", "run_uuid", "send", "warehouse_namespace"]

JOBS = "dbbtrace"
"""Namespace of jobs, where nobody names another."""
MODELS = "powerbi"
"""Namespace of semantic models."""
_ENDS = {"Succeeded": "COMPLETE", "Warned": "COMPLETE", "Failed": "FAIL"}
_RUN_ENDS = {**_ENDS, "Incomplete": "COMPLETE", "Unfinished": "ABORT"}
_WORKLOADS = {"table_load": "integration", "dbt_node": "transformation", "model_refresh": "consumption"}


def warehouse_namespace(warehouse: Warehouse) -> str:
    """The namespace of the tables that dbt builds: the server's, ``mssql://server:1433``, where rows are on one."""
    scheme, separator, rest = warehouse.name.partition("://")
    if not separator or scheme != "mssql":
        return "warehouse"
    host, _, port = rest.partition("/")[0].partition(",")
    return f"mssql://{host}:{port or 1433}"


def run_uuid(run_id: str) -> str:
    """The run's id as a UUID: a GUID stays what it is, any other text gives its trace id."""
    return str(uuid.UUID(int=trace_id_of(run_id)))


def events(found: Lineage, *, namespace: str, jobs: str = JOBS) -> list[Any]:
    """The events of a run, by time: of openlineage-python's classes.

    Args:
        namespace: of the tables that dbt reads and builds: see ``warehouse_namespace``.
        jobs: namespace of the jobs.

    Raises:
        ConfigurationError: the package openlineage-python is missing.
    """
    try:
        from openlineage.client import event_v2
    except ImportError:
        raise ConfigurationError(
            'OpenLineage events need openlineage-python: pip install "dbbtrace[openlineage]"'
        ) from None
    made = _Events(found, namespace, jobs, event_v2)
    return sorted([*made.of_run(), *made.of_things()], key=lambda event: str(event.eventTime))


def as_json_lines(made: Iterable[Any]) -> str:
    """The events as JSON, one a line."""
    from openlineage.client.serde import Serde

    return "".join(f"{Serde.to_json(event)}\n" for event in made)


def send(made: Iterable[Any]) -> str:
    """Send the events wherever openlineage-python's own configuration says, and tell by which transport.

    Raises:
        ConfigurationError: nothing is configured, or the configuration makes no sense.
        TransientError: the other side did not take them.
    """
    from openlineage.client import OpenLineageClient

    try:
        client = OpenLineageClient()
    except Exception as error:
        raise ConfigurationError(f"OpenLineage's configuration can't be used: {error}") from error
    kind = str(client.transport.kind)
    if kind == "console" and not (client.config.transport or {}).get("type"):
        raise ConfigurationError(
            "OpenLineage is not told where to send: set OPENLINEAGE_URL, or write an openlineage.yml"
        )
    try:
        for event in made:
            client.emit(event)
        is_done = bool(client.close(_PATIENCE))
    except DbbtraceError:
        raise
    except Exception as error:
        raise TransientError(f"OpenLineage ({kind}) did not take the events: {error}") from error
    if not is_done:
        raise TransientError(f"OpenLineage ({kind}) did not take all events within {_PATIENCE:.0f} s")
    return kind


_PATIENCE = 60.0


class _Events:
    """Makes the events of one run."""

    def __init__(self, found: Lineage, namespace: str, jobs: str, classes: Any) -> None:
        self._found = found
        self._namespace = namespace
        self._jobs = jobs
        self._classes = classes
        self._producer = f"urn:dbbtrace:{__version__}"
        run = found.run
        self._place = ".".join(filter(None, (run.data_product or "by hand", run.environment)))
        self._began = run.started_at or run.ended_at or datetime.now(timezone.utc)
        self._ended = run.ended_at or self._began
        self._loaded: dict[str, str] = {}
        """Table → what the database calls it, where a dbt source of it says so."""
        for thing in found.things.values():
            if thing.kind == "source" and thing.relation and len(thing.reads) == 1:
                self._loaded.setdefault(thing.reads[0], _unquoted(thing.relation))

    # -- events ----------------------------------------------------------------------------------------------

    def of_run(self) -> Iterator[Any]:
        run = self._run(run_uuid(self._found.run.run_id), {})
        job = self._job(self._place, "JOB", "DBBTRACE")
        yield self._event("START", self._began, run, job)
        end = _RUN_ENDS.get(self._found.run.status)
        if end is not None:
            yield self._event(end, self._ended, run, job)

    def of_things(self) -> Iterator[Any]:
        for thing in self._found.things.values():
            if thing.operation is not None:
                yield from self._of_operation(thing)
            elif thing.kind in ("exposure", "semantic model"):
                yield self._standing(thing)

    def _of_operation(self, thing: Thing) -> Iterator[Any]:
        operation = thing.operation
        assert operation is not None
        if operation.status == "Skipped":
            return  # it never ran
        facets: dict[str, Any] = {"parent": self._parent()}
        itself = operation.record_id or record_id(operation.run_id, f"{operation.kind}\n{operation.operation_id}")
        job = self._job_of(thing)
        inputs, outputs = self._inputs(thing), [self._output(thing)] if thing.kind != "exposure" else []
        began = operation.started_at or self._began
        identity = str(uuid.UUID(hex=itself)) if len(itself) == 32 else run_uuid(itself)
        yield self._event("START", began, self._run(identity, facets), job, inputs, outputs)
        end = "ABORT" if operation.error_type == "Interrupted" else _ENDS.get(operation.status)
        if end is not None:
            if operation.error_message and end != "COMPLETE":
                facets = {**facets, "errorMessage": self._error(thing)}
            ended = max(operation.ended_at or began, began)
            yield self._event(end, ended, self._run(identity, facets), job, inputs, outputs)

    def _standing(self, thing: Thing) -> Any:
        """What reads models without a run of its own: a job, by itself."""
        outputs = [self._output(thing)] if thing.kind == "semantic model" else []
        return self._classes.JobEvent(
            eventTime=_time(self._ended),
            producer=self._producer,
            job=self._job_of(thing),
            inputs=self._inputs(thing),
            outputs=outputs,
        )

    def _event(self, kind: str, at: datetime, run: Any, job: Any, inputs: Any = (), outputs: Any = ()) -> Any:
        return self._classes.RunEvent(
            eventType=self._classes.RunState[kind],
            eventTime=_time(at),
            producer=self._producer,
            run=run,
            job=job,
            inputs=list(inputs),
            outputs=list(outputs),
        )

    # -- their parts -----------------------------------------------------------------------------------------

    def _run(self, identity: str, facets: Mapping[str, Any]) -> Any:
        return self._classes.Run(runId=identity, facets=dict(facets))

    def _job(self, name: str, kind: str, integration: str) -> Any:
        from openlineage.client.facet_v2 import job_type_job

        facet = job_type_job.JobTypeJobFacet(
            processingType="BATCH", integration=integration, jobType=kind, producer=self._producer
        )
        return self._classes.Job(namespace=self._jobs, name=name, facets={"jobType": facet})

    def _job_of(self, thing: Thing) -> Any:
        operation = thing.operation
        workload = _WORKLOADS.get(operation.kind, "consumption") if operation else "consumption"
        name = thing.id
        if thing.kind == "table" and operation is not None:
            name = ".".join(filter(None, (operation.source_name, operation.name)))
        elif thing.kind == "semantic model":
            name = thing.label
        kind = {"table": "LOAD", "semantic model": "REFRESH", "exposure": "EXPOSURE"}.get(thing.kind)
        integration = "DBT" if thing.kind in ("node", "exposure") else "DBBTRACE"
        is_node = thing.kind == "node"
        named = kind or ((operation and operation.resource_type) or "model").upper()
        return self._job(f"{self._place}.{'transformation' if is_node else workload}.{name}", named, integration)

    def _parent(self) -> Any:
        from openlineage.client.facet_v2 import parent_run

        return parent_run.ParentRunFacet(
            run=parent_run.Run(runId=run_uuid(self._found.run.run_id)),
            job=parent_run.Job(namespace=self._jobs, name=self._place),
            producer=self._producer,
        )

    def _error(self, thing: Thing) -> Any:
        from openlineage.client.facet_v2 import error_message_run

        assert thing.operation is not None
        language = "SQL" if thing.kind == "node" else "unknown"
        return error_message_run.ErrorMessageRunFacet(
            message=thing.operation.error_message or "", programmingLanguage=language, producer=self._producer
        )

    # -- data ------------------------------------------------------------------------------------------------

    def _inputs(self, thing: Thing) -> list[Any]:
        if thing.kind == "table":
            operation = thing.operation
            assert operation is not None
            return [self._classes.InputDataset(namespace=operation.source_name or "unknown", name=operation.name)]
        names = dict.fromkeys(self._names_above(thing))
        return [self._classes.InputDataset(namespace=space, name=name) for space, name in names]

    def _names_above(self, thing: Thing) -> Iterator[tuple[str, str]]:
        """The data that it reads; of what is no table and no view of its own what that reads."""
        waiting, seen = list(thing.reads), set(thing.reads)
        while waiting:
            above = self._found.things.get(waiting.pop(0))
            if above is None:
                continue
            if above.kind == "node" and above.relation is None and above.operation is None and above.reads:
                new = [name for name in above.reads if name not in seen]
                seen.update(new)
                waiting += new
            else:
                yield self._name_of(above)

    def _output(self, thing: Thing) -> Any:
        namespace, name = self._name_of(thing)
        facets: dict[str, Any] = {}
        operation = thing.operation
        if operation is not None and (operation.rows_written, operation.bytes_written) != (None, None):
            from openlineage.client.facet_v2 import output_statistics_output_dataset as statistics

            facets["outputStatistics"] = statistics.OutputStatisticsOutputDatasetFacet(
                rowCount=operation.rows_written, size=operation.bytes_written, producer=self._producer
            )
        return self._classes.OutputDataset(namespace=namespace, name=name, outputFacets=facets)

    def _name_of(self, thing: Thing) -> tuple[str, str]:
        """Namespace and name of the data."""
        if thing.kind == "semantic model":
            return MODELS, thing.id.removeprefix("semantic model ")
        if thing.kind == "table":
            return self._namespace, self._loaded.get(thing.id) or thing.id.removeprefix("table ").replace("/", ".")
        if thing.kind == "source" and thing.relation is None and len(thing.reads) == 1:
            return self._name_of(self._found.things[thing.reads[0]])
        return self._namespace, _unquoted(thing.relation) if thing.relation else thing.id


def _unquoted(relation: str) -> str:
    place, name = relation_parts(relation)
    return f"{place}.{name}" if place else name


def _time(at: datetime) -> str:
    return at.astimezone(timezone.utc).isoformat(timespec="microseconds").replace("+00:00", "Z")
