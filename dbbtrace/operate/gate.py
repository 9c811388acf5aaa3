"""``gate``: may it be built? For jobs and notebooks, and for ``dbbtrace dbt --gate``, which leaves out what may not.

Waits for rows that were told of and are not in the warehouse yet, this process's own first.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TypeVar

from dbbtrace.answers.gate import Gate
from dbbtrace.answers.gate import gate as judge
from dbbtrace.answers.ready import Ready
from dbbtrace.answers.ready import ready as judge_ready
from dbbtrace.diagnostics import log
from dbbtrace.errors import GateClosed, UsageError
from dbbtrace.graph import Rules, Selection
from dbbtrace.job.context import run_id_in_environment
from dbbtrace.job.scope import current_scope
from dbbtrace.model.identity import normalise_run_id
from dbbtrace.operate.verdict import terms_of
from dbbtrace.settings import Settings
from dbbtrace.tracing import runtime
from dbbtrace.warehouse import Warehouse, open_warehouse

__all__ = ["Gated", "chosen", "gate", "gated", "look", "look_ready", "ready", "rules_of", "waited"]

Answer = TypeVar("Answer", Gate, Ready)

_LOOK_AGAIN = 5.0
"""Seconds between two looks at a run of which more may come."""
_WAIT = timedelta(minutes=2)
"""How long a build waits for rows that were told of."""


def gate(
    run_id: object = None,
    *,
    manifest: str | os.PathLike[str] | None = None,
    select: str | Sequence[str] | None = None,
    exclude: str | Sequence[str] | None = None,
    strict: bool = False,
    wait: float = 120.0,
) -> Gate:
    """Make sure that what is to be read has arrived in the run; returns what may be built where only a part has.

    Args:
        run_id: the run; else the one that is open here, else DBBTRACE_ORCHESTRATION_RUN_ID.
        manifest: dbt's manifest.json: then only the tables count of which the selected nodes are made.
        select, exclude: dbt's selection, which dbt is asked about; default: the whole project.
        strict: a table that nobody monitors closes the gate, too.
        wait: seconds to wait for rows that were told of and have not arrived.

    Raises:
        GateClosed: something did not arrive, or nobody can tell yet.
        UsageError: no run is named, or the manifest or the selection makes no sense.
        DbtError: dbt could not say what is selected.
        ConfigurationError, TransientError: the warehouse can't be asked.
    """
    selection = None
    if manifest is not None:
        from dbbtrace.sources.dbt.plan import plan_of

        selection = plan_of(["build", *chosen(select, exclude)], manifest).selection
    elif select is not None or exclude is not None:
        raise UsageError("select and exclude need a manifest: gate(manifest='target/manifest.json', select=...)")
    found = _asked(run_id, partial(look, selection=selection, strict=strict), timedelta(seconds=wait))
    if found.exit_code != 0:
        raise GateClosed(_message(found), exit_code=found.exit_code)
    return found


def ready(run_id: object = None, *, wait: float = 120.0) -> Ready:
    """Make sure that the semantic models of the run may be refreshed.

    Args:
        run_id: the run; else the one that is open here, else DBBTRACE_ORCHESTRATION_RUN_ID.
        wait: seconds to wait for what has not ended and for rows that have not arrived.

    Raises:
        GateClosed: something failed, was not built, never came or differs, or nobody can tell yet.
        UsageError: no run is named.
        ConfigurationError, TransientError: the warehouse can't be asked.
    """
    found = _asked(run_id, look_ready, timedelta(seconds=wait))
    if found.exit_code != 0:
        reasons = "; ".join(found.reasons())
        raise GateClosed(f"run {found.run_id} is {found.word}: {reasons}", exit_code=found.exit_code)
    return found


def chosen(select: str | Sequence[str] | None, exclude: str | Sequence[str] | None) -> list[str]:
    """The selection as dbt's arguments."""
    found: list[str] = []
    for option, value in (("--select", select), ("--exclude", exclude)):
        values = [value] if isinstance(value, str) else list(value or ())
        found += [option, *values] if values else []
    return found


def _message(found: Gate) -> str:
    return f"the gate of run {found.run_id} is {found.word}: {'; '.join(found.reasons())}"


@dataclass(frozen=True)
class Gated:
    """A command of dbt's, without what may not be built."""

    args: list[str]
    left_out: Mapping[str, str]
    """Node → why it is left out."""
    nothing_left: bool
    """Whether nothing of the selection may be built."""


def gated(
    args: Sequence[str],
    executable: str | os.PathLike[str] | None = None,
    run_id: object = None,
    *,
    strict: bool = False,
    wait: timedelta | None = None,
) -> Gated:
    """What dbt may be given of this command.

    Raises:
        GateClosed: nothing was loaded in the run, nobody knows it, or nobody can tell yet.
        UsageError, DbtError, ConfigurationError, TransientError: see ``gate``.
    """
    from dbbtrace.sources.dbt.plan import plan_of

    plan = plan_of(args, executable=executable)
    found = _asked(run_id, partial(look, selection=plan.selection, strict=strict), wait if wait is not None else _WAIT)
    if found.exit_code > 1 or found.problems:
        raise GateClosed(_message(found), exit_code=found.exit_code)
    left_out = {node: found.why(node) for node in found.left_out}
    if left_out:
        reasons = "; ".join(found.reasons())
        log.warning("the gate leaves out %s of %s nodes: %s", len(left_out), len(plan.selection.nodes), reasons)
    args = plan.without(found.closed_sources, found.unaffected)
    return Gated(args, left_out, nothing_left=bool(left_out) and not found.unaffected)


def _asked(run_id: object, ask: Callable[[Warehouse, str, Settings], Answer], wait: timedelta) -> Answer:
    """What is answered for the run that is meant, once what this process recorded is in the warehouse."""
    scope = current_scope()
    named = normalise_run_id(run_id) or (scope.run_id if scope is not None else "") or run_id_in_environment()
    if not named:
        raise UsageError("which run? Name its run id, or set DBBTRACE_ORCHESTRATION_RUN_ID")
    settings, until = runtime.current_settings(), time.monotonic() + wait.total_seconds()
    current = runtime.installed()
    if current is not None:
        current.flush(max(wait.total_seconds(), settings.rows_timeout))
    with open_warehouse(create=False) as warehouse:
        return waited(lambda: ask(warehouse, named, settings), until)


def look(
    warehouse: Warehouse, run_id: str, settings: Settings, selection: Selection | None = None, *, strict: bool = False
) -> Gate:
    """The gate of the run as it is now, with what this machine's journal knows."""
    return judge(
        warehouse,
        run_id,
        selection,
        strict=strict,
        rules=rules_of(settings),
        terms=terms_of(settings),
    )


def look_ready(warehouse: Warehouse, run_id: str, settings: Settings) -> Ready:
    """Whether the models of the run may be refreshed, as it is now."""
    return judge_ready(warehouse, run_id, rules=rules_of(settings), terms=terms_of(settings))


def waited(ask: Callable[[], Answer], until: float) -> Answer:
    """The answer once nothing more may come, or at the latest then.

    Args:
        until: of the monotonic clock.
    """
    while (found := ask()).exit_code == 3 and (left := until - time.monotonic()) > 0:
        time.sleep(min(_LOOK_AGAIN, left))
    return found


def rules_of(settings: Settings) -> Rules:
    """Which loaded table a source of dbt's reads, as the settings say."""
    return Rules(settings.table_pattern, settings.dbt_sources)
