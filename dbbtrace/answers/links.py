"""Where to look at a run: Fabric's monitoring page of its pipeline, where the ids are known."""

from __future__ import annotations

import re
from collections.abc import Collection

from dbbtrace.warehouse import Warehouse, views

__all__ = ["fabric_pages"]

_PAGE = "https://app.powerbi.com/workloads/data-pipeline/monitoring/workspaces/{}/pipelines/{}/{}"
_GUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def fabric_pages(warehouse: Warehouse, runs: Collection[str]) -> dict[str, str]:
    """Run id → the page of its pipeline's run: the orchestration's own if it is known, else one that it called."""
    if not runs:
        return {}
    found: dict[str, tuple[int, str]] = {}
    for run_id, place, *ids in views.ask(warehouse, _IDS, runs=runs):
        names = [str(each or "").lower() for each in ids]
        if not all(map(_GUID.fullmatch, names)):
            continue
        better = (0 if names[2] == run_id else int(place), _PAGE.format(*names))
        found[run_id] = min(found.get(run_id, better), better)
    return {run_id: page for run_id, (_, page) in found.items()}


_IDS = """\
SELECT p.orchestration_run_id, 1, p.workspace_id, p.pipeline_id, p.pipeline_run_id
FROM meta.monitoring_run_part AS p
WHERE p.pipeline_run_id <> ''
GROUP BY p.orchestration_run_id, p.workspace_id, p.pipeline_id, p.pipeline_run_id
UNION ALL
SELECT
    l.orchestration_run_id, MIN(CASE WHEN LOWER(l.status) = 'failed' THEN 2 ELSE 5 END), l.workspace,
    l.integration_pipeline_id, l.integration_pipeline_source_run_id
FROM meta.monitoring_integration AS l
WHERE l.integration_pipeline_source_run_id <> ''
GROUP BY l.orchestration_run_id, l.workspace, l.integration_pipeline_id, l.integration_pipeline_source_run_id
UNION ALL
SELECT
    d.orchestration_run_id, MIN(CASE WHEN LOWER(d.status) IN ('error', 'fail') THEN 3 ELSE 6 END), d.workspace_id,
    d.transformation_pipeline_id, d.transformation_pipeline_run_id
FROM meta.monitoring_transformation_dbt AS d
WHERE d.transformation_pipeline_run_id <> ''
GROUP BY d.orchestration_run_id, d.workspace_id, d.transformation_pipeline_id, d.transformation_pipeline_run_id
"""
