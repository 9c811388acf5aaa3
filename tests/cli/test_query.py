"""``dbbtrace query`` and ``dbbtrace migrate``, and how the command line refuses."""

from __future__ import annotations

import csv
import io
import json
import sqlite3
import sys
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.cli.support import HOSTILE, HOSTILE_SHOWN, assert_one_line, run, run_program
from tests.warehouse.sql_server import Cursor, Server

ROW = "INSERT INTO monitoring_integration (table_name, status, rows_written, orchestration_run_id) VALUES (?, ?, ?, ?)"


@pytest.fixture
def warehouse(tmp_path: Path) -> Path:
    """The default warehouse of the working directory, with three loads."""
    assert run("migrate").code == 0
    path = tmp_path / "dbb_warehouse.db"
    with sqlite3.connect(path) as connection:
        connection.executemany(ROW, [("Customer", "Succeeded", 10, "r1"), ("Order", "Failed", None, "r1")])
        connection.execute(ROW, (HOSTILE, "Succeeded", 3, "r1"))
    connection.close()
    return path


def test_a_table_fits_80_columns(warehouse: Path) -> None:
    """Names over columns, numbers to the right, NULL spelled, hostile names as text, the count below."""
    done = run("query", "SELECT table_name, status, rows_written FROM meta.monitoring_integration ORDER BY rowid")
    assert done.out.splitlines() == [
        "table_name                              status     rows_written",
        "--------------------------------------  ---------  ------------",
        "Customer                                Succeeded            10",
        "Order                                   Failed             NULL",
        f"{HOSTILE_SHOWN}  Succeeded             3",
        "(3 rows)",
    ]


def test_long_values_are_cut_to_the_width(warehouse: Path) -> None:
    """What doesn't fit is cut in the middle, the short columns whole; no line is longer than the terminal."""
    done = run("query", f"SELECT 'id-1' AS id, '{'a' * 100}{'z' * 100}' AS text, 'ok' AS status")
    lines = done.out.splitlines()
    assert max(map(len, lines)) <= 80
    assert "aaa…zzz" in lines[2]
    assert lines[2].startswith("id-1  aaa")
    assert lines[2].endswith("zzz  ok")


def test_many_columns_become_lines(warehouse: Path) -> None:
    """A row that can't fit beside its names is shown below them."""
    done = run("query", "SELECT * FROM meta.monitoring_integration ORDER BY rowid")
    lines = done.out.splitlines()
    assert lines[0].startswith("-- row 1 --")
    assert lines[1].split() == ["table_name", "Customer"]
    assert lines[-1] == "(3 rows)"
    assert max(map(len, lines)) <= 80


def test_json_is_whole_and_harmless(warehouse: Path) -> None:
    """JSON gives every value as it is, an object a row, and nothing that a terminal obeys."""
    done = run("query", "SELECT table_name, rows_written FROM meta.monitoring_integration", "--format", "json")
    assert json.loads(done.out) == [
        {"table_name": "Customer", "rows_written": 10},
        {"table_name": "Order", "rows_written": None},
        {"table_name": HOSTILE, "rows_written": 3},
    ]
    assert "\x1b" not in done.out
    assert "\u202e" not in done.out


def test_json_has_no_word_for_some_values(warehouse: Path) -> None:
    """Two columns of one name, bytes and infinity still make JSON that any reader takes."""
    done = run("query", "SELECT 1 AS a, 2 AS a, x'00ff' AS b, 9e999 AS c", "--format", "json")
    assert json.loads(done.out, parse_constant=pytest.fail) == [{"a": 1, "a_2": 2, "b": "00ff", "c": "inf"}]


def test_csv_is_faithful(warehouse: Path) -> None:
    """CSV reads back to the letter, NULL as an empty field."""
    done = run("query", "SELECT table_name, rows_written FROM meta.monitoring_integration", "--format", "csv")
    assert list(csv.reader(io.StringIO(done.out))) == [
        ["table_name", "rows_written"],
        ["Customer", "10"],
        ["Order", ""],
        [HOSTILE, "3"],
    ]


def test_sql_from_stdin(warehouse: Path) -> None:
    """A dash reads the statement from stdin."""
    assert run("query", "-", "--format", "csv", given="SELECT 1 AS one").out == "one\n1\n"


def test_where_the_warehouse_is(tmp_path: Path, warehouse: Path) -> None:
    """--warehouse beats the environment, before the command and after it."""
    elsewhere = f"sqlite:///{tmp_path / 'elsewhere.db'}"
    assert run("--warehouse", elsewhere, "migrate").code == 0
    count = ("query", "SELECT COUNT(*) AS n FROM meta.monitoring_integration", "--format", "csv")
    assert run(*count).out == "n\n3\n"
    assert run("--warehouse", elsewhere, *count).out == "n\n0\n"
    assert run(*count, "--warehouse", elsewhere).out == "n\n0\n"
    done = run_program(*count, DBBTRACE_WAREHOUSE=elsewhere)
    assert (done.code, done.out) == (0, "n\n0\n")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nope",), ("No such command", "--help")),
        (("show",), ("RUN", "dbbtrace show --help")),
        (("query", "SELECT 1", "--format", "xml"), ("table", "json", "csv")),
        (("query", " "), ("empty", "SELECT")),
        (("query", "SELCT 1"), ("syntax error",)),
        (("--warehouse", "what is this", "runs"), ("sqlite:///file.db",)),
        (("--warehouse", "none", "runs"), ("--warehouse", "DBBTRACE_WAREHOUSE")),
        (("--warehouse", "mssql://s/d?PWD=hunter2", "migrate"), ("mssql://",)),
        (("record-dbt", "nowhere", "--run", "r"), ("nowhere",)),
        (("record-dbt", "."), ("--run",)),
        (("runs", "--limit", "0"), ("--limit",)),
        (("runs", "--since", "last tuesday"), ("--since", "7d", "yesterday")),
    ],
)
def test_bad_input_is_refused_in_one_line(warehouse: Path, arguments: tuple[str, ...], words: tuple[str, ...]) -> None:
    """One line on stderr that says what to do, exit code 2, nothing on stdout, no password anywhere."""
    done = run(*arguments)
    assert_one_line(done, *words)
    assert "hunter2" not in done.err


def test_a_missing_warehouse_is_not_made_by_reading(tmp_path: Path) -> None:
    """Reading where nothing was written says so, and leaves no empty file behind."""
    assert_one_line(run("runs"), "dbb_warehouse.db", "migrate", code=4)
    assert list(tmp_path.glob("*.db*")) == []


def test_a_fault_of_ours_is_one_line_too(warehouse: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Never a traceback, unless DBBTRACE_STRICT asks for it."""

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("no\nway")

    monkeypatch.setattr("dbbtrace.warehouse.Warehouse.query", broken)
    assert_one_line(run("query", "SELECT 1"), "RuntimeError: no way", "DBBTRACE_STRICT", code=4)


def test_migrate_says_what_it_did(tmp_path: Path) -> None:
    """Once it creates, then there is nothing to do; a dry run prints SQL alone, and leaves nothing behind."""
    dry = run("migrate", "--dry-run")
    assert list(tmp_path.glob("*.db*")) == []
    done = run("migrate")
    assert "created table meta.monitoring_integration\n" in done.out
    assert run("migrate").out == "nothing to do: schema, tables and columns exist\n"
    again = run("migrate", "--dry-run")
    assert (again.code, again.out) == (0, "")

    by_hand = sqlite3.connect(":memory:")
    by_hand.execute("ATTACH ':memory:' AS meta")
    by_hand.executescript(dry.out)
    tables = {row[0] for row in by_hand.execute("SELECT name FROM meta.sqlite_master WHERE type = 'table'")}
    assert tables == {
        "monitoring_run_part",
        "monitoring_integration",
        "monitoring_transformation_dbt",
        "monitoring_semantic_model_refresh",
    }


def test_help_is_quick_and_light() -> None:
    """The help of every command imports neither rich, msgspec, sqlite3, pyodbc nor the delivery."""
    import subprocess

    heavy = ("rich", "msgspec", "sqlite3", "pyodbc", "requests", "grpc", "dbt", "duckdb", "dbbtrace.delivery")
    code = f"""
import sys
from click.testing import CliRunner
from dbbtrace.cli.commands import dbbtrace
for command in dbbtrace.commands:
    assert CliRunner().invoke(dbbtrace, [command, "--help"]).exit_code == 0
print([name for name in {heavy!r} if name in sys.modules])
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


def test_version(tmp_path: Path) -> None:
    """What to put into a bug report; --version gives the number alone."""
    from dbbtrace import __version__

    assert run_program("version").out.startswith(f"dbbtrace {__version__}\nPython 3.")
    assert run("--version").out == f"{__version__}\n"


def test_a_reader_that_leaves_early(warehouse: Path) -> None:
    """`dbbtrace query ... | head -1` ends without a word."""
    import subprocess

    sql = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 50000) SELECT i FROM n"
    process = subprocess.Popen(
        [sys.executable, "-m", "dbbtrace", "query", sql], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == ""
    process.wait(30)


def test_times_have_one_form_on_every_server(warehouse: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server's driver has times where SQLite has texts: what is printed is the same."""
    server = Server(tmp_path / "server.db")
    server.stand_in(monkeypatch)
    monkeypatch.setattr(Cursor, "fetchall", _with_times)
    whole, exact = "2026-11-24 07:00:12", "2026-11-24 07:00:12.25"
    sql = f"SELECT '{whole}' AS a, '{exact}' AS b, '{whole}.000000' AS c, 'at {whole}' AS d"
    said = {}
    for url in (f"sqlite:///{warehouse}", "Server=dw;Database=dbb;UID=u;PWD=p"):
        forms = [run("--warehouse", url, "query", sql, "--format", form).out for form in ("json", "csv", "table")]
        said[url] = [json.loads(forms[0]), *forms[1:]]
    first, second = said.values()
    assert first == second
    assert first[0] == [
        {
            "a": "2026-11-24T07:00:12.000000Z",
            "b": "2026-11-24T07:00:12.250000Z",
            "c": "2026-11-24T07:00:12.000000Z",
            "d": f"at {whole}",
        }
    ]
    assert first[1] == f"a,b,c,d\n{whole},{whole}.250000,{whole},at {whole}\n"


def _with_times(cursor: Cursor) -> list[tuple[Any, ...]]:
    """The rows as pyodbc gives them, with times."""

    def timed(value: Any) -> Any:
        with suppress(TypeError, ValueError):
            return datetime.strptime(f"{value}.0" if "." not in value else value, "%Y-%m-%d %H:%M:%S.%f")
        return value

    return [tuple(map(timed, row)) for row in cursor._cursor.fetchall()]
