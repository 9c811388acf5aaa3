"""``watch`` without a schedule: Fabric's job events tell when runs are due."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import date, datetime, time, timedelta, timezone
from pathlib import Path
from uuid import NAMESPACE_URL, uuid5
from zoneinfo import ZoneInfo

import pytest

import dbbtrace
from dbbtrace.answers.job_events import schedules_learned
from dbbtrace.answers.schedule import Schedule
from dbbtrace.warehouse import open_warehouse
from tests.cli.support import run

BRUSSELS = ZoneInfo("Europe/Brussels")
MONDAY = date(2026, 10, 12)
"""Two weeks before summer time ends."""


def imported(
    tmp_path: Path, scheduled: Iterable[datetime], *, invoked: str = "Scheduled", product: str = "Sales"
) -> None:
    """Runs that were scheduled then, started a little later, and succeeded."""
    events = []
    for at in scheduled:
        utc = at.astimezone(timezone.utc)
        events.append(
            {
                "item_name": f"orchestration_pipeline_{product}",
                "job_instance_id": str(uuid5(NAMESPACE_URL, f"{product} {at}")),
                "job_invoke_type": invoked,
                "job_status": "Completed",
                "job_schedule_time_utc": utc.isoformat(),
                "job_start_time_utc": (utc + timedelta(seconds=20)).isoformat(),
                "job_end_time_utc": (utc + timedelta(minutes=20)).isoformat(),
            }
        )
    file = tmp_path / "events.jsonl"
    file.write_text("\n".join(map(json.dumps, events)), encoding="utf-8")
    done = run("import-jobs", str(file), "--environment", "PRD")
    assert done.code == 0, done


def days(*numbers: int, at: str = "08:00") -> list[datetime]:
    """Local times on days after that Monday."""
    return [datetime.combine(MONDAY + timedelta(days=number), time.fromisoformat(at), BRUSSELS) for number in numbers]


def learned(now: datetime) -> list[Schedule]:
    with open_warehouse("sqlite:///dbb_warehouse.db") as warehouse:
        return schedules_learned(warehouse, now, "Europe/Brussels")


def due(*numbers: int, at: str = "08:00", now: int) -> list[tuple[str, list[int]]]:
    """What is learned on the evening of that day."""
    [evening] = days(now, at="20:00")
    found = learned(evening)
    return [(f"{each.times[0]:%H:%M}", sorted(each.days)) for each in found]


@pytest.mark.parametrize(
    ("scheduled", "now", "found"),
    [
        (range(5), 4, [("08:00", [0, 1, 2, 3, 4])]),
        (range(3), 2, []),  # three days are no habit
        ([*range(5), *range(7, 12)], 14, [("08:00", [0, 1, 2, 3, 4])]),  # a Monday on which it did not come
        ([*range(5), *range(7, 12)], 16, []),  # called off three days ago
        ([0, 7, 14], 21, [("08:00", [0])]),  # every Monday, over the end of summer time
        ([0, 7, 14], 28, [("08:00", [0])]),
        ([0, 7, 14], 35, []),
        ([0, 2, 4, 7, 9, 11, 14, 16, 18], 20, [("08:00", [0, 2, 4])]),
        ([5, 6, 12, 13], 15, [("08:00", [5, 6])]),
    ],
)
def test_what_job_events_teach(
    tmp_path: Path, scheduled: Iterable[int], now: int, found: list[tuple[str, list[int]]]
) -> None:
    """Every day of a kind, or days of the week; after two absences it is forgotten."""
    imported(tmp_path, days(*scheduled))
    assert due(now=now) == found


def test_several_times_a_day(tmp_path: Path) -> None:
    """One schedule, with the product's and environment's name."""
    imported(tmp_path, [*days(*range(5)), *days(*range(5), at="12:30")])
    [found] = learned(days(4, at="20:00")[0])
    assert (found.data_product, found.environment) == ("Sales", "PRD")
    assert [f"{each:%H:%M}" for each in found.times] == ["08:00", "12:30"]


def test_runs_by_hand_teach_nothing(tmp_path: Path) -> None:
    imported(tmp_path, days(*range(5)), invoked="Manual")
    assert learned(days(4, at="20:00")[0]) == []


def test_watch_tells_of_a_run_that_is_overdue(tmp_path: Path) -> None:
    """Of the product that is watched; a schedule that is said counts alone."""
    now = datetime.now(BRUSSELS)
    due = (now - timedelta(hours=2)).replace(second=0, microsecond=0)
    before = [due - timedelta(days=ago) for ago in range(1, 20)]
    imported(tmp_path, before)
    imported(tmp_path, [*before, due], product="Finance")
    with dbbtrace.join_run(str(uuid5(NAMESPACE_URL, f"Finance {due}")), data_product="Finance", environment="PRD"):
        with dbbtrace.table_load("Customer"):
            pass
    done = run("watch", "--once", "--json")
    assert done.code == 1
    [alert] = [json.loads(line) for line in done.out.splitlines()]
    assert alert["title"] == "Sales PRD did not run"
    assert f"{due:%H:%M} (Europe/Brussels) has not started" in alert["problems"][0]["text"]
    assert run("watch", "--once", "--data-product", "Finance").code == 0
    later = now + timedelta(hours=3)
    covered = run("watch", "--once", "--json", "--schedule", f"Sales PRD={later:%a %H:%M}", "--state", "other.json")
    assert (covered.code, covered.out) == (0, "")
