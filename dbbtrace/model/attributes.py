"""Every attribute key that dbbtrace sets or reads, with type and unit.

A span gives rows when it carries OPERATION and RUN_ID and what that operation needs (docs/attributes.md);
any language may set them. Keys of the OpenTelemetry semantic conventions are used where one fits
(https://opentelemetry.io/docs/specs/semconv/), ``dbb.*`` for the rest.

Points in time are strings, ISO 8601 in UTC (``2026-11-24T16:45:00.123456Z``), or integers, nanoseconds since
the Unix epoch. Knows nothing of warehouses.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

# -- the run ------------------------------------------------------------------------------------------------
RUN_ID: Final = "dbb.orchestration.run_id"
"""Run id of the orchestration pipeline; string, GUIDs in lower case."""
MANUAL: Final = "dbb.orchestration.manual"
"""True when dbbtrace made the run id up (a run by hand); boolean. Rows then keep data_product NULL."""
DATA_PRODUCT: Final = "dbb.data_product"
"""Data product; string, e.g. ``Group-FinancialStatements``."""
ENVIRONMENT: Final = "deployment.environment.name"
"""TST, ACC, QUAL or PRD; string."""
WORKSPACE_ID: Final = "dbb.workspace.id"
"""Fabric workspace; string, a lower-case GUID. On a model refresh: the model's own workspace."""
WORKLOAD: Final = "dbb.workload"
"""``integration``, ``transformation`` or ``consumption``; string."""

# -- any operation ------------------------------------------------------------------------------------------
OPERATION: Final = "dbb.operation"
"""What the span is; string: ``table_load``, ``dbt_node``, ``model_refresh``, or one that gives no row."""
PIPELINE_ID: Final = "dbb.pipeline.id"
"""Fabric pipeline that the row names; string, a lower-case GUID."""
PIPELINE_RUN_ID: Final = "dbb.pipeline.run_id"
"""Run of that pipeline; string, a lower-case GUID."""
STATUS: Final = "dbb.status"
"""Outcome as the row spells it; string: ``Succeeded`` / ``Failed``, dbt's word, or the refresh service's word."""
IDENTITY: Final = "dbb.identity"
"""Identity of the fact inside its run (a dbt node in an invocation, an activity run, a refresh request); string.
Absent: the span's own id is used. Recorded twice under one identity, it is one row."""
STARTED_AT: Final = "dbb.started_at"
"""Start that the row shows where it differs from the span's: the attempt that succeeded, the service's own time."""
ENDED_AT: Final = "dbb.ended_at"
"""End that the row shows where it differs from the span's; a point in time."""
ERROR_TYPE: Final = "error.type"
"""Class of the error; string: an exception's qualified name, a service's error code, or ``Interrupted``."""
ERROR_MESSAGE: Final = "dbb.error.message"
"""Text of the error; string."""

AUDIENCE: Final = "dbb.audience"
"""Which destinations of the job the span is for, where not for all; string: ``rows`` (the warehouse only: others had
the span before) or ``spans`` (all but the warehouse: the rows come later). A receiver takes both."""

# -- table load ---------------------------------------------------------------------------------------------
TABLE_NAME: Final = "dbb.table.name"
"""Table that is loaded; string."""
SCHEMA_NAME: Final = "dbb.schema.name"
"""Schema of that table; string."""
SOURCE_NAME: Final = "dbb.source.name"
"""Source system; string, e.g. ``MDS``."""
SOURCE_TYPE: Final = "dbb.source.type"
"""SQL, API or FILE; string."""
LOAD_TYPE: Final = "dbb.load.type"
"""FULL or INCREMENTAL; string."""
ROWS_READ: Final = "dbb.rows.read"
"""Rows read from the source; count."""
ROWS_WRITTEN: Final = "dbb.rows.written"
"""Rows committed by the load; count."""
DATA_READ: Final = "dbb.data.read"
"""Bytes read from the source; count."""
DATA_WRITTEN: Final = "dbb.data.written"
"""Bytes written; count."""
THROUGHPUT: Final = "dbb.throughput"
"""KB/s as the source reports it; float. Absent: bytes over seconds."""
ATTEMPT: Final = "dbb.attempt"
"""Number of the attempt, from 1; count."""

# -- dbt ----------------------------------------------------------------------------------------------------
DBT_UNIQUE_ID: Final = "dbb.dbt.unique_id"
"""Full id of the node; string, e.g. ``model.shop.customers``."""
DBT_RESOURCE_TYPE: Final = "dbb.dbt.resource_type"
"""model, test, seed, snapshot, operation, ...; string."""
DBT_INVOCATION_ID: Final = "dbb.dbt.invocation_id"
"""Invocation that ran the node; string, a GUID."""
DBT_THREAD_ID: Final = "dbb.dbt.thread_id"
"""Worker thread; string, e.g. ``Thread-3 (worker)``."""
DBT_EXECUTION_TIME: Final = "dbb.dbt.execution_time"
"""Seconds that the node took; float."""
DBT_FAILURES: Final = "dbb.dbt.failures"
"""Failures that a test counted; count."""
DBT_COMPILED: Final = "dbb.dbt.compiled"
"""Whether the node was compiled; boolean."""
DBT_RELATION_NAME: Final = "dbb.dbt.relation_name"
"""Relation that the node builds; string, quoted as dbt quotes it."""
DBT_ADAPTER_MESSAGE: Final = "dbb.dbt.adapter_message"
"""``adapter_response._message``; string."""
DBT_ROWS_AFFECTED: Final = "dbb.dbt.rows_affected"
"""``adapter_response.rows_affected``; count, absent when unknown."""
DBT_MESSAGE: Final = "dbb.dbt.message"
"""dbt's message on the node; string, without ANSI codes."""
DBT_DEPENDS_ON: Final = "dbb.dbt.depends_on"
"""unique_ids that the node selects from; list of strings."""
DBT_MATERIALIZED: Final = "dbb.dbt.materialized"
"""How dbt stores the node: string, e.g. ``view``, ``table``, ``incremental``; absent where no manifest says it."""
DBT_GENERATED_AT: Final = "dbb.dbt.generated_at"
"""When the artifact was written; a point in time."""
DBT_VERSION: Final = "dbb.dbt.version"
"""Version of dbt, on the span of its invocation; string, e.g. ``1.11.2``."""
DBT_COMMAND: Final = "dbb.dbt.command"
"""Command of the invocation, on its span; string, e.g. ``build``."""
DBT_NODES: Final = "dbb.dbt.nodes"
"""How many nodes the invocation gave rows for, on its span; count, absent for a command that builds nothing."""
DBT_BATCH: Final = "dbb.dbt.batch"
"""What a batch of a microbatch model covers, on the span of the batch; string as dbt writes it."""
DBT_MAX_LOADED_AT: Final = "dbb.dbt.max_loaded_at"
"""When a source was last loaded, as ``dbt source freshness`` found it; a point in time."""
DBT_AGE: Final = "dbb.dbt.age"
"""How old the newest row of a source was then; seconds."""
DBT_SELECT: Final = "dbb.dbt.select"
"""Selector of the build (build_models); string, e.g. ``+tag:Group-FinancialStatements``."""
DBT_COMPILE_STARTED_AT: Final = "dbb.dbt.compile.started_at"
"""Start of the compile stage; a point in time, absent when dbt did not time it: then it gives no row."""
DBT_COMPILE_COMPLETED_AT: Final = "dbb.dbt.compile.completed_at"
"""End of the compile stage; a point in time."""
DBT_EXECUTE_STARTED_AT: Final = "dbb.dbt.execute.started_at"
"""Start of the execute stage; a point in time, absent when dbt did not time it: the row's times are NULL."""
DBT_EXECUTE_COMPLETED_AT: Final = "dbb.dbt.execute.completed_at"
"""End of the execute stage; a point in time."""

# -- model refresh ------------------------------------------------------------------------------------------
MODEL_ID: Final = "dbb.semantic_model.id"
"""Semantic model; string, a lower-case GUID."""
MODEL_NAME: Final = "dbb.semantic_model.name"
"""Its name; string."""
MODEL_READS: Final = "dbb.semantic_model.reads"
"""dbt models that it reads, by name or unique_id; list of strings."""
REFRESH_REQUEST_ID: Final = "dbb.refresh.request_id"
"""Request id that the service gave; string. It is the refresh's identity."""
REFRESH_TYPE: Final = "dbb.refresh.type"
"""Full, Automatic, DataOnly, ...; string."""

# -- the run's own record -----------------------------------------------------------------------------------
PART_LOADS: Final = "dbb.part.loads"
"""On a job: table loads that it recorded itself, each of which must have a row; count."""
PART_NODES: Final = "dbb.part.nodes"
"""On a job or a dbt invocation: dbt nodes that must have a row; count."""
PART_REFRESHES: Final = "dbb.part.refreshes"
"""On a job: model refreshes that it recorded itself and that have ended; count."""
PART_DROPPED: Final = "dbb.part.dropped"
"""On a job: steps and attempts beyond the first 1,000, which gave no row; count."""
PART_ROW: Final = "dbb.part.row"
"""On a step or an attempt: whether it gives a row of monitoring_run_part; boolean. Absent: it does if it failed or
carries attributes of its own."""
PART_DETAIL: Final = "dbb.part.detail"
"""What else the row holds, as a JSON object; string. Absent: the attributes that are not dbbtrace's."""
EXPECTED_BY: Final = "dbb.expected.by"
"""Who says that an operation belongs into the run, or who found what a finding says; string."""
COUNTED_AS: Final = "dbb.counted.as"
"""On a finding of a job that counted a table's rows: the table's name where readers read it; string."""
COUNTED_ROWS: Final = "dbb.counted.rows"
"""How many rows readers found there; count."""
LOADED_AT: Final = "dbb.loaded.at"
"""When the newest load of the counted table started; a point in time."""
REPAIRS: Final = "dbb.repairs"
"""Run id of the run that this one makes right; string."""
JOB_INVOKE_TYPE: Final = "dbb.job.invoke_type"
"""How the job was started: Scheduled, Manual, ...; string."""
JOB_SCHEDULED_AT: Final = "dbb.job.scheduled_at"
"""When it was scheduled to start; a point in time."""

# -- standard keys set beside ours --------------------------------------------------------------------------
CICD_PIPELINE_NAME: Final = "cicd.pipeline.name"
"""Orchestration pipeline; string, ``orchestration_pipeline_<Data Product>``."""
CICD_PIPELINE_RUN_ID: Final = "cicd.pipeline.run.id"
"""The run id again; string."""
CICD_PIPELINE_RESULT: Final = "cicd.pipeline.result"
"""How the run ended, on its root: as ``cicd.pipeline.task.run.result``; string."""
CICD_TASK_NAME: Final = "cicd.pipeline.task.name"
"""The operation's name for people: table, node or model; string."""
CICD_TASK_RUN_RESULT: Final = "cicd.pipeline.task.run.result"
"""success, failure, error, timeout, cancellation or skip; string."""
DB_NAMESPACE: Final = "db.namespace"
"""Schema of the table that is loaded; string."""
DB_COLLECTION_NAME: Final = "db.collection.name"
"""Table that is loaded; string."""

# -- values of OPERATION ------------------------------------------------------------------------------------
OPERATION_RUN: Final = "orchestration_run"
OPERATION_WORKLOAD: Final = "workload"
OPERATION_LOAD: Final = "table_load"
OPERATION_ATTEMPT: Final = "load_attempt"
OPERATION_COPY_STAGE: Final = "copy_stage"
OPERATION_DBT_INVOCATION: Final = "dbt_invocation"
OPERATION_DBT_NODE: Final = "dbt_node"
OPERATION_DBT_STAGE: Final = "dbt_stage"
OPERATION_REFRESH: Final = "model_refresh"
OPERATION_STEP: Final = "step"
OPERATION_JOB: Final = "job"
OPERATION_EXPECTED: Final = "expected"
OPERATION_FINDING: Final = "finding"
OPERATION_LINK: Final = "link"
OPERATION_ACK: Final = "ack"

ROW_OPERATIONS: Final = frozenset({OPERATION_LOAD, OPERATION_DBT_NODE, OPERATION_REFRESH})
"""The operations that give rows of the platform's three tables; the run's other parts: see ``parts``."""

STARTED: Final = "Started"
"""STATUS of a span that only says that a part of the run has started; it has the part's own span id."""

FOR_ROWS: Final = "rows"
FOR_SPANS: Final = "spans"
"""Values of AUDIENCE."""

INTERRUPTED: Final = "Interrupted"
"""error.type of an operation whose process died while it ran."""


def plain(attributes: Mapping[str, Any] | None) -> dict[str, Any]:
    """A span's attributes as a dictionary, which is not to be changed. Those that the SDK has wrapped are not copied:
    a look through its wrapper takes five calls."""
    held = getattr(attributes, "_dict", attributes)
    return held if type(held) is dict else dict(held or {})
