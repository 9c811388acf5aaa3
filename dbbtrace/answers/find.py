"""Finds the run that a text means."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timezone
from functools import partial

from dbbtrace.answers.moments import day_of, zone_named
from dbbtrace.answers.read import ids_starting, run_keys
from dbbtrace.answers.rows import RunKey
from dbbtrace.answers.suggest import suggestion
from dbbtrace.errors import UsageError
from dbbtrace.model.identity import normalise_run_id, trace_id_of
from dbbtrace.warehouse import Warehouse

__all__ = ["WORDS", "find_run"]

WORDS = ("last", "previous", "yesterday", "today")
"""What means a run without naming it."""
_GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def find_run(
    warehouse: Warehouse,
    text: str,
    *,
    data_product: str | None = None,
    environment: str | None = None,
    zone: str = "UTC",
    now: datetime | None = None,
) -> str:
    """The run id that the text means: a run id, a trace id, the first characters of either, or a word.

    Args:
        warehouse: where to look.
        text: ``last`` is the newest run, ``previous`` the one before it, ``yesterday`` and ``today`` the newest that
            started on that day.
        data_product, environment: look only among runs of these.
        zone: time zone of the days.
        now: the present, for tests.

    Raises:
        UsageError: it matches no run, or several.
    """
    wanted = normalise_run_id(text)
    where = f"{_whose(data_product, environment)}in {warehouse.name}"
    if wanted.lower() in WORDS:
        chosen = partial(run_keys, warehouse, data_product=data_product, environment=environment)
        return _by_word(chosen, wanted.lower(), where, zone, now or datetime.now(timezone.utc))
    named = run_keys(warehouse, among=[wanted]) if wanted else []
    if named and _fits(named[0], data_product, environment):
        return wanted  # no need to look at all runs
    begun = ids_starting(warehouse, wanted)
    if len(begun) == 1 and _fits(run_keys(warehouse, among=begun)[0], data_product, environment):
        return begun[0]
    keys = run_keys(warehouse, data_product=data_product, environment=environment)
    ids = [key.run_id for key in keys]
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
    hint = suggestion(prefix, [*WORDS, *ids])
    hint = hint if hint.startswith("; did you mean") else ""
    raise UsageError(f"no run {text!r} {where}{hint or '; `dbbtrace runs` lists the runs'}")


def _by_word(chosen: Callable[..., list[RunKey]], word: str, where: str, zone: str, now: datetime) -> str:
    day = day_of(word, zone_named(zone), now)
    if day is not None:
        keys = chosen(since=day[0], until=day[1], limit=1)
        if keys:
            return keys[0].run_id
    else:
        keys = chosen(limit=2)
        if not keys:
            raise UsageError(f"there are no runs {where}")
        if word == "last":
            return keys[0].run_id
        if len(keys) > 1:
            return keys[1].run_id
        raise UsageError(f"there is only one run {where}")
    raise UsageError(f"no run {where} started {word} ({zone}); `dbbtrace runs` lists the runs")


def _fits(key: RunKey, data_product: str | None, environment: str | None) -> bool:
    return (data_product is None or key.data_product == data_product) and (
        environment is None or (key.environment or "").lower() == environment.lower()
    )


def _whose(data_product: str | None, environment: str | None) -> str:
    whose = " ".join(filter(None, (data_product, environment)))
    return f"of {whose} " if whose else ""
