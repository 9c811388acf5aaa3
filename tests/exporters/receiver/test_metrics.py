"""What Prometheus reads at /metrics: the receiver's own counters, and how the newest runs went."""

from __future__ import annotations

import json
import re
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from dbbtrace_exporters.receiver import verdicts
from dbbtrace_exporters.receiver.exposition import Family, text_of

import dbbtrace
from dbbtrace.errors import RefusedError, TransientError
from dbbtrace.settings import resolve
from dbbtrace.warehouse import Warehouse, open_warehouse
from tests.cli.support import run as command
from tests.exporters.receiver.conftest import Store, body_of, call, load
from tests.verdict.situations import RUN, SITUATIONS, Stage

TOKEN = "a-token-that-is-long-enough"
HOSTILE = 'Shop "x" \\ {a="b"} ü\nnext 1'
Labels = frozenset[tuple[str, str]]
_SAMPLE = re.compile(r'([a-z_]+)(?:\{((?:[a-z_]+="(?:[^"\\\n]|\\[\\n"])*",?)*)\})? (\S+)')

_PLAIN = {"\\\\": "\\", "\\n": "\n", '\\"': '"'}


def parsed(text: str) -> dict[tuple[str, Labels], float]:
    """Name and labels → value. Every line must be one of the format, and every sample one of a declared metric."""
    found: dict[tuple[str, Labels], float] = {}
    declared: set[str] = set()
    for line in text.removesuffix("\n").split("\n"):
        if line.startswith("# TYPE "):
            name = line.split(" ")[2]
            assert name not in declared
            declared |= {name, f"{name}_bucket", f"{name}_sum", f"{name}_count"}
        elif not line.startswith("# HELP "):
            match = _SAMPLE.fullmatch(line)
            assert match, line
            assert match[1] in declared
            pairs = re.findall(r'([a-z_]+)="((?:[^"\\]|\\.)*)"', match[2] or "")
            labels = frozenset((key, re.sub(r"\\.", lambda one: _PLAIN[one[0]], said)) for key, said in pairs)
            assert (match[1], labels) not in found
            found[match[1], labels] = float(match[3])
    return found


def scraped(base: str, **headers: str) -> dict[tuple[str, Labels], float]:
    """What a receiver says."""
    answered = call(f"{base}/metrics", **headers)
    assert answered.status == 200
    assert answered.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return parsed(answered.body.decode())


def values(found: dict[tuple[str, Labels], float], name: str, label: str) -> dict[str, float]:
    """The metric's values by one of its labels."""
    return {dict(labels)[label]: value for (metric, labels), value in found.items() if metric == name}


def ran(product: str) -> None:
    """A run of the product, just now."""
    with dbbtrace.orchestration_run(str(uuid.uuid4()), data_product=product, environment="PRD"):
        with dbbtrace.table_load("Customer", schema="mdm", source="MDS"):
            pass


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    """A warehouse in which something happens."""
    stage = Stage(tmp_path / "w.db", tmp_path / "journal")
    monkeypatch.setenv("DBBTRACE_WAREHOUSE", stage.url)
    monkeypatch.setenv("DBBTRACE_JOURNAL_DIR", str(stage.journal))
    stage.configure()
    yield stage
    stage.end()


# -- the receiver itself --------------------------------------------------------------------------------------


def test_spans_requests_and_commits_are_counted(running, store: Store) -> None:
    """Stored, refused for good, to be sent again: each span is counted where it went, each request by its answer."""
    base = running()
    fresh = scraped(base)
    assert values(fresh, "dbbtrace_receiver_spans_total", "result") == {"stored": 0, "refused": 0, "later": 0}
    others = {"dbb.operation": "something else"}
    call(f"{base}/v1/traces", body_of(load(1), load(2, **{"dbb.table.name": None}), load(3, **others)))
    store.fail = lambda spans: RefusedError("too long") if any("B" in span.name for span in spans) else None
    call(f"{base}/v1/traces", body_of(load(4, "A"), load(5, "B")))
    store.fail = lambda spans: TransientError("asleep")
    assert call(f"{base}/v1/traces", body_of(load(6), load(7))).status == 503
    assert call(f"{base}/v1/traces", b"no json").status == 400
    found = scraped(base)
    assert values(found, "dbbtrace_receiver_spans_total", "result") == {"stored": 2, "refused": 2, "later": 2}
    assert values(found, "dbbtrace_receiver_requests_total", "code") == {"200": 2, "400": 1, "503": 1}
    assert values(found, "dbbtrace_receiver_commits_total", "result") == {"stored": 2, "failed": 1}
    assert found["dbbtrace_receiver_commit_seconds_count", frozenset()] == 3
    buckets = values(found, "dbbtrace_receiver_commit_seconds_bucket", "le")
    assert buckets["+Inf"] == buckets["120"] == 3
    assert list(buckets.values()) == sorted(buckets.values())
    assert 0 < found["dbbtrace_receiver_commit_seconds_sum", frozenset()] < 60
    assert values(found, "dbbtrace_build_info", "version") == {dbbtrace.__version__: 1}


def test_what_waits_is_said_while_it_waits(running, store: Store) -> None:
    """Spans behind a commit that hangs are waiting; /metrics answers all the same."""
    store.gate.clear()
    base = running()
    senders = [threading.Thread(target=call, args=(f"{base}/v1/traces", body_of(load(1))))]
    senders[0].start()
    assert store.entered.wait(20)
    assert scraped(base)["dbbtrace_receiver_spans_waiting", frozenset()] == 0  # it is being stored
    senders.append(threading.Thread(target=call, args=(f"{base}/v1/traces", body_of(load(2), load(3)))))
    senders[1].start()
    while not running.commits[-1].spans_waiting:
        assert senders[1].is_alive()
    assert scraped(base)["dbbtrace_receiver_spans_waiting", frozenset()] == 2
    store.gate.set()
    for sender in senders:
        sender.join(20)
    assert scraped(base)["dbbtrace_receiver_spans_waiting", frozenset()] == 0


def test_it_needs_the_token_that_senders_need(running) -> None:
    """Names of data products are not for everybody. Without a token nobody is asked for one."""
    base = running(token=TOKEN)
    wrong: list[dict[str, str]] = [{}, {"authorization": "Bearer another-token-that-is-long"}]
    for headers in wrong:
        answered = call(f"{base}/metrics", **headers)
        assert (answered.status, answered.headers["www-authenticate"]) == (401, "Bearer")
        assert b"dbbtrace_receiver" not in answered.body
    assert scraped(base, authorization=f"Bearer {TOKEN}")


def test_label_values_are_escaped() -> None:
    """A name with quotes, backslashes and line breaks is one label value, and no line of its own."""
    family = Family("some_metric", "gauge", "Text.").add(0.25, data_product=HOSTILE)
    assert parsed(text_of([family]).decode()) == {("some_metric", frozenset({("data_product", HOSTILE)})): 0.25}


# -- the newest runs ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("situation", "kind"),
    [
        ("a load failed", None),
        ("fewer rows than usual", "volume"),
        ("readers find nothing", "empty"),
        ("a usual table is absent", "absent"),
        ("an expected table is absent", "absent"),
        ("an empty table", "empty"),
        ("a model on old data", "stale"),
        ("a row is lost", "lost"),
        ("never closed", None),
    ],
)
def test_the_newest_run_of_a_product(stage: Stage, serving, situation: str, kind: str | None) -> None:
    """Its verdict is 1 and the others 0; what was found is counted by kind."""
    SITUATIONS[situation].make(stage)
    command("check", RUN)  # some change rows after the run was judged
    found = scraped(serving(warehouse=stage.url))
    said = values(found, "dbbtrace_run_verdict", "verdict")
    assert len(said) == 6
    assert {word for word, value in said.items() if value} == {SITUATIONS[situation].verdict}
    assert set(values(found, "dbbtrace_run_verdict", "data_product")) == {"Shop"}
    assert set(values(found, "dbbtrace_run_verdict", "environment")) == {"PRD"}
    findings = values(found, "dbbtrace_run_findings", "kind")
    assert set(findings) == set(verdicts.FINDINGS)
    assert {name for name, number in findings.items() if number} == ({kind} if kind else set())
    assert found["dbbtrace_runs_up", frozenset()] == 1


def test_a_hostile_name_is_a_label_value(stage: Stage, serving) -> None:
    """Whatever a sender calls its product, the page stays readable."""
    name = HOSTILE.replace("\n", " ")  # rows hold no line breaks in names
    ran(name)
    found = scraped(serving(warehouse=stage.url))
    assert set(values(found, "dbbtrace_run_verdict", "data_product")) == {name}


def test_the_warehouse_is_asked_once_a_minute(stage: Stage, serving, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within the minute the same is said again; after it, what has become of the product."""
    monkeypatch.setattr(verdicts, "_REST", 0)
    SITUATIONS["a good run"].make(stage)
    base = serving(warehouse=stage.url)
    assert values(scraped(base), "dbbtrace_run_verdict", "verdict")["Succeeded"] == 1
    SITUATIONS["a load failed"].make(stage)
    assert values(scraped(base), "dbbtrace_run_verdict", "verdict")["Succeeded"] == 1
    monkeypatch.setattr(verdicts, "_EVERY_SECONDS", 0)
    later = values(scraped(base), "dbbtrace_run_verdict", "verdict")
    assert (later["Succeeded"], later["Failed"]) == (0, 1)


def test_a_warehouse_that_is_gone(stage: Stage, serving, monkeypatch: pytest.MonkeyPatch, caplog) -> None:
    """The receiver still answers, keeps what it saw, says that it is old, and logs it once."""
    monkeypatch.setattr(verdicts, "_REST", 0)
    SITUATIONS["a load failed"].make(stage)
    base = serving(warehouse=stage.url)
    seen = scraped(base)
    monkeypatch.setattr(verdicts, "_EVERY_SECONDS", 0)
    dbbtrace.shutdown()
    for name in list(stage.path.parent.glob("w.db*")):
        name.unlink()
    stage.path.mkdir()
    for _ in range(2):
        found = scraped(base)
        assert (seen["dbbtrace_runs_up", frozenset()], found["dbbtrace_runs_up", frozenset()]) == (1, 0)
        assert values(found, "dbbtrace_run_verdict", "verdict")["Failed"] == 1
        assert seen.get(("dbbtrace_runs_read_timestamp_seconds", frozenset())) == found.get(
            ("dbbtrace_runs_read_timestamp_seconds", frozenset())
        )
    assert caplog.text.count("can't be asked for the gauges") == 1


def test_a_warehouse_that_hangs(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A look that does not come back is no answer, and the gauge says so until one does."""
    SITUATIONS["a good run"].make(stage)
    hangs, free = threading.Event(), threading.Event()

    def opened() -> Warehouse:
        assert not hangs.is_set() or free.wait(60)
        return open_warehouse(stage.url)

    monkeypatch.setattr(verdicts, "_REST", 0)
    gauges = verdicts.Verdicts(opened, resolve())

    def up() -> float:
        return next(family for family in gauges() if family.name == "dbbtrace_runs_up").samples[0][2]

    monkeypatch.setattr(verdicts, "_WAIT_SECONDS", 60)
    assert up() == 1
    monkeypatch.setattr(verdicts, "_EVERY_SECONDS", 0)
    monkeypatch.setattr(verdicts, "_WAIT_SECONDS", 0)
    hangs.set()
    assert up() == 1  # it has only just been asked
    monkeypatch.setattr(verdicts, "_OVERDUE_SECONDS", 0)
    assert up() == 0
    free.set()
    monkeypatch.setattr(verdicts, "_WAIT_SECONDS", 60)
    assert up() == 1


def test_a_long_history_takes_a_tenth_of_the_time(stage: Stage, serving, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next look waits ten times as long as the last one took of this process's time, whatever is scraped."""
    SITUATIONS["a good run"].make(stage)
    monkeypatch.setattr(verdicts, "_EVERY_SECONDS", 0)
    monkeypatch.setattr(verdicts, "_REST", 1e9)
    base = serving(warehouse=stage.url)
    assert values(scraped(base), "dbbtrace_run_verdict", "verdict")["Succeeded"] == 1
    SITUATIONS["a load failed"].make(stage)
    assert values(scraped(base), "dbbtrace_run_verdict", "verdict")["Succeeded"] == 1


def test_a_run_that_is_due_and_has_not_started(stage: Stage, serving, monkeypatch: pytest.MonkeyPatch) -> None:
    """Schedules of the settings say when. A product that never ran is late too; one that came in time is not."""
    SITUATIONS["a good run"].make(stage)
    stage.age(30)  # every product is due once a day
    ran("Punctual")
    hours = ",".join(f"{hour:02}:00" for hour in range(24))
    due = {"Shop": "08:00 UTC", "Punctual PRD": "08:00 UTC", "Never TST": f"{hours} UTC"}
    monkeypatch.setenv("DBBTRACE_SCHEDULES", json.dumps(due))
    found = scraped(serving(warehouse=stage.url))
    assert values(found, "dbbtrace_run_late", "data_product") == {"Shop": 1, "Punctual": 0, "Never": 1}


def test_products_have_an_end(stage: Stage, serving, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names come from senders; beyond the limit they have no series, and their number is said."""
    monkeypatch.setattr(verdicts, "_MOST", 2)
    for number in range(3):
        ran(f"P{number}")
        stage.age(1)
    found = scraped(serving(warehouse=stage.url))
    assert set(values(found, "dbbtrace_run_verdict", "data_product")) == {"P1", "P2"}
    assert found["dbbtrace_products_left_out", frozenset()] == 1
