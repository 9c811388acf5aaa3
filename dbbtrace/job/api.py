"""What a job says it does: workloads, table loads, dbt nodes, model refreshes and steps, each a context manager.

Every name here reads aloud: ``with table_load("Customer", source="MDS") as load``. What the handles do is in
``operations``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from dbbtrace.job.operations import DbtNode, Operation, Step, TableLoad, Workload
from dbbtrace.job.operations import load_type as load_type_
from dbbtrace.job.refreshes import ModelRefresh
from dbbtrace.job.values import checked, checked_guid, checked_text, guid, required, text
from dbbtrace.model import attributes as key
from dbbtrace.model.identity import dbt_identity

__all__ = [
    "DbtNode",
    "ModelRefresh",
    "Operation",
    "Step",
    "TableLoad",
    "Workload",
    "consumption",
    "dbt_node",
    "integration",
    "load_names",
    "model_names",
    "model_refresh",
    "refresh_names",
    "step",
    "table_load",
    "transformation",
]


def integration(*, pipeline_id: object = None, pipeline_run_id: object = None, expect: object = None) -> Workload:
    """The integration workload: tables are loaded from source systems.

    Args:
        expect: tables that must be loaded, else the run is Incomplete: ``["mdm.Customer", ...]``, or the path of a
            file like ``integration_source_list.csv``.
        pipeline_id, pipeline_run_id: of the pipeline that ``integration_pipeline_<Data Product>`` invoked directly;
            reports join rows to job instances by them.
    """
    return Workload("integration", pipeline_id=pipeline_id, pipeline_run_id=pipeline_run_id, expect=expect)


def transformation(
    select: object = None, *, pipeline_id: object = None, pipeline_run_id: object = None, expect: object = None
) -> Workload:
    """The transformation workload: dbt.

    Args:
        select: dbt's selector, e.g. ``+tag:Group-FinancialStatements``; rows hold it as build_models.
        expect: dbt nodes that must be built, else the run is Incomplete: unique_ids or names.
        pipeline_id, pipeline_run_id: of the transformation pipeline.
    """
    return Workload(
        "transformation", pipeline_id=pipeline_id, pipeline_run_id=pipeline_run_id, select=select, expect=expect
    )


def consumption(*, pipeline_id: object = None, pipeline_run_id: object = None, expect: object = None) -> Workload:
    """The consumption workload: semantic models are refreshed.

    Args:
        expect: semantic models that must be refreshed, else the run is Incomplete: names or ids.
        pipeline_id, pipeline_run_id: of the data_product_refresh pipeline.
    """
    return Workload("consumption", pipeline_id=pipeline_id, pipeline_run_id=pipeline_run_id, expect=expect)


def table_load(
    table: str,
    *,
    schema: str | None = None,
    source: str | None = None,
    source_type: str | None = None,
    load_type: str | None = None,
    pipeline_id: object = None,
    pipeline_run_id: object = None,
    identity: str | None = None,
    verify: Callable[[], object] | None = None,
) -> TableLoad:
    """The load of one table: one row of ``meta.monitoring_integration``, whatever happens inside.

    Args:
        table, schema: the table that is loaded.
        source: the source system, e.g. ``MDS``.
        source_type: SQL, API or FILE.
        load_type: FULL or INCREMENTAL.
        pipeline_id, pipeline_run_id: instead of those of the enclosing ``integration(...)``.
        verify: asked when the load has ended well, for the number of rows that readers find in the table: 0 warns of an
            empty table. The count is in ``load.verified``; loading again is up to the job.
        identity: what another record of the same load would be known by, e.g. the activity run id.
    """
    names = load_names(table, schema=schema, source=source, source_type=source_type, load_type=load_type)
    if pipeline_id is not None:
        names[key.PIPELINE_ID] = checked_guid("pipeline_id", pipeline_id)
    if pipeline_run_id is not None:
        names[key.PIPELINE_RUN_ID] = checked_guid("pipeline_run_id", pipeline_run_id)
    if identity is not None:
        names[key.IDENTITY] = checked_text("identity", identity)
    load = TableLoad(f"load {names[key.CICD_TASK_NAME]}", names)
    if verify is not None:
        load._verify = verify
    return load


def load_names(
    table: object, *, schema: object, source: object, source_type: object, load_type: object
) -> dict[str, Any]:
    """Attributes that say which load it is; None where unknown."""
    name = required("table", text, table)
    schema_name = checked_text("schema", schema)
    return {
        key.TABLE_NAME: name,
        key.SCHEMA_NAME: schema_name,
        key.SOURCE_NAME: checked_text("source", source),
        key.SOURCE_TYPE: checked_text("source_type", source_type),
        key.LOAD_TYPE: checked("load_type", load_type_, load_type),
        key.CICD_TASK_NAME: f"{schema_name}.{name}" if schema_name else name,
        key.DB_COLLECTION_NAME: name,
        key.DB_NAMESPACE: schema_name,
    }


def dbt_node(
    unique_id: str,
    *,
    invocation_id: str | None = None,
    select: str | None = None,
    pipeline_id: object = None,
    pipeline_run_id: object = None,
) -> DbtNode:
    """One dbt node that the job runs itself: one row of ``meta.monitoring_transformation_dbt``.

    Args:
        unique_id: e.g. ``model.shop.customers``.
        invocation_id: dbt's; with it the node is the same fact as in dbt's own artifact.
        select: selector, instead of that of the enclosing ``transformation(...)``.
    """
    node = required("unique_id", text, unique_id)
    invocation = checked("invocation_id", guid, invocation_id)
    return DbtNode(
        node,
        {
            key.DBT_UNIQUE_ID: node,
            key.DBT_RESOURCE_TYPE: node.split(".", 1)[0] if "." in node else None,
            key.DBT_INVOCATION_ID: invocation,
            key.IDENTITY: dbt_identity(invocation, node) if invocation else None,
            key.DBT_SELECT: checked("select", text, select),
            key.CICD_TASK_NAME: node.rsplit(".", 1)[-1],
            key.PIPELINE_ID: checked_guid("pipeline_id", pipeline_id),
            key.PIPELINE_RUN_ID: checked_guid("pipeline_run_id", pipeline_run_id),
        },
    )


def model_refresh(
    model_id: str,
    *,
    name: str | None = None,
    workspace_id: str | None = None,
    request_id: str | None = None,
    refresh_type: str | None = None,
    reads: Sequence[str] = (),
    pipeline_id: object = None,
    pipeline_run_id: object = None,
) -> ModelRefresh:
    """The refresh of one semantic model: one row of ``meta.monitoring_semantic_model_refresh`` when it has ended.

    Args:
        model_id: GUID of the model (dataset).
        name: its name.
        workspace_id: the workspace the model lives in; never taken from the run.
        request_id: what the service answered to the refresh request, if it is known already.
        reads: names of dbt models that it reads, for `dbbtrace lineage` and `asof`. Its span links to theirs, where
            this process built or recorded them. Default: what a dbt exposure of the model's name depends on.
        pipeline_id, pipeline_run_id: instead of those of the enclosing ``consumption(...)``.
    """
    names = refresh_names(model_id, name, workspace_id, request_id, refresh_type)
    refresh = ModelRefresh(
        f"refresh {names[key.CICD_TASK_NAME]}",
        {
            **names,
            key.PIPELINE_ID: checked_guid("pipeline_id", pipeline_id),
            key.PIPELINE_RUN_ID: checked_guid("pipeline_run_id", pipeline_run_id),
        },
    )
    refresh._reads = checked("reads", model_names, reads) or ()
    return refresh


def model_names(value: object) -> tuple[str, ...]:
    """Names, from one or from several.

    Raises:
        ValueError: they are none.
    """
    if isinstance(value, (list, tuple, set, frozenset)):
        return tuple(map(text, value))
    return (text(value),)


def refresh_names(
    model_id: object, name: object, workspace_id: object, request_id: object, refresh_type: object
) -> dict[str, Any]:
    """Attributes that say which refresh it is; None where unknown."""
    model = required("model_id", guid, model_id)
    title = checked("name", text, name)
    return {
        key.MODEL_ID: model,
        key.MODEL_NAME: title,
        key.WORKSPACE_ID: checked("workspace_id", guid, workspace_id),
        key.REFRESH_REQUEST_ID: checked("request_id", text, request_id),
        key.REFRESH_TYPE: checked("refresh_type", text, refresh_type),
        key.CICD_TASK_NAME: title or model,
    }


def step(name: str, /, **attributes: Any) -> Step:
    """Any other work worth a span; ``attributes`` go on it as they are. Gives no row."""
    return Step(name, attributes)
