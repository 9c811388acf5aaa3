"""``watch``, ``today`` and ``ack``: what a person is told in the morning, once, and what they say that they know."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from dbbtrace.answers import webhook
from dbbtrace.answers.check import Problem
from dbbtrace.answers.memory import Memory
from dbbtrace.answers.schedule import schedule_of
from dbbtrace.answers.watch import Alert
from dbbtrace.errors import UsageError
from dbbtrace.warehouse import open_warehouse
from tests.cli.support import Done, assert_one_line, run

WAREHOUSE = "sqlite:///dbb_warehouse.db"
WORKSPACE, PIPELINE, PIPELINE_RUN = (f"{digit * 8}-1111-4111-8111-{digit * 12}" for digit in "abc")
LOAD = """\
INSERT INTO meta.monitoring_integration
    (table_name, schema_name, source_name, load_type, status, timestamp, duration, rows_written, data_product,
     orchestration_run_id, environment, error_message, workspace, integration_pipeline_id,
     integration_pipeline_source_run_id)
VALUES (?, 'mdm', 'MDS', 'FULL', ?, ?, 2, ?, ?, ?, 'PRD', ?, ?, ?, ?)"""


def load(
    run_id: str, hours_ago: float, status: str = "Succeeded", product: str = "Sales", table: str = "Customer",
    rows: int = 1000,
) -> None:  # fmt: skip
    """A load that other programs recorded, the only one of its run."""
    at = (datetime.now(timezone.utc) - timedelta(hours=hours_ago)).strftime("%Y-%m-%d %H:%M:%S")
    message = "login timeout" if status == "Failed" else None
    with open_warehouse(WAREHOUSE) as warehouse:
        warehouse.query(LOAD, (table, status, at, rows, product, run_id, message, WORKSPACE, PIPELINE, PIPELINE_RUN))


def watch(*arguments: str) -> Done:
    return run("watch", "--once", *arguments)


def titles(done: Done) -> list[str]:
    return [json.loads(line)["title"] for line in done.out.splitlines()]


def test_each_thing_is_told_once_and_once_that_all_is_well() -> None:
    """Also by the next watch: a file remembers. What was told before still ends the command with 1."""
    load("night-1", 10, "Failed")
    assert titles(watch("--json")) == ["Sales PRD failed"]
    again = watch("--json")
    assert (again.code, again.out, again.err) == (1, "", "1 problem told before\n")

    load("night-2", 8)
    done = watch("--json")
    assert (titles(done), done.code) == (["Sales PRD is well again"], 1)  # the failed run is still among the last day's
    assert titles(watch("--json")) == []

    load("night-3", 7, "Failed")
    assert titles(watch("--json")) == ["Sales PRD failed"]
    assert watch("--since", "1h").code == 0


def test_the_memory_is_one_whole_file(tmp_path: Path) -> None:
    """A file that makes no sense costs a second telling, never the alert; other warehouses keep theirs."""
    load("night-1", 10, "Failed")
    state = tmp_path / "watch.json"
    assert titles(watch("--json", "--state", str(state))) == ["Sales PRD failed"]
    other = Memory(state, "another")
    other.tell({"x"}, datetime.now(timezone.utc))
    other.save(datetime.now(timezone.utc))
    assert titles(watch("--json", "--state", str(state))) == []
    assert Memory(state, "another").has_told({"x"})
    state.write_text('{"torn')
    assert titles(watch("--json", "--state", str(state))) == ["Sales PRD failed"]
    assert [path.name for path in tmp_path.glob("watch.json*")] == ["watch.json"]


def due_hours_ago(hours: float) -> str:
    """A time of day in Brussels."""
    at = datetime.now(timezone.utc) - timedelta(hours=hours)
    return at.astimezone(ZoneInfo("Europe/Brussels")).strftime("%H:%M")


def test_a_run_that_is_due_and_does_not_come_is_told() -> None:
    """With a schedule; without one nobody knows when it is due. Once a slot, for a product that never ran too."""
    load("night-1", 30)
    assert watch().code == 0
    schedule = f"{due_hours_ago(2)} Europe/Brussels"
    done = watch("--data-product", "Sales", "--environment", "PRD", "--schedule", schedule)
    assert done.code == 1
    assert "Sales PRD did not run" in done.out
    assert f"{due_hours_ago(2)} (Europe/Brussels) has not started" in " ".join(done.out.split())
    assert watch("--schedule", f"Sales PRD={schedule}").out == ""
    assert "Finance PRD did not run" in watch("--schedule", f"Finance PRD={schedule}").out
    load("day-1", 1.9)
    assert titles(watch("--json", "--schedule", f"Sales PRD={schedule}")) == ["Sales PRD is well again"]
    assert_one_line(watch("--schedule", schedule), "whose schedule")
    assert_one_line(watch("--schedule", "Sales=8 o'clock"), "8 o'clock", "08:00")
    assert_one_line(watch("--schedule", "Sales=08:00 Europe/Brusels"), "did you mean Europe/Brussels")


@pytest.mark.parametrize(
    ("text", "now", "due"),
    [
        ("08:00,12:30,15:30,18:00 Europe/Brussels", "2026-07-02T11:00", "2026-07-02T10:30"),
        ("08:00 Europe/Brussels", "2026-01-02T07:30", "2026-01-02T07:00"),
        ("08:00 Europe/Brussels", "2026-01-02T06:30", "2026-01-01T07:00"),
        ("Mon-Fri 08:00 UTC", "2026-11-29T12:00", "2026-11-27T08:00"),
        ("Sun 8:00", "2026-11-28T12:00", "2026-11-22T07:00"),
    ],
)
def test_when_a_run_is_due(text: str, now: str, due: str) -> None:
    """Local times, summer and winter; days of the week."""
    at = datetime.fromisoformat(f"{now}+00:00")
    assert schedule_of(text, "Sales", None, "Europe/Brussels").last_due(at) == datetime.fromisoformat(f"{due}+00:00")


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.bodies.append((self.path, body))  # type: ignore[attr-defined]
        self.send_response(self.server.answer)  # type: ignore[attr-defined]
        self.end_headers()

    def log_message(self, *arguments: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Any]:
    made: Any = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.bodies, made.answer = [], 200
    threading.Thread(target=made.serve_forever, daemon=True).start()
    yield made
    made.shutdown()
    made.server_close()


def test_each_product_has_its_webhook_and_owner(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Others have the general one; the alert names the owner, and links to Fabric's page of the pipeline's run."""
    at = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("DBBTRACE_WEBHOOK_URL", f"{at}/all")
    monkeypatch.setenv("DBBTRACE_WEBHOOKS", json.dumps({"Finance": f"{at}/finance"}))
    monkeypatch.setenv("DBBTRACE_OWNERS", json.dumps({"Finance": "Ann"}))
    load("f", 2, "Failed", product="Finance")
    load("s", 1, "Failed", product="Sales")
    assert watch("--notify").code == 1
    sent = dict(server.bodies)
    assert (sent["/finance"]["data_product"], sent["/finance"]["owner"]) == ("Finance", "Ann")
    assert (sent["/all"]["data_product"], sent["/all"]["owner"]) == ("Sales", None)
    page = f"/workspaces/{WORKSPACE}/pipelines/{PIPELINE}/{PIPELINE_RUN}"
    assert sent["/all"]["page"].startswith("https://app.powerbi.com/")
    assert sent["/all"]["page"].endswith(page)


def test_what_the_webhook_did_not_take_is_told_again(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the next watch: an alert that reached nobody is not remembered as told."""
    monkeypatch.setenv("DBBTRACE_WEBHOOK_URL", f"http://127.0.0.1:{server.server_port}/")
    load("s", 1, "Failed")
    server.answer = 400
    assert titles(watch("--notify", "--json")) == ["Sales PRD failed"]
    server.answer, server.bodies[:] = 200, []
    assert titles(watch("--notify", "--json")) == ["Sales PRD failed"]
    assert len(server.bodies) == 1
    assert titles(watch("--notify", "--json")) == []


def test_slack_gets_plain_texts(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """No name becomes a link or a mention; sizes are within Slack's limits."""
    monkeypatch.setenv("DBBTRACE_WEBHOOK_URL", f"http://127.0.0.1:{server.server_port}/")
    monkeypatch.setenv("DBBTRACE_WEBHOOK_FORMAT", "slack")
    load("s", 1, "Failed", table="<!channel> *bold*")
    watch("--notify")
    [(_, body)] = server.bodies
    texts = [block["text"] for block in body["blocks"] if "text" in block]
    assert {text["type"] for text in texts} == {"plain_text"}
    assert any("<!channel> *bold*" in text["text"] and "login timeout" in text["text"] for text in texts)
    assert body["blocks"][-1]["elements"][0]["url"].startswith("https://app.powerbi.com/")
    long = Alert("r", "<!here>" * 400, None, tuple(Problem("failed", "x" * 9000) for _ in range(90)))
    made = webhook.as_slack(long)
    assert len(made["blocks"]) <= 50
    assert all(len(block["text"]["text"]) <= 3000 for block in made["blocks"] if "text" in block)
    assert "<" not in made["text"]


def test_today_is_one_line_a_product() -> None:
    """The worst first, with since when and the one reason; it fits 80 columns."""
    for day in range(1, 4):
        load(f"finance-{day}", 24 * day, product="Finance")
    load("sales-1", 72)
    load("sales-2", 48, "Failed")
    load("sales-3", 24, "Failed")
    found = json.loads(run("today", "--json").out)
    assert [(each["data_product"], each["verdict"], each["runs"]) for each in found] == [
        ("Sales", "Failed", 2),
        ("Finance", "Succeeded", 3),
    ]
    assert "login timeout" in found[0]["reason"]["text"]
    shown = run("today").out.splitlines()
    assert shown[0].startswith("✗ Failed      Sales PRD    since ")
    told = shown[0].rsplit("  ", 1)[1]
    assert told.endswith("…")
    assert found[0]["reason"]["text"].startswith(told[:-1]), told
    assert max(map(len, shown)) <= 80
    assert_one_line(run("today", "--data-product", "Sale"), "did you mean Sales?")


def night(number: int, rows: int) -> None:
    load(f"night-{number}", 24 * (12 - number), rows=rows)


def test_an_acknowledged_table_warns_no_more() -> None:
    """Until the time that was said; the verdict names the reason. A name that nobody knows is refused."""
    for number in range(1, 11):
        night(number, 1000 + number)
    night(11, 12)
    assert json.loads(run("check", "last", "--json").out)["verdict"] == "Warned"
    assert_one_line(run("ack", "mdm.Custome", "--reason", "x"), "neither a run nor a table", "mdm.Customer")
    assert_one_line(run("ack", "mdm.Customer", "--reason", "x", "--until", "2020-01-01"), "is over")
    done = run("ack", "MDM.customer", "--reason", "the source was emptied", "--until", "2d")
    assert done.code == 0, done
    assert "mdm.Customer of Sales is acknowledged until" in done.out
    found = json.loads(run("check", "last", "--json").out)
    assert found["verdict"] == "Succeeded"
    assert any("the source was emptied" in reason["text"] for reason in found["reasons"])
    with open_warehouse(WAREHOUSE) as warehouse:
        assert warehouse.query("SELECT part, name, error_message FROM meta.monitoring_run_part WHERE part = 'ack'").rows
        assert warehouse.query("UPDATE meta.monitoring_run_part SET process_completed_at = '2020-01-01'") is not None
    assert json.loads(run("check", "last", "--json").out)["verdict"] == "Warned"


def test_an_acknowledged_run_is_told_no_more() -> None:
    """It stays Failed, but watch leaves the person who knows in peace."""
    load("sales-1", 2, "Failed")
    done = run("ack", "last", "--data-product", "Sales", "--reason", "we know")
    assert (done.code, done.out.splitlines()[-1]) == (0, "run sales-1 is Failed")
    assert watch().code == 0
    assert run("check", "sales-1").code == 1


def test_schedules_of_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """A table in the settings serves every watch; what is no table is refused."""
    load("night-1", 30)
    monkeypatch.setenv("DBBTRACE_SCHEDULES", json.dumps({"Sales PRD": f"{due_hours_ago(2)} Europe/Brussels"}))
    assert "Sales PRD did not run" in watch().out
    monkeypatch.setenv("DBBTRACE_TIMEZONE", "Europe/Brusels")
    for command in (("runs",), ("today",), ("check", "night-1"), ("watch", "--once")):
        assert_one_line(run(*command), "DBBTRACE_TIMEZONE", "Europe/Brusels", "write Europe/Brussels")
    monkeypatch.setenv("DBBTRACE_TIMEZONE", "UTC")
    monkeypatch.setenv("DBBTRACE_SCHEDULES", "08:00")
    assert_one_line(watch(), "DBBTRACE_SCHEDULES", "JSON object")
    with pytest.raises(UsageError):
        schedule_of("Mon-Xyz 08:00", "Sales", None, "UTC")
