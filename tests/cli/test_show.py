"""``dbbtrace show`` and ``dbbtrace runs``: what people and programs read about a run."""

from __future__ import annotations

import json
import re
from dataclasses import fields, replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from rich.cells import cell_len

from dbbtrace.answers import Operation
from dbbtrace.cli.tree import run_tree
from dbbtrace.warehouse import Warehouse, open_warehouse
from tests.cli.support import HOSTILE, HOSTILE_SHOWN, assert_one_line, run, run_program

RUN = "8f14e45f-ceea-467f-a0e6-1b2c3d4e5f60"
NOON = datetime(2026, 11, 24, 12, tzinfo=timezone.utc)


def operation(name: str, status: str = "Succeeded", start: float = 0, seconds: float = 1, **more: Any) -> Operation:
    """An operation ``start`` seconds after noon; one with a unique_id is a dbt node."""
    workload, kind = ("transformation", "dbt_node") if "unique_id" in more else ("integration", "table_load")
    started = NOON + timedelta(seconds=start)
    ran = {} if status == "Skipped" else {"started_at": started, "ended_at": started + timedelta(seconds=seconds)}
    given: dict[str, Any] = dict.fromkeys(field.name for field in fields(Operation))
    given |= {"run_id": RUN, "name": name, "status": status, "word": status, "data_product": "Shop"}
    given |= {"operation_id": more.pop("unique_id", f"MDS/mdm/{name}"), "environment": "TST", "seconds": seconds}
    given |= {"workload": workload, "kind": kind, "depends_on": (), "superseded": False}
    return Operation(**{**given, **ran, **more})


def node(unique_id: str, *arguments: Any, **more: Any) -> Operation:
    """A dbt node."""
    return operation(unique_id.rpartition(".")[2], *arguments, unique_id=unique_id, **more)


MIXED = [
    operation("mdm.Customer", start=0, seconds=4, rows_read=10, rows_written=10, bytes_written=4096),
    operation("mdm.Order", "Failed", 4, 2, error_type="pyodbc.OperationalError", error_message="login timeout"),
    operation("mdm.Item", start=6, seconds=2, rows_read=12, rows_written=11),
    node("model.shop.stg_order", "Failed", 8, 1, error_message="no such table", depends_on=("source.shop.mdm.order",)),
    node("test.shop.unique_item_id.0f9e8d7c6b", "Warned", 9, 1, error_message="Got 2 results"),
    node(
        "model.shop.order.v2", "Skipped", error_message="Skipped due to upstream failure: model.shop.stg_order (error)"
    ),
    operation("Finance", "Running", 10, 6, workload="consumption", kind="model_refresh"),
]


def lines_of(operations: list[Operation], **options: Any) -> list[str]:
    """The tree as plain text."""
    return [line.plain for line in run_tree(RUN, operations, **options)]


def test_the_tree() -> None:
    """Workloads, operations with bars on one axis, rows, bytes, times, and why; every status is a word."""
    assert lines_of(MIXED) == [
        f"run   {RUN}  ✗ Failed",
        "trace 8f14e45fceea467fa0e61b2c3d4e5f60",
        "      Shop, TST, 2026-11-24 12:00:00 UTC, 16.0 s",
        "",
        "                                   0                   16.0 s   time rows  bytes",
        "integration            ✗ Failed    █████████████              8.00 s   21 4.1 kB",
        "├─ mdm.Customer        ✓ Succeeded ██████                     4.00 s   10 4.1 kB",
        "├─ mdm.Order           ✗ Failed          ████                 2.00 s",
        "│    OperationalError: login timeout",
        "└─ mdm.Item            ✓ Succeeded          ████              2.00 s   11",
        "     12 rows read, 11 written",
        "transformation         ✗ Failed                 ███           2.00 s",
        "├─ model stg_order     ✗ Failed                 ██            1.00 s",
        "│    no such table",
        "│    it reads mdm.Order, whose load failed",
        "├─ test unique_item_id ! Warned                  ██           1.00 s",
        "│    Got 2 results",
        "└─ model order.v2      ○ Skipped",
        "     Skipped due to upstream failure: model stg_order (error)",
        "consumption            … Running                   ██████████ 6.00 s",
        "└─ Finance             … Running                   ██████████ 6.00 s",
        "7 operations: 2 succeeded, 1 warned, 1 skipped, 2 failed, 1 running",
    ]


@pytest.mark.parametrize("width", [60, 80, 100, 200])
def test_no_line_is_longer_than_the_terminal(width: int) -> None:
    """Long names and messages are cut or wrapped, also where letters are two columns wide."""
    long = [
        replace(each, name=each.name + "東京" * 60, error_message=f"{each.error_message} {'message ' * 60}")
        for each in MIXED
    ]
    assert max(map(cell_len, lines_of(long, width=width, whole=True))) <= width


def test_ascii_alone() -> None:
    """Where the terminal can draw no more, ASCII does."""
    text = "\n".join(lines_of(MIXED, ascii_only=True))
    assert text.isascii()
    assert "|- mdm.Order           x Failed          ####" in text


def test_hostile_names_and_messages_show_as_text() -> None:
    """Names, messages and statuses from anywhere can't colour, break lines or write markup."""
    hostile = [operation(HOSTILE, HOSTILE, error_message=HOSTILE, data_product=None, environment=HOSTILE)]
    hostile += [replace(MIXED[1], name=HOSTILE, error_type=HOSTILE, error_message="[bold]x[/bold]\x1b[2J")]
    text = "\n".join(lines_of(hostile, width=200))
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert HOSTILE_SHOWN in text
    assert r"[bold]x[/bold]\x1b[2J" in text


def test_many_operations_are_summed_up() -> None:
    """Of many operations those that did not succeed are all shown, and the slowest of the rest; --all shows all."""
    many = [node(f"model.shop.m{n}", start=n, seconds=1 + n % 7) for n in range(500)]
    many[250:253] = [replace(each, status="Failed", error_message="boom") for each in many[250:253]]
    lines = lines_of(many)
    assert len(lines) < 70
    assert [line for line in lines if "✗ Failed" in line and "model" in line] == [
        line for line in lines if re.search(r"model m25[012] ", line)
    ]
    assert any(re.search("460 more +✓ Succeeded", line) for line in lines)
    assert lines[-1] == "460 operations are summed up; --failed shows what did not succeed, --all shows all"
    whole = lines_of(many, whole=True)
    assert sum("model m" in line for line in whole) == 500


def test_a_load_repeated_with_success_is_no_failure() -> None:
    """Where a table was loaded twice in a run, the load that started last is its outcome."""
    again = [replace(MIXED[1], superseded=True), operation("mdm.Order", "Succeeded", 7, 1, rows_written=7)]
    lines = lines_of(again)
    assert lines[0].endswith("✓ Succeeded")
    assert "✗ Failed" in lines[6]
    assert lines[8].strip() == "│    done again later in this run"
    assert lines[-1] == "2 operations: 1 succeeded, 1 done again later"


def test_nothing_known_but_the_name() -> None:
    """Rows of hand-made writers may have no times, ids or messages."""
    bare = [replace(operation("T", "Failed"), started_at=None, ended_at=None, seconds=None, data_product=None)]
    assert lines_of(bare)[-3:] == ["└─ T        ✗ Failed", "     no reason is recorded", "1 operation: 1 failed"]
    assert lines_of([])[-1] == "0 operations"


# -- through a warehouse ------------------------------------------------------------------------------------

LOAD = """INSERT INTO meta.monitoring_integration
(table_name, schema_name, status, timestamp, duration, rows_written, data_product, orchestration_run_id, error_message,
 environment, process_started_at, process_completed_at) VALUES (?, 'mdm', ?, ?, 2, 10, ?, ?, ?, ?, ?, ?)"""


def load(warehouse: Warehouse, run_id: str, table: str, status: str, at: str, product: str, environment: str) -> None:
    """A row as an exporter writes it."""
    end = at[:-2] + f"{int(at[-2:]) + 2:02d}"
    message = "it broke" if status == "Failed" else None
    warehouse.query(LOAD, (table, status, at, product, run_id, message, environment, at, end))


@pytest.fixture
def three_runs() -> None:
    """Three runs in the default warehouse."""
    warehouse = open_warehouse("sqlite:///dbb_warehouse.db")
    load(warehouse, RUN, "Customer", "Succeeded", "2026-11-24 12:00:00", "Shop", "TST")
    load(warehouse, RUN, "Order", "Failed", "2026-11-24 12:00:02", "Shop", "TST")
    load(warehouse, RUN.replace("8f", "9a"), "Customer", "Succeeded", "2026-11-23 12:00:00", "Shop", "PRD")
    load(warehouse, "8f14e45f-0000-467f-a0e6-1b2c3d4e5f60", HOSTILE, "Succeeded", "2026-11-22 12:00:00", "Other", "TST")
    warehouse.close()


@pytest.mark.parametrize("named", [RUN, RUN.upper(), RUN.replace("-", ""), "8f14e45f-c", "8f14e45fc", "last"])
def test_show_finds_the_run(three_runs: None, named: str) -> None:
    """A run id, a trace id, the start of either, or last."""
    done = run("show", named)
    assert done.code == 0, done.err
    assert done.out.startswith(f"run   {RUN}  ✗ Failed\n")
    assert "     it broke\n" in done.out


def test_show_says_why_it_finds_none(three_runs: None) -> None:
    """What fits none, or several, is refused with what to do."""
    assert_one_line(run("show", "8f14"), "matches 2 runs", "write more")
    assert_one_line(run("show", "zz"), "'zz'", "dbbtrace runs")
    assert_one_line(run("show", "\x1b[31m"), r"\x1b[31m")


def test_show_as_json(three_runs: None) -> None:
    """Every operation with all that is known of it, times in UTC."""
    shown = json.loads(run("show", "last", "--json").out)
    assert shown["orchestration_run_id"] == RUN
    first, second = shown["operations"]
    assert (first["name"], first["status"], first["rows_written"]) == ("mdm.Customer", "Succeeded", 10)
    assert (second["started_at"], second["seconds"]) == ("2026-11-24T12:00:02.000000Z", 2.0)
    assert second["error_message"] == "it broke"


def test_runs_lists_them(three_runs: None) -> None:
    """Newest first, as many letters of the id as tell the runs apart; whole ids on a wide terminal."""
    assert run("runs").out.splitlines() == [
        "run         started (UTC)     status         time  failed  product  env",
        "----------  ----------------  -----------  ------  ------  -------  ---",
        "8f14e45f-c  2026-11-24 12:00  ✗ Failed     4.00 s  1 of 2  Shop     TST",
        "9a14e45f-c  2026-11-23 12:00  ✓ Succeeded  2.00 s  0 of 1  Shop     PRD",
        "8f14e45f-0  2026-11-22 12:00  ✓ Succeeded  2.00 s  0 of 1  Other    TST",
    ]
    assert run("runs", columns=120).out.splitlines()[2].startswith(f"{RUN}  2026-11-24 12:00")
    assert max(map(len, run("runs", columns=60).out.splitlines())) <= 60


@pytest.mark.parametrize(
    ("options", "count"),
    [
        ((), 3),
        (("--limit", "1"), 1),
        (("--data-product", "Shop"), 2),
        (("--environment", "prd"), 1),
        (("--status", "failed"), 1),
        (("--since", "2026-11-23"), 2),
        (("--since", "2026-11-23T12:00:01Z"), 1),
        (("--since", "1m", "--status", "Warned"), 0),
    ],
)
def test_runs_filters(three_runs: None, options: tuple[str, ...], count: int) -> None:
    """Each filter alone, and several together."""
    assert len(json.loads(run("runs", "--json", *options).out)) == count


def test_no_runs(three_runs: None) -> None:
    """An empty list says so on stderr, and leaves stdout empty for a pipe."""
    done = run("runs", "--since", "1m")
    assert (done.code, done.out) == (0, "")
    assert "no run matches" in done.err


def test_in_a_pipe_without_colour(three_runs: None) -> None:
    """In a pipe nothing but text comes out, 80 columns wide, readable in the C locale and on old consoles too."""
    plain = run_program("show", "last", NO_COLOR="1")
    assert (plain.code, plain.err) == (0, "")
    assert "\x1b" not in plain.out
    assert max(map(cell_len, plain.out.splitlines())) <= 80
    old = run_program("show", "last", PYTHONIOENCODING="cp437")
    assert (old.code, old.err) == (0, "")
    ascii_ = run_program("runs", PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert (ascii_.code, ascii_.err) == (0, "")
    assert "x Failed" in ascii_.out


def test_colour_where_it_is_wanted(three_runs: None) -> None:
    """A terminal gets colours, unless NO_COLOR says otherwise."""
    colour = re.compile(r"\x1b\[[0-9;]*3[0-9][0-9;]*m")
    assert colour.search(run_program("show", "last", FORCE_COLOR="1", TERM="xterm-256color").out)
    assert not colour.search(run_program("show", "last", FORCE_COLOR="1", NO_COLOR="1", TERM="xterm-256color").out)


def test_thousands_that_did_not_succeed_are_summed_up() -> None:
    """The failures come first; --failed shows all of what did not succeed, and nothing else."""
    many = [
        *[operation(f"good{number}", start=number) for number in range(500)],
        *[node(f"model.shop.m{number}", "Skipped") for number in range(2000)],
        *[node(f"model.shop.f{number}", "Failed", 600 + number) for number in range(5)],
    ]
    lines = lines_of(many)
    assert len(lines) < 140
    assert sum("model f" in line for line in lines) == 5
    assert any("1,965 more" in line and "Skipped" in line for line in lines)
    assert any("460 more" in line and "Succeeded" in line for line in lines)
    failed = lines_of(many, failed=True)
    assert failed[-1].endswith(" summed up; --all shows all")
    assert sum("model m" in line or "model f" in line for line in failed) == 2005
    assert not any("good" in line for line in failed)


RETRIED = """
import dbbtrace
with dbbtrace.orchestration_run("night", data_product="Shop", environment="TST"):
    with dbbtrace.table_load("Customer", schema="mdm", source="MDS") as load:
        for attempt in load.attempts(3):
            with attempt:
                if attempt.number < 3:
                    raise TimeoutError(f"no answer at try {attempt.number}")
"""


def test_retries_show(tmp_path: Any) -> None:
    """Each attempt that failed with its error: in the tree, in JSON, on the page. The load succeeded all the same."""
    import subprocess
    import sys

    subprocess.run([sys.executable, "-c", RETRIED], check=True, capture_output=True)
    text = run("show", "night").out
    assert "✓ Succeeded" in text
    assert "attempt 1 failed: TimeoutError: no answer at try 1" in text
    assert "attempt 2 failed: TimeoutError: no answer at try 2" in text
    [load] = json.loads(run("show", "night", "--json").out)["operations"]
    assert [(each["attempt"], each["error_message"]) for each in load["attempts"]] == [
        (1, "no answer at try 1"),
        (2, "no answer at try 2"),
    ]
    assert "no answer at try 2" in run("report", "night", "-o", "-").out


def test_check_fits_the_terminal(three_runs: None) -> None:
    """80 columns are enough for every line, however long a message is."""
    with open_warehouse("sqlite:///dbb_warehouse.db") as warehouse:
        warehouse.query(
            "UPDATE meta.monitoring_integration SET error_message = ? WHERE status = 'Failed'", ("no " * 90,)
        )
    for command in (("check", RUN), ("watch", "--once", "--since", "2026-11-01")):
        done = run(*command)
        assert done.code == 1
        assert "mdm.Order" in done.out
        assert max(map(cell_len, done.out.splitlines())) <= 80


def test_tests_of_dbt_have_names(tmp_path: Any) -> None:
    """Not the hash with which their unique_id ends: in views and answers."""
    with open_warehouse("sqlite:///dbb_warehouse.db") as warehouse:
        for unique_id in ("test.shop.unique_item_id.0f9e8d7c6b", "test.shop.sums_agree", "model.shop.orders"):
            warehouse.query(
                "INSERT INTO meta.monitoring_transformation_dbt (item_name, unique_id, invocation_id, status,"
                " environment, build_models, orchestration_run_id, process_stage)"
                " VALUES (?, ?, 'i', 'fail', 'TST', '', 'night', 'execute')",
                (unique_id.rpartition(".")[2], unique_id),
            )
    found = json.loads(run("show", "night", "--json").out)["operations"]
    assert sorted(each["name"] for each in found) == ["orders", "sums_agree", "unique_item_id"]
    assert "0f9e8d7c6b" not in run("check", "night").out + run("failures", "night").out


def test_a_run_of_which_only_the_id_is_known_is_named_by_it() -> None:
    """No blanks follow where product and environment would be."""
    with open_warehouse("sqlite:///dbb_warehouse.db") as warehouse:
        warehouse.query(
            "INSERT INTO meta.monitoring_integration (table_name, status, timestamp, orchestration_run_id)"
            " VALUES ('rates', 'Failed', '2026-11-24 07:00:00', 'night')"
        )
    assert run("failures", "night").out.splitlines()[0] == "run night"
