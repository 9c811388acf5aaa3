"""The verdict on a run, with what the journal of this machine knows: rows that wait here are in no table yet."""

from __future__ import annotations

import os
import threading
from collections import defaultdict
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from dbbtrace.answers.reasons import Here, Verdict
from dbbtrace.answers.terms import Terms, Tolerance
from dbbtrace.answers.verdict import verdict_of
from dbbtrace.diagnostics import guard
from dbbtrace.errors import DbbtraceError, UsageError
from dbbtrace.job.context import run_id_in_environment
from dbbtrace.journal import reader
from dbbtrace.journal.checkpoint import acknowledged
from dbbtrace.journal.directory import Found, Silence, find
from dbbtrace.journal.writer import SILENT_AFTER
from dbbtrace.model import attributes as key
from dbbtrace.model.destinations import UNRESOLVED, warehouse_name
from dbbtrace.model.identity import normalise_run_id
from dbbtrace.model.parts import claims_rows, gives_rows
from dbbtrace.settings import Settings
from dbbtrace.tracing import runtime
from dbbtrace.warehouse import Warehouse, open_warehouse

__all__ = ["judge", "terms_of", "verdict"]


def verdict(run_id: object = None) -> Verdict:
    """The verdict on a run: Failed, Running, Unfinished, Incomplete, Warned or Succeeded, with the reasons.

    Args:
        run_id: the run; else DBBTRACE_ORCHESTRATION_RUN_ID.

    Raises:
        UsageError: no run is named.
        ConfigurationError, TransientError: the warehouse can't be asked.
    """
    settings = runtime.current_settings()
    named = normalise_run_id(run_id) or run_id_in_environment()
    if not named:
        raise UsageError("which run? Name its run id, or set DBBTRACE_ORCHESTRATION_RUN_ID")
    with open_warehouse(create=False) as warehouse:
        return verdict_of(warehouse, named, terms=terms_of(settings))


def judge(run_id: str, seconds: float) -> None:
    """Compare a run that has ended with earlier ones, and store what is found where that may be written.

    Never raises and takes at most so long: then it goes on without the thread that asks the warehouse, which ends after
    its statement. What is not judged now is judged by the next ``dbbtrace check``.
    """
    settings = runtime.current_settings()
    if seconds <= 0 or (settings.warehouse or "none").lower() == "none":
        return
    with suppress(DbbtraceError):  # nobody can be asked, or not by these settings
        warehouse, terms = open_warehouse(create=False), _terms_without_journal(settings)
        failed: list[Exception] = []
        judging = threading.Thread(
            target=_judge, args=(warehouse, run_id, terms, failed), name="dbbtrace-judge", daemon=True
        )
        judging.start()
        judging.join(seconds)
        if judging.is_alive():
            warehouse.give_up()
        elif failed:
            raise failed[0]


def _judge(warehouse: Warehouse, run_id: str, terms: Terms, failed: list[Exception]) -> None:
    try:
        with guard("judge the run"), suppress(DbbtraceError), warehouse:  # who can't be asked now is asked later
            verdict_of(warehouse, run_id, terms=terms, write=True)
    except Exception as error:  # only when strict
        failed.append(error)


def terms_of(settings: Settings) -> Terms:
    """The terms that these settings say, with what this machine's journal knows.

    Raises:
        UsageError: a setting makes no sense.
    """
    here, unread = _known_here(settings)
    return replace(_terms_without_journal(settings), here=here, unread=unread)


def _terms_without_journal(settings: Settings) -> Terms:
    return Terms(settings.timezone, _tolerance_of(settings.reconciliation_tolerance))


def _tolerance_of(text: str | None) -> Tolerance:
    """The tolerance that the setting says.

    Raises:
        UsageError: it makes no sense.
    """
    absolute, relative, by_kpi = 0.0, Tolerance.relative, dict[str, float]()
    for part in filter(None, (part.strip() for part in (text or "").split(","))):
        name, equals, value = part.rpartition("=")
        try:
            if equals:
                by_kpi[name.strip()] = float(value)
            elif part.endswith("%"):
                relative = float(part[:-1]) / 100
            else:
                absolute = float(part)
        except ValueError:
            raise UsageError(
                f"reconciliation_tolerance: {part!r} is no tolerance: write 0.5, 0.1% or Revenue=100"
            ) from None
    return Tolerance(absolute, relative, by_kpi)


def _known_here(settings: Settings) -> tuple[Mapping[str, Here], tuple[str, ...]]:
    """Run id → what the journals of this machine hold of it for the warehouse in force; and the journals that could not
    be read. Changes nothing."""
    counts: dict[str, dict[str, Any]] = defaultdict(lambda: {"started": 0, "waiting": 0, "alive": False, "gone": False})
    names, unread = _names(settings), list[str]()
    if names:
        journal_dir = os.path.abspath(settings.journal_dir)
        silence = Silence(journal_dir, SILENT_AFTER)
        try:
            for found in find(journal_dir):
                problem = _problem(found, silence, names, counts)
                if problem:
                    unread.append(f"{os.path.basename(found.path)}: {problem}")
        except OSError as error:
            unread.append(f"{journal_dir}: {error.strerror or error}")
    return {run_id: Here(**count) for run_id, count in counts.items()}, tuple(unread)


def _problem(found: Found, silence: Silence, names: Collection[str], counts: dict[str, dict[str, Any]]) -> str:
    """Add what one journal holds; why it can't be read, empty where it was."""
    try:
        problem = found.problem()
        if not problem:
            _count(found, silence, names, counts)
    except FileNotFoundError:
        return ""  # delivered and deleted meanwhile
    except OSError as error:
        return error.strerror or str(error)
    return problem


def _names(settings: Settings) -> set[str]:
    url = settings.warehouse
    if not url or url.lower() == "none":
        return set()
    with suppress(UsageError):
        return {warehouse_name(url), UNRESOLVED}
    return set()


def _count(found: Found, silence: Silence, names: Collection[str], counts: dict[str, dict[str, Any]]) -> None:
    """Add what one journal holds."""
    claim = next((claim for claim in found.open_claims() if claim.name in names), None)
    if claim is None:
        return
    done, gone = acknowledged(found.path, claim.key), found.is_gone(silence)
    survey = reader.Survey(found.path)
    for position, fields in survey.ended():
        attributes = fields.get("attributes")
        if position > done and isinstance(attributes, Mapping) and _wanted(attributes, fields.get("status") == "ERROR"):
            _add(counts, attributes, "waiting", gone)
    for span in survey.started():
        if gives_rows(span):
            _add(counts, span.attributes or {}, "started", gone)


def _wanted(attributes: Mapping[str, Any], failed: bool) -> bool:
    return attributes.get(key.AUDIENCE) != key.FOR_SPANS and claims_rows(attributes, failed=failed)


def _add(counts: dict[str, dict[str, Any]], attributes: Mapping[str, Any], what: str, gone: bool) -> None:
    count = counts[normalise_run_id(attributes.get(key.RUN_ID))]
    count[what] += 1
    count["gone" if gone else "alive"] = True
