"""How SQLite and T-SQL spell what the views need and standard SQL lacks: the one place where they differ.

The views' SQL calls words in capitals, ``MOMENT(x)`` or ``NULL_TEXT``; here each becomes what the dialect says for
it. Everything else in the views is the same SQL for both.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Final

from dbbtrace.model.attributes import INTERRUPTED
from dbbtrace.model.statuses import STATUSES

__all__ = ["spelled"]

Words = Mapping[str, Callable[..., str]]


def _status(word: str, error_type: str) -> str:
    """The outcome; the stored word if it is unknown. How an interrupted refresh ended is not known."""
    by_status: dict[str, list[str]] = {}
    for stored, status in STATUSES.items():
        by_status.setdefault(status, []).append(f"'{stored}'")
    cases = [f"WHEN LOWER({word}) IN ({', '.join(stored)}) THEN '{status}'" for status, stored in by_status.items()]
    running = (
        f"WHEN {error_type} = '{INTERRUPTED}' AND LOWER({word}) IN ({', '.join(by_status['Running'])}) THEN 'Unknown'"
    )
    unknown = "" if error_type == "NULL" else f"{running} "
    return f"CASE {unknown}{' '.join(cases)} ELSE COALESCE({word}, 'Unknown') END"


def _named(*names: str) -> str:
    """The first that is a name."""
    known = [f"NULLIF({name}, '')" for name in names]
    return f"COALESCE({', '.join(known)}, '(no name)')"


def _counted(number: str, noun: str) -> str:
    """``1 part``, ``2 parts``."""
    word = _bare(noun)
    several = f"{word}es" if word.endswith("h") else f"{word}s"
    return f"CONCAT(TEXT({number}), CASE WHEN {number} = 1 THEN ' {word}' ELSE ' {several}' END)"


def _bare(quoted: str) -> str:
    """A text of the SQL without its quotes."""
    return quoted.strip("'")


def _node_id(unique_id: str, relation_name: str, item_name: str) -> str:
    """An id that is the same for a node in every run. Other writers store no relation of a test, or None."""
    relation = f"CASE WHEN LOWER({relation_name}) NOT IN ('', 'none', 'null') THEN {relation_name} END"
    return f"COALESCE({unique_id}, {relation}, NULLIF({item_name}, ''), '(no name)')"


def _node_name(unique_id: str, item_name: str) -> str:
    """The name of a dbt node. The unique_id of a generic test ends in a hash, which comes after the name."""
    rest = f"SUBSTRING({unique_id}, 1, LENGTH_OF({unique_id}) - LENGTH_OF({item_name}) - 1)"
    return (
        f"CASE WHEN {unique_id} LIKE 'test.%.%.%' AND LENGTH_OF({unique_id}) > LENGTH_OF({item_name}) + 1"
        f" THEN LAST_SEGMENT({rest}) ELSE NAMED({item_name}) END"
    )


def _load_name(table: str, record_id: str) -> str:
    """What tells loads of a source and schema apart. Nobody knows whether two without a name are of the same table."""
    return f"CASE WHEN {table} = '?' THEN CONCAT('?', {record_id}) ELSE LOWER({table}) END"


def _sane(seconds: str) -> str:
    """Seconds that can be sorted as text of 13 digits; a duration of 30 years and more is a mistake, and counts as so
    many."""
    return f"CASE WHEN {seconds} > 1E9 THEN 1E9 WHEN {seconds} < 0 THEN 0 ELSE {seconds} END"


def _run_id(stored: str) -> str:
    """A run id as dbbtrace writes it: a GUID in lower case."""
    return f"CASE WHEN {stored} LIKE '________-____-____-____-____________' THEN LOWER({stored}) ELSE {stored} END"


def _failed_without_time_first(at: str, status: str) -> str:
    """For ORDER BY: a failure without a time comes before all that have one, since nobody knows what came later."""
    good = "'Succeeded', 'Warned', 'Skipped', 'Running'"
    return f"CASE WHEN {at} IS NULL AND {status} NOT IN ({good}) THEN 0 ELSE 1 END"


def _is_more_of(detail: str, than: str) -> str:
    """Whether the JSON object begins with all that the other one holds."""
    length = f"LENGTH_OF({than})"
    return (
        f"SUBSTRING({detail}, 1, {length} - 1) = SUBSTRING({than}, 1, {length} - 1)"
        f" AND SUBSTRING({detail}, {length}, 1) IN (',', '}}')"
    )


def _program(job: str) -> str:
    """The name of a job without the mark of its arguments."""
    return f"CASE WHEN {job} LIKE '% #______' THEN SUBSTRING({job}, 1, LENGTH_OF({job}) - 8) ELSE {job} END"


def _saturated(total: str) -> str:
    """The nearest bigint: one row with an impossible count must not break the view."""
    largest, smallest = 2**63 - 1, -(2**63)
    return (
        f"CAST(CASE WHEN {total} > {largest} THEN {largest} WHEN {total} < {smallest} THEN {smallest}"
        f" ELSE {total} END AS bigint)"
    )


_LONGEST: Final = 2_147_483_647
"""Seconds. T-SQL's DATEADD takes an int, and raises beyond the years 1 to 9999. A longer or negative duration is a
mistake and must not break the view: it gives no end, on SQLite too."""

# -- SQLite: times are texts; MOMENT gives all of them one form, with six fraction digits -------------------------

_SQLITE: Final[Words] = {
    "NULL_TEXT": lambda: "NULL",
    "NULL_COUNT": lambda: "NULL",
    "NULL_FLOAT": lambda: "NULL",
    "NULL_MOMENT": lambda: "NULL",
    "NOW_MOMENT": lambda: "(STRFTIME('%Y-%m-%d %H:%M:%f', 'now') || '000')",
    "DAYS_AGO": lambda n: f"STRFTIME('%Y-%m-%d %H:%M:%S', 'now', '-{n} days')",
    "FLOAT": lambda x: f"CAST({x} AS REAL)",
    "TEXT": lambda x: f"CAST({x} AS TEXT)",
    "CONCAT": lambda *parts: f"({' || '.join(parts)})",
    "COUNTED": lambda number, noun: _expand(_counted(number, noun), _SQLITE),
    "NODE_NAME": lambda unique_id, item_name: _expand(_node_name(unique_id, item_name), _SQLITE),
    "IS_MORE_OF": lambda detail, than: _expand(_is_more_of(detail, than), _SQLITE),
    "LOAD_NAME": lambda table, record_id: _expand(_load_name(table, record_id), _SQLITE),
    "PROGRAM_OF": lambda job: _expand(_program(job), _SQLITE),
    "LENGTH_OF": lambda x: f"LENGTH({x})",
    "LAST_SEGMENT": lambda x: f"REPLACE({x}, RTRIM({x}, REPLACE({x}, '.', '')), '')",
    # Only others write a time with an offset.
    "MOMENT": lambda x: (
        f"CASE WHEN SUBSTR({x}, -3, 1) = ':' AND SUBSTR({x}, -6, 1) IN ('+', '-')"
        f" THEN STRFTIME('%Y-%m-%d %H:%M:%f', {x}) || '000'"
        f" ELSE SUBSTR(REPLACE(RTRIM({x}, 'Z'), 'T', ' ') ||"
        f" CASE WHEN INSTR({x}, '.') > 0 THEN '000000' ELSE '.000000' END, 1, 26) END"
    ),
    "COMPARABLE": lambda x: f"REPLACE({x}, 'T', ' ')",
    # For the order of a GROUP BY, SQLite would read a whole index on it rather than a few rows by their time.
    "UNINDEXED": lambda x: f"+{x}",
    "SECOND_OF": lambda x: f"REPLACE(SUBSTR({x}, 1, 19), 'T', ' ')",
    "DAY_OF": lambda x: f"SUBSTR({x}, 1, 10)",
    # Whole seconds and fraction apart: STRFTIME rounds '12.9995' up to the next second.
    "PLUS_SECONDS": lambda at, n: (
        f"CASE WHEN {n} BETWEEN -1 AND {_LONGEST} AND {at} >= '0001-01-02' THEN"
        f" STRFTIME('%Y-%m-%d %H:%M:%S', SUBSTR({at}, 1, 19), ({n}) || ' seconds') || SUBSTR({at}, 20, 7) END"
    ),
    "SECONDS_BETWEEN": lambda a, b: (
        f"ROUND(STRFTIME('%s', SUBSTR({b}, 1, 19)) - STRFTIME('%s', SUBSTR({a}, 1, 19))"
        f" + SUBSTR({b}, 20, 7) - SUBSTR({a}, 20, 7), 6)"
    ),
    "SORTABLE_SECONDS": lambda x: f"PRINTF('%013d', {_sane(x)} * 1000)",
    # SUM raises where whole numbers overflow. TOTAL is exact up to 2^53, and CAST stops at the largest bigint.
    "SUM_OF": lambda x: f"CASE WHEN COUNT({x}) > 0 THEN CAST(TOTAL({x}) AS INTEGER) END",
    "SUBSTRING": lambda x, start, length: f"SUBSTR({x}, {start}, {length})",
    "INCLUDES": lambda words, word, before, after: f"INSTR(' ' || {words} || ' ', {before} || {word} || {after}) > 0",
    "EACH_OF": lambda x: f"JSON_EACH(CASE WHEN JSON_VALID({x}) THEN {x} END)",
    "MEMBER_OF": lambda x, name: f"JSON_EXTRACT(CASE WHEN JSON_VALID({x}) THEN {x} END, '$.{_bare(name)}')",
    "STATUS": _status,
    "NAMED": _named,
    "NODE_ID": _node_id,
    "RUN_ID": _run_id,
    "FAILED_WITHOUT_TIME_FIRST": _failed_without_time_first,
}

# -- T-SQL, in words that Fabric Warehouse has ---------------------------------------------------------------

_TSQL: Final[Words] = {
    "NULL_TEXT": lambda: "CAST(NULL AS varchar(8000))",
    "NULL_COUNT": lambda: "CAST(NULL AS bigint)",
    "NULL_FLOAT": lambda: "CAST(NULL AS float)",
    "NULL_MOMENT": lambda: "CAST(NULL AS datetime2(6))",
    "NOW_MOMENT": lambda: "CAST(GETUTCDATE() AS datetime2(6))",
    "DAYS_AGO": lambda n: f"DATEADD(day, -{n}, CAST(GETUTCDATE() AS datetime2(6)))",
    "FLOAT": lambda x: f"TRY_CAST({x} AS float)",
    "TEXT": lambda x: f"CAST({x} AS varchar(8000))",
    "CONCAT": lambda *parts: f"CONCAT({', '.join(parts)})",
    "COUNTED": lambda number, noun: _expand(_counted(number, noun), _TSQL),
    "NODE_NAME": lambda unique_id, item_name: _expand(_node_name(unique_id, item_name), _TSQL),
    "IS_MORE_OF": lambda detail, than: _expand(_is_more_of(detail, than), _TSQL),
    "LOAD_NAME": lambda table, record_id: _expand(_load_name(table, record_id), _TSQL),
    "PROGRAM_OF": lambda job: _expand(_program(job), _TSQL),
    "LENGTH_OF": lambda x: f"LEN({x})",
    "LAST_SEGMENT": lambda x: f"RIGHT({x}, CHARINDEX('.', CONCAT(REVERSE({x}), '.')) - 1)",
    "MOMENT": lambda x: f"CAST({x} AS datetime2(6))",
    "COMPARABLE": lambda x: x,
    "UNINDEXED": lambda x: x,
    "SECOND_OF": lambda x: f"CONVERT(varchar(19), {x}, 120)",
    "DAY_OF": lambda x: f"CONVERT(varchar(10), {x}, 120)",
    "PLUS_SECONDS": lambda at, n: (
        f"DATEADD(second, CASE WHEN {n} BETWEEN -1 AND {_LONGEST} THEN"
        f" CASE WHEN {at} BETWEEN CAST('0001-01-02' AS datetime2(6)) AND"
        f" DATEADD(second, -CAST({n} AS int), CAST('9999-12-31 23:59:58' AS datetime2(6)))"
        f" THEN CAST({n} AS int) END END, {at})"
    ),
    # Days, seconds and microseconds apart: DATEDIFF counts in int, and Fabric Warehouse has no DATEDIFF_BIG.
    "SECONDS_BETWEEN": lambda a, b: (
        f"ROUND(DATEDIFF(day, {a}, {b}) * 86400E0"
        f" + DATEDIFF(second, CAST({b} AS date), {b}) - DATEDIFF(second, CAST({a} AS date), {a})"
        f" + (DATEPART(microsecond, {b}) - DATEPART(microsecond, {a})) / 1E6, 6)"
    ),
    "SORTABLE_SECONDS": lambda x: f"RIGHT(CONCAT('0000000000000', CAST({_sane(x)} * 1000 AS bigint)), 13)",
    "SUM_OF": lambda x: _saturated(f"SUM(CAST({x} AS decimal(38, 0)))"),
    "SUBSTRING": lambda x, start, length: f"SUBSTRING({x}, {start}, {length})",
    "INCLUDES": lambda words, word, before, after: (
        f"CHARINDEX(CONCAT({before}, {word}, {after}), CONCAT(' ', {words}, ' ')) > 0 AND {word} <> ''"
    ),
    # With an explicit type: the default is nvarchar, in a collation that may differ from the database's.
    "EACH_OF": lambda x: f"OPENJSON(CASE WHEN ISJSON({x}) = 1 THEN {x} END) WITH ([value] varchar(1000) '$')",
    "MEMBER_OF": lambda x, name: (
        f"CAST(JSON_VALUE(CASE WHEN ISJSON({x}) = 1 THEN {x} END, '$.{_bare(name)}') AS varchar(8000))"
    ),
    "STATUS": _status,
    "NAMED": _named,
    "NODE_ID": _node_id,
    "RUN_ID": _run_id,
    "FAILED_WITHOUT_TIME_FIRST": _failed_without_time_first,
}

_WORD = re.compile(r"\b(" + "|".join(sorted(_TSQL, key=len, reverse=True)) + r")\b")


@lru_cache(maxsize=256)
def spelled(sql: str, *, tsql: bool) -> str:
    """The SQL with our macros replaced by the dialect's SQL."""
    sql = sql.replace("CROSS JOIN EACH_OF", "CROSS APPLY EACH_OF") if tsql else sql
    return _expand(sql, _TSQL if tsql else _SQLITE)


def _expand(sql: str, words: Words) -> str:
    """Expand each macro and its arguments."""
    done, rest = "", sql
    while match := _WORD.search(rest):
        done += rest[: match.start()]
        name, rest = match[1], rest[match.end() :]
        if name.startswith(("NULL_", "NOW_")):
            done += words[name]()
            continue
        if not rest.startswith("("):  # the same word as a type: CAST(NULL AS float)
            done += name
            continue
        arguments, rest = _arguments(rest)
        done += words[name](*(_expand(argument, words) for argument in arguments))
    return done + rest


def _arguments(text: str) -> tuple[list[str], str]:
    """What is between the text's first parenthesis and its partner, split at commas; and what follows."""
    depth, quoted, arguments, start = 0, False, list[str](), 1
    for place, letter in enumerate(text):
        if letter == "'":
            quoted = not quoted
        elif quoted:
            continue
        elif letter == "(":
            depth += 1
        elif letter == ")":
            depth -= 1
        if (letter == "," and depth == 1) or depth == 0:
            arguments.append(" ".join(text[start:place].split()))
            start = place + 1
        if depth == 0:
            return arguments, text[start:]
    raise ValueError(f"no partner for the parenthesis of {text[:40]!r}")
