"""Whatever the attributes hold: flattening never raises, and what it gives can be stored."""

from __future__ import annotations

import json
import sqlite3
from datetime import datetime

import pytest
import sqlglot
from dbbtrace_exporters.warehouse.flatten import flatten, rows_of
from hypothesis import given, settings
from hypothesis import strategies as st

from dbbtrace.model import attributes as key
from dbbtrace.model.parts import lacking
from dbbtrace.model.times import format_all_utc, format_utc
from dbbtrace.warehouse.cleaning import cleaner, column_cleaner
from dbbtrace.warehouse.dialects import BABELFISH, SQLITE, TSQL, as_json
from dbbtrace.warehouse.schema import TABLES, Kind
from tests.warehouse.spans import RUN, span

KEYS = sorted(value for name, value in vars(key).items() if name.isupper() and isinstance(value, str) and "." in value)
# Surrogates too: nothing says that an attribute is well-formed text.
TEXT = st.text(st.characters(), max_size=300) | st.sampled_from(["", " ", "\0", "\ud800", "é" * 5000, "-1", "nan"])
SCALARS = st.one_of(
    TEXT,
    st.integers(),
    st.floats(),
    st.booleans(),
    st.binary(max_size=20),
    st.datetimes().map(lambda at: at.isoformat() + "Z"),
    st.sampled_from(["Succeeded", "Failed", "skipped", "Interrupted", "2026-11-24T02:15:07.987654Z", 10**18, 2**63]),
)
VALUES = SCALARS | st.lists(SCALARS, max_size=5) | st.dictionaries(TEXT, SCALARS, max_size=3)
NEEDED = {key.RUN_ID: RUN, key.TABLE_NAME: "t", key.DBT_UNIQUE_ID: "model.a.b", key.MODEL_ID: "m"}
ATTRIBUTES = st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=25)
OPERATIONS = st.sampled_from(sorted(key.ROW_OPERATIONS))


@given(ATTRIBUTES, OPERATIONS)
def test_any_attributes_flatten(attributes, operation):
    """Never an exception, whether or not the attributes suffice for a row."""
    rows_of(span({**attributes, key.OPERATION: operation}))


@given(ATTRIBUTES, OPERATIONS)
def test_any_row_can_be_stored(attributes, operation):
    """SQLite takes it, JSON takes it, every text fits its column in UTF-8 bytes, NOT NULL columns hold something."""
    with sqlite3.connect(":memory:") as database:
        database.execute("ATTACH ':memory:' AS meta")
        for table in TABLES:
            database.execute(SQLITE.create_table(table))
        for row in rows_of(span({**NEEDED, **attributes, key.OPERATION: operation})):
            marks = ", ".join("?" * len(row.values))
            database.execute(f"INSERT INTO {SQLITE.target(row.table.name)} VALUES ({marks})", row.values)
            assert json.loads(as_json([row.values])) == [list(row.values)]
            for column, value in zip(row.table.columns, row.values, strict=True):
                _fits(column, value)


AWKWARD = st.sampled_from(
    [None, 0, 1, 1.0, True, -0.0, 0.0, 1e15, 9.99e15, 1e16, 2**63 - 1, 2**63, -(2**63), 10**17, 10**17 - 1, 999_999_999]
    + ["", " ", "1", "PRD", "prd", "In Progress", "Succeeded", RUN, RUN.upper(), f"{{{RUN}}}", "x" * 255, "x" * 256]
    + [key.INTERRUPTED, "2026-11-24T02:15:07.987654Z", float("nan"), float("inf"), ("a", "b"), ["a"], 123.456]
)


@given(st.lists(st.dictionaries(st.sampled_from(KEYS), VALUES | AWKWARD, max_size=25), max_size=8), OPERATIONS)
def test_a_batch_gives_what_its_spans_give_one_by_one(attributes, operation):
    """Whatever the others hold: nothing that one row was cleaned to, or lacks, touches another."""
    spans = [
        span({**(NEEDED if place % 4 else {}), **own, key.OPERATION: operation}, span_id=place + 1)
        for place, own in enumerate(attributes)
    ]
    together = flatten(spans)
    assert list(map(repr, together.rows)) == [repr(row) for one in spans for row in rows_of(one)]
    assert sorted(map(id, together.lacking)) == sorted(id(one) for one in spans if lacking(one.attributes or {}))


@pytest.mark.parametrize("repeats", [True, False])
@pytest.mark.parametrize("column", [column for table in TABLES for column in table.columns], ids=lambda it: it.name)
@given(values=st.lists(SCALARS | AWKWARD | VALUES, max_size=20))
@settings(max_examples=10)
def test_a_column_is_cleaned_as_its_values_are(column, repeats, values):
    """What the faster way passes as it is, the slower would."""
    clean_all, clean = column_cleaner(column, repeats=repeats), cleaner(column)
    for _ in range(2):  # remembered by then
        assert list(map(repr, clean_all(values))) == [repr(clean(value)) for value in values]


@given(st.lists(st.none() | st.integers(-(10**12), 253_402_300_799 * 10**9)))
def test_times_are_written_as_one_by_one(times):
    """To the microsecond."""
    assert format_all_utc(times) == [at if at is None else format_utc(at, 6) for at in times]


def _fits(column, value):
    if value is None:
        assert column.nullable, column.name
    elif column.kind is Kind.TEXT:
        assert isinstance(value, str)
        assert len(value.encode()) <= column.size
        assert "\0" not in value
    elif column.kind is Kind.TIME:
        assert value == datetime.fromisoformat(value).isoformat(" ", _SPECS[column.size])
    elif column.kind is Kind.BIGINT:
        assert isinstance(value, int)
        assert -(2**63) <= value < 2**63
    elif column.kind is Kind.DECIMAL:
        assert abs(value) < 1e16
        assert "e" not in repr(value)


_SPECS = {0: "seconds", 3: "milliseconds", 6: "microseconds"}


@given(st.lists(st.lists(TEXT.filter(lambda text: text.isprintable()) | st.text(max_size=20), max_size=4), max_size=4))
def test_json_has_one_kind_of_escape(rows):
    r"""No ``\"``, ``\\`` or ``\n``: only \uXXXX, in ASCII, and it reads back the same."""
    text = as_json(rows)
    assert text.isascii()
    assert json.loads(text) == rows
    assert all(text[at + 1] == "u" for at, letter in enumerate(text) if letter == "\\")
    assert not any(ord(letter) < 32 for letter in text)


@given(st.lists(st.text(max_size=20) | st.text('"\\\b\f\n\r\t/u0022', max_size=9), max_size=4))
def test_babelfish_gets_no_character_that_json_escapes(texts):
    """It would show the escape: so none is sent, and what was sent instead tells which character it was."""
    arrived = json.loads(BABELFISH.parameter([texts]))[0]
    assert not any(ord(letter) < 32 or letter in '"\\' for text in arrived for letter in text)
    for sent, text in zip(texts, arrived, strict=True):
        assert [ord(b) - ord(a) for a, b in zip(sent, text, strict=True)] == [
            0xE000 if a in '"\\' or ord(a) < 32 else 0 for a in sent
        ]


def test_babelfish_puts_it_back_in_t_sql():
    """Of texts alone, and in their own type."""
    sql = f"SELECT j.[a], j.[n] FROM {BABELFISH.batch([('a', 'varchar(8000)'), ('n', 'bigint')])} AS j"
    sqlglot.parse_one(sql, dialect="tsql", error_level=sqlglot.ErrorLevel.RAISE)
    assert "CONVERT(varchar(8000), TRANSLATE(b.[a]" in sql
    assert "WITH ([a] nvarchar(max) '$[0]', [n] bigint '$[1]')" in sql


def test_babelfish_puts_it_back_where_there_is_something():
    """It takes as long as everything else: not in a column in which no text needs it, nor for numbers and NULL."""
    fitting = BABELFISH.fitting([("plain", 'a"b', None, 1), ("é 漢", "x", None, 2), ("", "tab\t", None, 3)])
    columns = [("a", "varchar(9)"), ("b", "varchar(9)"), ("c", "varchar(9)"), ("n", "bigint")]
    sql = f"SELECT j.[a], j.[b], j.[c], j.[n] FROM {fitting.batch(columns)} AS j"
    sqlglot.parse_one(sql, dialect="tsql", error_level=sqlglot.ErrorLevel.RAISE)
    assert "SELECT b.[a] AS [a], CONVERT(varchar(9), TRANSLATE(b.[b]" in sql
    assert sql.count("TRANSLATE") == 1
    assert "WITH ([a] varchar(9) '$[0]', [b] nvarchar(9) '$[1]', [c] varchar(9) '$[2]', [n] bigint '$[3]')" in sql
    assert BABELFISH.fitting([("plain", "x", None, 1)]).batch(columns) == TSQL.batch(columns)
    assert TSQL.fitting([('a"b',)]) is TSQL
