"""Which run is meant, and names that nobody knows: words, products, environments, times and time zones."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from dbbtrace.answers.moments import moment_meant
from dbbtrace.errors import UsageError
from dbbtrace.warehouse import open_warehouse
from tests.cli.support import Done, assert_one_line, run

BRUSSELS = ZoneInfo("Europe/Brussels")
NOW = datetime(2026, 7, 2, 6, 30, tzinfo=timezone.utc)
LOAD = """\
INSERT INTO meta.monitoring_integration
    (table_name, schema_name, status, timestamp, duration, data_product, orchestration_run_id, environment, workspace)
VALUES ('Customer', 'mdm', 'Succeeded', ?, 2, ?, ?, ?, ?)"""


def load(run_id: str, at: datetime, product: str, environment: str | None, workspace: str | None = None) -> None:
    """A hand-made row of one load, the only one of its run."""
    with open_warehouse("sqlite:///dbb_warehouse.db") as warehouse:
        started = at.astimezone(timezone.utc).strftime("%Y-%m-%d %H:%M:%S")
        warehouse.query(LOAD, (started, product, run_id, environment, workspace))


def recent(days: float) -> datetime:
    return datetime.now(timezone.utc) - timedelta(days=days)


@pytest.fixture
def nights() -> None:
    """Two nights of Sales in production, one of them in acceptance too, and Finance today."""
    load("finance-1", recent(0), "Finance", "PRD")
    load("sales-3", recent(3), "Group-Sales", "ACC")
    load("sales-2", recent(4), "Group-Sales", "PRD")
    load("sales-1", recent(5), "Group-Sales", "PRD")


def shown(done: Done) -> str:
    assert done.code in (0, 1, 3), done
    return str(json.loads(done.out)["orchestration_run_id"])


@pytest.mark.parametrize("command", ["show", "check"])
@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (("last",), "finance-1"),
        (("previous",), "sales-3"),
        (("last", "--data-product", "Group-Sales"), "sales-3"),
        (("last", "--data-product", "Group-Sales", "--environment", "prd"), "sales-2"),
        (("previous", "--data-product", "Group-Sales", "--environment", "PRD"), "sales-1"),
        (("sales-1", "--environment", "PRD"), "sales-1"),
    ],
)
def test_a_word_chooses_among_the_runs_in_scope(
    nights: None, command: str, arguments: tuple[str, ...], found: str
) -> None:
    """last and previous count only runs of the product and environment that were named."""
    assert shown(run(command, *arguments, "--json")) == found


def test_reports_and_failures_take_the_scope_too(nights: None) -> None:
    """The page is of the last run in scope, and failures look there."""
    assert "sales-2" in run("report", "last", "--data-product", "Group-Sales", "--environment", "PRD", "-o", "-").out
    assert "sales-2" in run("failures", "last", "--data-product", "Group-Sales", "--environment", "PRD").err


def test_yesterday_is_a_day_of_the_platform(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run shortly after midnight in Brussels is today's there, though UTC still has yesterday."""
    today = datetime.now(BRUSSELS).replace(hour=0, minute=0, second=1, microsecond=0)
    load("night", today, "Sales", "PRD")
    load("evening", today - timedelta(minutes=1), "Sales", "PRD")
    assert shown(run("show", "today", "--json")) == "night"
    assert shown(run("show", "yesterday", "--json")) == "evening"
    monkeypatch.setenv("DBBTRACE_TIMEZONE", "Pacific/Kiritimati")
    assert_one_line(run("show", "tomorrow"), "no run 'tomorrow'")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("show", "last", "--data-product", "Group-Sale"), ("'Group-Sale'", "did you mean Group-Sales?")),
        (("runs", "--data-product", "finance"), ("'finance'", "did you mean Finance?")),
        (("runs", "--environment", "PROD"), ("'PROD'", "did you mean PRD?")),
        (("runs", "--status", "Succeded"), ("'Succeded'", "did you mean Succeeded?")),
        (("failures", "--data-product", "xyz"), ("'xyz'", "known: Finance, Group-Sales")),
        (("audit", "--environment", "QUAL"), ("'QUAL'", "known: ACC, PRD")),
        (("watch", "--once", "--data-product", "Financ"), ("'Financ'", "did you mean Finance?")),
        (("check", "last", "--environment", "QUAL"), ("'QUAL'",)),
        (("check", "lst"), ("'lst'", "did you mean last?")),
        (("check",), ("which run", "DBBTRACE_ORCHESTRATION_RUN_ID")),
        (("runs", "--since", "2026-11-24 08:00 Europe/Brusels"), ("'Europe/Brusels'", "did you mean Europe/Brussels")),
    ],
)
def test_an_unknown_name_is_an_error(nights: None, arguments: tuple[str, ...], words: tuple[str, ...]) -> None:
    """Never an empty answer, which would read as good news."""
    assert_one_line(run(*arguments), *words)


def test_check_takes_the_run_from_the_environment(nights: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """As close does: the last activity of a pipeline need not repeat the run id."""
    monkeypatch.setenv("DBBTRACE_ORCHESTRATION_RUN_ID", "sales-2")
    assert shown(run("check", "--json")) == "sales-2"


def test_until(nights: None) -> None:
    """A span of time has two ends."""
    found = json.loads(run("runs", "--since", "6d", "--until", "84h", "--json").out)
    assert [each["run_id"] for each in found] == ["sales-2", "sales-1"]
    found = json.loads(run("audit", "--until", "84h", "--json").out)
    assert {each["run_id"] for each in found["runs"]} == {"sales-2", "sales-1"}


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("36h", "2026-06-30T18:30:00"),
        ("now", "2026-07-02T06:30:00"),
        ("today", "2026-07-01T22:00:00"),
        ("yesterday", "2026-06-30T22:00:00"),
        ("yesterday 18:00", "2026-07-01T16:00:00"),
        ("8:00", "2026-07-02T06:00:00"),
        ("yesterday 18:00 UTC", "2026-07-01T18:00:00"),
        ("2026-01-15", "2026-01-15T00:00:00"),
        ("2026-01-15 08:00", "2026-01-15T08:00:00"),
        ("2026-01-15 08:00 Europe/Brussels", "2026-01-15T07:00:00"),
        ("2026-07-15 08:00 Europe/Brussels", "2026-07-15T06:00:00"),
        ("2026-07-15T08:00:00+05:00", "2026-07-15T03:00:00"),
    ],
)
def test_times(text: str, meant: str) -> None:
    """What a person writes, summer time and all."""
    assert moment_meant(text, BRUSSELS, NOW) == datetime.fromisoformat(f"{meant}+00:00")


@pytest.mark.parametrize("text", ["", "soon", "now 08:00", "25:00", "2026-02-30", "yesterday Europe/Nowhere"])
def test_what_is_no_time_is_refused(text: str) -> None:
    """With the value in the message."""
    with pytest.raises(UsageError):
        moment_meant(text, BRUSSELS, NOW)


def test_hand_made_loads_get_the_environment_of_their_workspace(tmp_path: Path) -> None:
    """As meta.environments says it, whatever the case of the id; without one, workspaces are not mixed."""
    for number in range(2):
        load(f"a{number}", recent(number + 1), "Sales", None, "AAAA-1")
        load(f"b{number}", recent(number + 1), "Sales", None, "bbbb-2")
    assert {each["environment"] for each in json.loads(run("runs", "--json").out)} == {"aaaa-1", "bbbb-2"}
    counted = json.loads(run("audit", "--json").out)["products"]
    assert [(each["environment"], each["runs"]) for each in counted] == [("aaaa-1", 2), ("bbbb-2", 2)]

    with open_warehouse("sqlite:///dbb_warehouse.db") as warehouse:
        warehouse.query("CREATE TABLE meta.environments (workspace_id text, environment text)")
        warehouse.query("INSERT INTO meta.environments VALUES ('aaaa-1', 'PRD')")
    counted = json.loads(run("audit", "--json").out)["products"]
    assert [(each["environment"], each["runs"]) for each in counted] == [("PRD", 2), ("bbbb-2", 2)]
    assert shown(run("show", "last", "--environment", "prd", "--json")) == "a0"
    operations = json.loads(run("show", "a0", "--json").out)["operations"]
    assert [each["environment"] for each in operations] == ["PRD"]
