"""Finds the run that a text means."""

from __future__ import annotations

import re

from dbbtrace.answers.read import run_keys
from dbbtrace.errors import UsageError
from dbbtrace.model.identity import normalise_run_id, trace_id_of
from dbbtrace.warehouse import Warehouse

__all__ = ["find_run"]

_GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def find_run(warehouse: Warehouse, text: str) -> str:
    """The run id that the text means: a run id, a trace id, the first characters of either, or ``last``.

    Raises:
        UsageError: it matches no run, or several.
    """
    wanted = normalise_run_id(text)
    if _GUID.fullmatch(wanted) and run_keys(warehouse, among=[wanted]):
        return wanted  # no need to look at all runs
    ids = [key.run_id for key in run_keys(warehouse)]
    if wanted.lower() == "last":
        if not ids:
            raise UsageError(f"there are no runs in {warehouse.name}")
        return ids[0]
    if wanted in ids:
        return wanted
    prefix = wanted.lower()
    fitting = [
        run_id
        for run_id in ids
        if prefix and (run_id.lower().startswith(prefix) or f"{trace_id_of(run_id):032x}".startswith(prefix))
    ]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise UsageError(
            f"{text!r} matches {len(fitting)} runs, e.g. {fitting[0]} and {fitting[1]}; write more characters"
        )
    raise UsageError(f"no run {text!r} in {warehouse.name}; `dbbtrace runs` lists the runs")
