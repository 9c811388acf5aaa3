"""What ``dbbtrace doctor`` looks at: settings, warehouse, OTLP backend, journal. Changes nothing; shows no secret.

``examine`` yields what it finds as it finds it, because a warehouse that sleeps takes a minute to answer.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dbbtrace.errors import DbbtraceError, UsageError
from dbbtrace.model.destinations import UNRESOLVED, otlp_name, warehouse_name
from dbbtrace.settings import SETTINGS, Settings, config_file, read
from dbbtrace.tracing import runtime

if TYPE_CHECKING:
    from dbbtrace.delivery import Waiting
    from dbbtrace.warehouse import Warehouse

__all__ = ["FAULT", "NOTE", "OK", "Finding", "doctor", "examine"]

OK, NOTE, FAULT = "ok", "note", "FAULT"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    area: str
    """settings, warehouse, OTLP, journal or dead letters."""
    state: str
    """ok; note: good to know; FAULT: a person must act."""
    text: str
    remedy: str = ""
    """What to do about a fault."""
    unreadable: bool = False
    """A part of the journal could not be read."""


def doctor() -> list[Finding]:
    """What is configured, what answers, what waits; a finding whose ``state`` is FAULT needs a person."""
    return list(examine(*read(**runtime.arguments())))


def examine(settings: Settings, faults: list[str]) -> Iterator[Finding]:
    """Everything that matters to delivery, one finding after another.

    Args:
        settings, faults: as ``settings.read()`` gives them.
    """
    yield from _settings(settings, faults)
    yield from _whatever("warehouse", _warehouse(settings))
    yield from _whatever("OTLP", _otlp(settings))
    yield from _whatever("journal", _journal(settings))
    yield from _whatever("dead letters", _dead_letters(settings))


def _whatever(area: str, look: Iterator[Finding]) -> Iterator[Finding]:
    """What is found there; a fault of our own in one area must not hide the others."""
    try:
        yield from look
    except Exception as error:
        yield Finding(area, FAULT, f"could not be checked: {type(error).__name__}: {error}", "fix what it names")


def _settings(settings: Settings, faults: list[str]) -> Iterator[Finding]:
    path = config_file()
    if path is not None:
        yield Finding("settings", OK, f"read from {path}")
    for setting in SETTINGS:
        source = settings.sources.get(setting.name, "default")
        if source != "default" or setting.name in ("warehouse", "journal_dir"):
            yield Finding("settings", OK, f"{setting.name} = {settings.shown(setting)} ({source})")
    for fault in faults:
        yield Finding("settings", FAULT, fault, "correct it; until then it is ignored")


# -- the warehouse ------------------------------------------------------------------------------------------


def _warehouse(settings: Settings) -> Iterator[Finding]:
    url = settings.warehouse
    if url is None:
        yield Finding(
            "warehouse",
            FAULT,
            "no warehouse is named: rows wait in the journal",
            "set DBBTRACE_WAREHOUSE, e.g. to mssql://server/database, then run `dbbtrace flush`",
        )
        return
    if url.lower() == "none":
        yield Finding("warehouse", NOTE, "set to none: spans are forwarded only, no rows are written")
        return
    from dbbtrace.warehouse import open_warehouse

    try:
        warehouse = open_warehouse(url, create=False)
        if (path := _file(warehouse)) is not None and not os.path.exists(path):
            yield _not_there_yet(warehouse, path)
            return
        try:
            yield from _answers(warehouse)
        finally:
            warehouse.close()
    except DbbtraceError as error:
        remedy = "check address, login and network" if not isinstance(error, UsageError) else "correct the URL"
        yield Finding("warehouse", FAULT, str(error), f"{remedy}; rows wait in the journal meanwhile")


def _file(warehouse: Warehouse) -> str | None:
    """Path of an embedded warehouse."""
    return warehouse.name.removeprefix("sqlite:///") if warehouse.name.startswith("sqlite:") else None


def _not_there_yet(warehouse: Warehouse, path: str) -> Finding:
    if _writable(path):
        return Finding("warehouse", NOTE, f"{warehouse.name} is not there yet; the first row makes it")
    return Finding("warehouse", FAULT, f"{path} can't be made", "name a place that may be written to")


def _writable(path: str) -> bool:
    """Whether the file or directory may be written, or made in the nearest directory that is there."""
    there = path
    while not os.path.exists(there):
        there = os.path.dirname(there)
    return os.access(there, os.W_OK) and (there == path or os.path.isdir(there))


def _answers(warehouse: Warehouse) -> Iterator[Finding]:
    began = time.monotonic()
    path, login = _file(warehouse), ""
    if path is None:
        login = f", logged in as {warehouse.query('SELECT SUSER_SNAME()').rows[0][0]}"
    else:
        warehouse.query("SELECT 1")
    yield Finding("warehouse", OK, f"{warehouse.name} answers in {time.monotonic() - began:.2f} s{login}")
    yield Finding("warehouse", OK, f"reached with {warehouse.driver}")
    yield from _rights(warehouse, path)
    yield from _tables(warehouse)
    yield from _doubles(warehouse)


def _rights(warehouse: Warehouse, path: str | None) -> Iterator[Finding]:
    if path is not None:
        if not (os.access(path, os.W_OK) and os.access(os.path.dirname(path), os.W_OK)):
            yield Finding("warehouse", FAULT, f"{path} and its directory may not be written", "chmod or chown them")
        return
    for table in warehouse.columns():
        target = warehouse.dialect.target(table)
        rights = {str(row[0]) for row in warehouse.query(warehouse.dialect.rights, (target,)).rows}
        for right in ("SELECT", "INSERT"):
            if rights and right not in rights:  # a table that is seen has some: none at all means that it is not told
                remedy = f"ask an administrator to run: GRANT {right} ON {target} TO [this login]"
                yield Finding("warehouse", FAULT, f"no right to {right} on {target}", remedy)


def _tables(warehouse: Warehouse) -> Iterator[Finding]:
    from dbbtrace.warehouse.schema import PARTS, SCHEMA, TABLES

    present = warehouse.columns()
    missing = [f"{SCHEMA}.{table.name}" for table in TABLES if table.name not in present]
    if missing:
        yield Finding(
            "warehouse", FAULT, f"{', '.join(missing)}: missing, or may not be read", "run `dbbtrace migrate`"
        )
    complete = not missing
    for table in TABLES:
        lacking = [column.name for column in table.columns if column.name not in present.get(table.name, ())]
        if not lacking or table.name not in present:
            continue
        complete = False
        weaker = "; without record_id doubles are told by a weaker key" if "record_id" in lacking else ""
        yield Finding(
            "warehouse",
            NOTE,
            f"{SCHEMA}.{table.name} lacks {', '.join(lacking)}: their values are left out{weaker}",
            "run `dbbtrace migrate`",
        )
    if PARTS.name not in present:
        text = f"{SCHEMA}.{PARTS.name} is missing: nobody can tell whether a run ended, nor of a job that left no row"
        yield Finding("warehouse", NOTE, text, "run `dbbtrace migrate`")
    if complete:
        yield Finding("warehouse", OK, "the three tables are there, with every column")


def _doubles(warehouse: Warehouse) -> Iterator[Finding]:
    """Rows of one record: on Fabric nothing keeps two writers from writing both; the readers ignore all but one."""
    for table, columns in warehouse.columns().items():
        if "record_id" in columns:
            record, target = warehouse.dialect.quote("record_id"), warehouse.dialect.target(table)
            sql = (
                f"SELECT COUNT(*), SUM(n - 1) FROM (SELECT COUNT(*) AS n FROM {target} WHERE {record} IS NOT NULL"
                f" GROUP BY {record} HAVING COUNT(*) > 1) AS doubles"
            )
            records, rows = warehouse.query(sql).rows[0]
            if records:
                text = f"{target}: {_counted(records, 'record')} more than once, {_counted(rows, 'row')} too many"
                yield Finding("warehouse", NOTE, f"{text}; dbbtrace's own answers count each once")


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'s' if number != 1 else ''}"


# -- the OTLP backend ---------------------------------------------------------------------------------------


def _otlp(settings: Settings) -> Iterator[Finding]:
    if settings.otlp_endpoint is None:
        yield Finding("OTLP", NOTE, "no backend is named (OTEL_EXPORTER_OTLP_ENDPOINT): spans are not forwarded")
        return
    name = otlp_name(settings.otlp_url or "", settings.otlp_protocol)
    if not settings.forward:
        yield Finding("OTLP", NOTE, f"{name} is named, but forwarding is off ({_who_forbids(settings)})")
        return
    from dbbtrace.configure import exporter_named

    began = time.monotonic()
    exporter = exporter_named("dbb_otlp", endpoint=settings.otlp_url, protocol=settings.otlp_protocol)
    try:
        exporter.check()
    except DbbtraceError as error:
        yield Finding("OTLP", FAULT, str(error), "check endpoint, protocol and headers; spans wait in the journal")
    else:
        yield Finding("OTLP", OK, f"{name} answers in {time.monotonic() - began:.2f} s")
    finally:
        exporter.shutdown()


def _who_forbids(settings: Settings) -> str:
    return settings.sources["forward"] if settings.sources["forward"] != "default" else "OTEL_SDK_DISABLED"


# -- the journal --------------------------------------------------------------------------------------------


def _journal(settings: Settings) -> Iterator[Finding]:
    from dbbtrace.delivery import waiting

    directory = settings.journal_dir
    if not _writable(directory):
        yield Finding(
            "journal",
            FAULT,
            f"{directory} may not be written: spans are kept in memory, and are lost with the process",
            "set DBBTRACE_JOURNAL_DIR to a directory on a local disk",
        )
    problems, waits = 0, dict[tuple[str, bool], list[int]]()
    for each in waiting(directory):
        if each.problem:
            problems += 1
            yield Finding("journal", FAULT, f"{each.journal}: {each.problem}", _how_to_part(each, settings), True)
        elif each.is_live or each.ended + each.started:
            waits.setdefault((each.destination, each.is_live), []).append(each.ended + each.started)
    for (destination, is_live), spans in waits.items():
        yield _waits(destination, is_live, sum(spans), len(spans), settings)
    if not problems and not waits:
        yield Finding("journal", OK, f"nothing waits in {directory}")


def _waits(destination: str, is_live: bool, spans: int, jobs: int, settings: Settings) -> Finding:
    """What waits for one destination, of all jobs that run or of all that are gone."""
    of = "a job that" if jobs == 1 else f"{jobs:,} jobs that"
    if is_live:
        text = f"{_counted(spans, 'span')} of {of} {'runs' if jobs == 1 else 'run'}, for {destination}"
        return Finding("journal", OK, text)
    text = f"{_counted(spans, 'span')} of {of} {'is' if jobs == 1 else 'are'} gone {'waits' if spans == 1 else 'wait'}"
    return Finding("journal", FAULT, f"{text} for {destination}", _how_to_deliver(destination, settings))


def _how_to_part(each: Waiting, settings: Settings) -> str:
    """What to do about what can't be read."""
    name = os.path.relpath(each.journal, os.path.abspath(settings.journal_dir)).split(os.sep)[0]
    if name == os.curdir:
        return "give this user the right to read it, or set DBBTRACE_JOURNAL_DIR"
    return f"correct what it names, or run `dbbtrace set-aside {name}`, which deletes nothing"


def _how_to_deliver(name: str, settings: Settings) -> str:
    url = settings.warehouse
    here = {warehouse_name(url)} if url and url.lower() != "none" else set()
    if here:
        here.add(UNRESOLVED)
    if settings.otlp_url:
        here.add(otlp_name(settings.otlp_url, settings.otlp_protocol))
    if name in here:
        return "run `dbbtrace flush`"
    if name == UNRESOLVED:
        return "set DBBTRACE_WAREHOUSE and run `dbbtrace flush`"
    if name.startswith("otlp+"):
        return f"set OTEL_EXPORTER_OTLP_ENDPOINT to {name.removeprefix('otlp+')} and run `dbbtrace flush`"
    if name.startswith(("sqlite:", "mssql:")):
        return f"it is not configured here: run `dbbtrace --warehouse {name} flush`"
    return "the job that named it delivers them when it runs again"


def _dead_letters(settings: Settings) -> Iterator[Finding]:
    from dbbtrace.delivery import damaged_lines, dead_letters

    reasons: dict[tuple[str, str], int] = {}
    for letter in dead_letters(settings.journal_dir):
        key = (letter.destination, letter.reason)
        reasons[key] = reasons.get(key, 0) + 1
    for (destination, reason), count in reasons.items():
        yield Finding(
            "dead letters",
            FAULT,
            f"{count:,} refused by {destination}: {reason}",
            "when that is fixed, run `dbbtrace flush --dead-letter`",
        )
    damaged = damaged_lines(settings.journal_dir)
    for path, count in damaged.items():
        text = f"{_counted(count, 'line')} of journals that made no sense: {path}"
        yield Finding("dead letters", FAULT, text, "look at it; delete the file when you don't need it", True)
    if not reasons and not damaged:
        yield Finding("dead letters", OK, "none")
