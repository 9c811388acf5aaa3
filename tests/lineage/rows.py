"""Stories of runs as rows of the three tables, told in a few words: what was loaded, built and refreshed, and when."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from dbbtrace.model.identity import record_id
from dbbtrace.warehouse import Warehouse
from dbbtrace.warehouse.schema import DBT_NODES, LOADS, REFRESHES
from tests.answers.history import Row, store, text

START = datetime(2026, 11, 24, 2, 0)
FINANCE = "7c9e6679-7425-40de-944b-e07fc1f90ae7"


def at(hours: float) -> datetime:
    """So many hours after the story's start, as answers say it."""
    return (START + timedelta(hours=hours)).replace(tzinfo=timezone.utc)


class Story:
    """Rows of several runs. Times are hours after the start."""

    def __init__(self) -> None:
        self.rows: dict[str, list[Row]] = {LOADS.name: [], DBT_NODES.name: [], REFRESHES.name: []}
        self._number = 0

    def _common(self, run: str, environment: str | None, product: str | None) -> Row:
        self._number += 1
        return {
            "record_id": record_id(run, str(self._number)),
            "orchestration_run_id": run,
            "data_product": product,
            "environment": environment,
        }

    def load(
        self,
        run: str,
        table: str,
        hours: float,
        *,
        status: str = "Succeeded",
        minutes: float = 6,
        source: str = "MDS",
        schema: str = "mdm",
        environment: str | None = "PRD",
        product: str | None = "Finance",
    ) -> None:
        begun = START + timedelta(hours=hours)
        failed = status != "Succeeded"
        self.rows[LOADS.name].append(
            {
                **self._common(run, environment, product),
                "table_name": table,
                "schema_name": schema,
                "source_name": source,
                "load_type": "FULL",
                "status": status,
                "timestamp": text(begun, 0),
                "duration": int(minutes * 60),
                "rows_written": None if failed else 100,
                "data_written": None if failed else 4096,
                "error_type": "OperationalError" if failed else None,
                "error_message": f"{table}: no answer" if failed else None,
                "process_started_at": text(begun),
                "process_completed_at": text(begun + timedelta(minutes=minutes)),
            }
        )

    def node(
        self,
        run: str,
        unique_id: str,
        hours: float | None,
        reads: Sequence[str] | None = (),
        *,
        status: str = "success",
        materialized: str | None = "table",
        minutes: float = 3,
        environment: str | None = "PRD",
        product: str | None = "Finance",
        message: str | None = None,
    ) -> None:
        begun = START + timedelta(hours=hours) if hours is not None else None
        kind, *_, name = unique_id.split(".")
        self.rows[DBT_NODES.name].append(
            {
                **self._common(run, environment or "UNKNOWN", product),
                "item_name": name,
                "invocation_id": f"invocation of {run}",
                "status": status,
                "process_stage": "execute",
                "process_started_at": text(begun),
                "process_completed_at": text(begun + timedelta(minutes=minutes)) if begun else None,
                "generated_at": text(START + timedelta(hours=hours or 0, minutes=30)),
                "build_models": "+tag:Finance",
                "relation_name": None if kind in ("test", "exposure") else f'"dbb"."marts"."{name}"',
                "unique_id": unique_id,
                "resource_type": kind,
                "materialized": materialized,
                "message": message,
                "error_message": message if status == "error" else None,
                "error_type": "dbt.error" if status == "error" else None,
                "depends_on": json.dumps(list(reads)) if reads else None,
            }
        )

    def refresh(
        self,
        run: str,
        hours: float,
        *,
        status: str = "Completed",
        name: str | None = "Finance",
        model: str = FINANCE,
        reads: Sequence[str] | None = None,
        minutes: float = 12,
        environment: str | None = "PRD",
        product: str | None = "Finance",
    ) -> None:
        begun = START + timedelta(hours=hours)
        self.rows[REFRESHES.name].append(
            {
                **self._common(run, environment, product),
                "workspace_id": "0d5e0f0a-0000-4000-8000-000000000001",
                "semantic_model_id": model,
                "semantic_model_name": name,
                "status": status,
                "process_started_at": text(begun, 3),
                "process_completed_at": text(begun + timedelta(minutes=minutes), 3),
                "duration": int(minutes * 60),
                "depends_on": json.dumps(list(reads)) if reads else None,
            }
        )

    def stored(self, path: Path, **options: Any) -> Warehouse:
        """The rows in a file, opened as a warehouse."""
        return store(self.rows, path, **options)
