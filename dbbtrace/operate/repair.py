"""``repair``: what makes a run right again. Runs nothing."""

from __future__ import annotations

import os
from collections.abc import Sequence

from dbbtrace.answers.repair import Repair
from dbbtrace.answers.repair import repair as ask
from dbbtrace.errors import UsageError
from dbbtrace.job.context import run_id_in_environment
from dbbtrace.model.identity import normalise_run_id
from dbbtrace.operate.gate import chosen, rules_of
from dbbtrace.operate.verdict import terms_of
from dbbtrace.tracing import runtime
from dbbtrace.warehouse import open_warehouse

__all__ = ["repair"]


def repair(
    run_id: object = None,
    *,
    manifest: str | os.PathLike[str] | None = None,
    select: str | Sequence[str] | None = None,
    exclude: str | Sequence[str] | None = None,
) -> Repair:
    """The least work that makes a run right: loads to repeat, what dbt is to build, models to refresh. Runs nothing.

    Args:
        run_id: the run; else DBBTRACE_ORCHESTRATION_RUN_ID.
        manifest: dbt's manifest.json; without, the rows of the run's nodes tell what they are made of.
        select, exclude: what the run is to build, as dbt's selection; needs the manifest.

    Raises:
        UsageError: no run is named, or the manifest or the selection makes no sense.
        DbtError: dbt could not say what is selected.
        ConfigurationError, TransientError: the warehouse can't be asked.
    """
    settings = runtime.current_settings()
    named = normalise_run_id(run_id) or run_id_in_environment()
    if not named:
        raise UsageError("which run? Name its run id, or set DBBTRACE_ORCHESTRATION_RUN_ID")
    selection = None
    if manifest is not None:
        from dbbtrace.sources.dbt.plan import plan_of

        selection = plan_of(["build", *chosen(select, exclude)], manifest).selection
    elif select is not None or exclude is not None:
        raise UsageError("select and exclude need a manifest: repair(manifest='target/manifest.json', select=...)")
    with open_warehouse(create=False) as warehouse:
        return ask(warehouse, named, selection, rules=rules_of(settings), terms=terms_of(settings))
