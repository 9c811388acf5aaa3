"""Where job events are: a file, a table that holds the stream of them, or Fabric's API."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dbbtrace.errors import UsageError
from dbbtrace.model.identity import normalise_run_id
from dbbtrace.model.text_files import decoded
from dbbtrace.sources.fabric.rules import matches, read_rules
from dbbtrace.sources.fabric.service import Json, Service
from dbbtrace.tracing import runtime

__all__ = ["jobs_in_file", "jobs_in_service", "jobs_in_table", "jobs_in_text"]

_TABLE = re.compile(r"\w+(\.\w+){0,2}")


def jobs_in_file(path: str | Path) -> Iterator[Json]:
    """Job events of a file: JSON lines, a JSON list, or an answer of the job-instances API.

    Raises:
        UsageError: the file can't be read, or is not JSON.
    """
    try:
        text = decoded(Path(path).read_bytes())
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} can't be read: {error}") from None
    return jobs_in_text(text, str(path))


def jobs_in_text(text: str, name: str) -> Iterator[Json]:
    """The same of a text.

    Raises:
        UsageError: it is not JSON.
    """
    try:
        documents = [json.loads(text)]
    except (ValueError, RecursionError):
        lines = enumerate(text.splitlines(), 1)
        documents = [_line(line, f"{name}, line {number}") for number, line in lines if line.strip()]
    for document in documents:
        entries = document.get("value", [document]) if isinstance(document, Mapping) else document
        yield from entries if isinstance(entries, list) else [entries]


def _line(line: str, place: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{place} is not JSON: {error}") from None


def jobs_in_table(table: str, url: str | None = None) -> Iterator[Json]:
    """Job events of a table, e.g. ``dbo.dbb_orchestration_run_data`` of the lakehouse's SQL endpoint.

    Args:
        table: its name; letters, digits, underscores and dots.
        url: where it is, as for the warehouse; default: the warehouse in force.

    Raises:
        DbbtraceError: the name makes no sense, or the table can't be read.
    """
    from dbbtrace.warehouse import open_warehouse

    if _TABLE.fullmatch(table) is None:
        raise UsageError(f"table = {table!r} is not the name of a table: write e.g. dbo.dbb_orchestration_run_data")
    with open_warehouse(url, create=False) as opened:
        result = opened.query(f"SELECT * FROM {table}")
    for row in result.rows:
        yield dict(zip(result.columns, row, strict=True))


def jobs_in_service(
    service: Service, workspace_id: object = None, *, rules: str | Path | None = None
) -> Iterator[Json]:
    """The newest job instances of a workspace's pipelines, of those that the rules know.

    Raises:
        DbbtraceError: no workspace is named, or it can't be read.
    """
    settings = runtime.current_settings()
    workspace = normalise_run_id(workspace_id) or settings.workspace_id
    if not workspace:
        raise UsageError("of which workspace are the jobs? Name it, or set DBBTRACE_WORKSPACE_ID")
    patterns = read_rules(rules or settings.fabric_rules).tables["pipelines"].values()
    known = tuple(name for names in patterns for name in names)
    for name, item in service.pipelines(workspace).items():
        if matches(name, known):
            for job in service.jobs(workspace, item):
                yield {**job, "itemName": name, "workspaceId": workspace}
