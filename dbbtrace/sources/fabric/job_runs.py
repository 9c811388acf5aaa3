"""Which run the job of an invoked pipeline is part of: the rows that name its id say so. Reads the warehouse."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from dbbtrace.diagnostics import log
from dbbtrace.errors import ConfigurationError, DbbtraceError, UsageError
from dbbtrace.tracing import runtime

if TYPE_CHECKING:
    from dbbtrace.warehouse import Warehouse

__all__ = ["PartOf", "runs_of"]

_MOST = 500
"""Ids that one question binds."""
_COLUMNS = {
    "monitoring_integration": "integration_pipeline_source_run_id",
    "monitoring_transformation_dbt": "transformation_pipeline_run_id",
    "monitoring_semantic_model_refresh": "data_product_refresh_pipeline_run_id",
    "monitoring_run_part": "pipeline_run_id",
    "kpi_reconciliation_history": "reconciliation_pipeline_run_id",
}
"""Table → the column with the id of the pipeline run that the row comes from."""


class PartOf(NamedTuple):
    """The run that a job is part of."""

    run_id: str
    data_product: str | None


def runs_of(job_ids: Iterable[str]) -> dict[str, PartOf]:
    """Job id → its run, as the warehouse in force has it; without one, or where it can't be asked, none.

    An id that the rows of two runs name belongs to neither.
    """
    wanted = sorted(set(job_ids))
    if not wanted or (runtime.current().settings.warehouse or "none").lower() == "none":
        return {}
    from dbbtrace.warehouse import open_warehouse

    found: dict[str, dict[str, str | None]] = {}
    try:
        with open_warehouse(create=False) as warehouse:
            for job, run, product in _named(warehouse, wanted):
                found.setdefault(job, {})[run] = product or found.get(job, {}).get(run)
    except (UsageError, ConfigurationError) as error:  # there is no table yet, or the delivery says what is wrong
        log.info("nothing says which runs the jobs of other pipelines are part of: %s", error)
    except DbbtraceError as error:
        log.warning("the warehouse can't be asked which runs the jobs of other pipelines are part of: %s", error)
    return {job: PartOf(*next(iter(runs.items()))) for job, runs in found.items() if len(runs) == 1}


def _named(warehouse: Warehouse, wanted: Sequence[str]) -> Iterator[tuple[str, str, str | None]]:
    """Job id, run and data product, as the rows of one table say."""
    from dbbtrace.warehouse import views

    tables = views.look(warehouse)
    for place in range(0, len(wanted), _MOST):
        ids = wanted[place : place + _MOST]
        for table, column in _COLUMNS.items():
            if table in tables:
                yield from views.ask(warehouse, _question(table, column, len(ids)), ids, tables=tables)


def _question(table: str, column: str, count: int) -> str:
    marks = ", ".join("?" * count)
    read = table if table.startswith("kpi_") else f"meta.{table}"
    return (
        f"SELECT t.{column}, t.orchestration_run_id, MAX(t.data_product) FROM {read} AS t"
        f" WHERE t.{column} IN ({marks}) AND t.orchestration_run_id NOT IN ('', 'unknown')"
        f" GROUP BY t.{column}, t.orchestration_run_id"
    )
