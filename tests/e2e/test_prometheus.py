"""A real Prometheus scrapes the Collector and the receiver as docker-compose.yml has it: the alerts fire for what went
wrong and for nothing else, and every panel of the dashboard shows something.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from math import isnan
from typing import Any
from uuid import uuid4

import pytest

from tests.e2e import prometheus as real
from tests.e2e.jobs.history import HOSTILE
from tests.e2e.programs import CONFIG, ROOT, TOKEN, Binaries, Collector, Programs, Receiver, eventually
from tests.e2e.runs import building_job, loading_job
from tests.exporters.receiver.conftest import body_of, call, load

SCHEDULES = {"Late": ",".join(f"{hour:02}:00" for hour in range(24)) + " UTC"}
ALERTS = {
    ("DbbtraceOperationFailed", "Shop", "dbt_node", "TST"),
    ("DbbtraceOperationFailed", "Shop", "table_load", "TST"),
    ("DbbtraceRunAbsent", "Gone", "PRD"),
    ("DbbtraceRunFailed", "Absent", "PRD", "Incomplete"),
    ("DbbtraceRunFailed", "Shop", "TST", "Failed"),
    ("DbbtraceRunFailed", "Stale", "PRD", "Failed"),
    ("DbbtraceRunUnfinished", "Unfinished", "PRD"),
    ("DbbtraceRunLate", "Late", "PRD"),
    ("DbbtraceFindings", "Absent", "PRD", "absent"),
    ("DbbtraceFindings", "Stale", "PRD", "stale"),
    ("DbbtraceFindings", "Volume", "PRD", "volume"),
}
"""What must be alerted of, and nothing else: the products Good and Daily are all right."""
DOWN, REFUSED = ("DbbtraceReceiverDown",), ("DbbtraceSpansRefused",)

OPERATIONS = '{dbb_operation=~"table_load|dbt_node|model_refresh"}'
PANELS: dict[str, dict[str, float]] = {
    "Newest runs by verdict": {
        "Failed": 2, "Running": 0, "Unfinished": 1, "Incomplete": 1, "Warned": 1, "Succeeded": 3,
    },
    "Late": {"": 1},
    "Findings": {"Absent PRD absent": 1, "Stale PRD stale": 1, "Volume PRD volume": 1},
    "Operations that ended, by workload": {"integration": 3, "transformation": 3, "consumption": 1},
    "Operations that failed": {"Shop table_load": 1, "Shop dbt_node": 1},
}  # fmt: skip
"""What panels show, by the values of their labels."""


@dataclass
class Watched:
    """A Prometheus that watches a Collector and a receiver."""

    prometheus: real.Prometheus
    receiver: Receiver
    agent: Collector
    alertmanager: real.Alertmanager
    at: str
    """When everything had been scraped."""


def runs_ended(product: str, first: float, last: float) -> Iterator[str]:
    """A counter of ended runs that was scraped from so many hours ago until so many, and rose from 1 to 2 half-way."""
    labels = f'dbb_operation="orchestration_run",dbb_data_product="{product}",deployment_environment_name="PRD"'
    now = time.time()
    for minutes in range(int(first * 60), int(last * 60), -4):
        ended = 2 if minutes <= (first + last) * 30 else 1
        yield f'dbbtrace_spans_calls_total{{{labels},job="dbbtrace-runs"}} {ended} {now - minutes * 60:.0f}'


@pytest.fixture(scope="module")
def watched(binaries: Binaries, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """What metrics come from in docker-compose.yml, after a history and one failed run through the Collector."""
    directory = tmp_path_factory.mktemp("watched")
    database = directory / "warehouse.db"
    subprocess.run([sys.executable, "-m", "tests.e2e.jobs.history", database], cwd=ROOT, check=True)
    programs = Programs(binaries, directory)
    alertmanager = real.Alertmanager()
    try:
        schedules = json.dumps(SCHEDULES)
        receiver = programs.receiver(f"sqlite:///{database}", DBBTRACE_SCHEDULES=schedules)
        agent = programs.agent(programs.jaeger(), receiver)
        hosts = {
            "receiver:4318": receiver.url.removeprefix("http://"),
            "collector:8889": agent.run_metrics.split("/")[2],
            "collector:8888": agent.metrics.split("/")[2],
            "alertmanager:9093": alertmanager.address,
        }
        past = [
            "# TYPE dbbtrace_spans_calls counter",
            *runs_ended("Gone", 60, 30),
            *runs_ended("Daily", 40, 3),
        ]
        prometheus = real.started(programs, binaries, directory, hosts, past)
        eventually(lambda: {health for health, _ in prometheus.targets().values()}, lambda seen: seen == {"up"})
        run_id = str(uuid4())
        with loading_job(run_id, agent) as job:
            job.load("Customer", "?Order", "!Broken")
            building_job(run_id, agent, "grpc")
        assert eventually(lambda: prometheus.query('sum(dbbtrace_receiver_spans_total{result="stored"}) >= 7'))
        assert eventually(lambda: prometheus.query(f"sum(dbbtrace_spans_calls_total{OPERATIONS}) >= 7"))
        receiver.stop()
        receiver.start()  # it asks the warehouse once a minute, and now at once
        assert eventually(lambda: prometheus.query('dbbtrace_run_verdict{data_product="Shop"}'))
        yield Watched(prometheus, receiver, agent, alertmanager, str(time.time()))
    finally:
        programs.stop()
        alertmanager.stop()


def panels() -> Iterator[tuple[str, str]]:
    """Title and query of each panel, as Grafana asks with all products and environments chosen."""
    dashboard = json.loads((CONFIG / "grafana" / "runs.json").read_text())
    variables = {variable["name"]: variable["allValue"] for variable in dashboard["templating"]["list"]}
    variables["__rate_interval"] = "15m"
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            yield panel["title"], re.sub(r"\$(\w+)", lambda name: variables[name[1]], target["expr"])


def test_everything_is_scraped(watched: Watched) -> None:
    """The Collector's two pages and the receiver's, with the token from its file."""
    healthy = dict.fromkeys(("dbbtrace-runs", "dbbtrace-receiver", "collector"), ("up", ""))
    assert eventually(watched.prometheus.targets, lambda seen: seen == healthy) == healthy


def test_what_went_wrong_is_alerted_of(watched: Watched) -> None:
    """A failed, a late, an absent and an unfinished run, stale, missing and few rows; nothing of what is all right."""

    def firing() -> set[tuple[str, ...]]:
        return {alert for alert in watched.prometheus.firing() if alert not in (DOWN, REFUSED)}

    assert eventually(firing, lambda seen: seen == ALERTS) == ALERTS
    assert {rule["health"] for rule in watched.prometheus.rules()} == {"ok"}


def test_people_are_told(watched: Watched) -> None:
    """The Alertmanager that prometheus.yaml suggests gets each alert, in a sentence."""
    told = {
        "Shop TST: table_load failed",
        "Gone PRD: no run ended for 26 hours",
        "Absent PRD: the newest run is Incomplete",
        "Unfinished PRD: the newest run did not finish",
        "Late PRD: a run was due and has not started",
        "Volume PRD: 1 finding of kind volume on the newest run",
    }
    assert told <= eventually(lambda: set(watched.alertmanager.summaries), lambda seen: told <= seen)


def test_every_panel_shows_something(watched: Watched) -> None:
    """Each query of the dashboard has series, and those that count have the right numbers."""
    shown: dict[str, dict[str, float]] = {}
    for title, expression in panels():
        found = watched.prometheus.query(expression, time=watched.at)
        assert found, (title, expression)
        assert not any(isnan(value) for _, value in found), (title, found)
        shown.setdefault(title, {" ".join(labels[name] for name in sorted(labels)): value for labels, value in found})
    assert {title: shown[title] for title in PANELS} == PANELS


def test_a_receiver_that_is_gone(watched: Watched) -> None:
    """It is alerted of while it is gone."""
    watched.receiver.stop()
    assert DOWN in eventually(watched.prometheus.firing, lambda seen: DOWN in seen)
    watched.receiver.start()
    assert DOWN not in eventually(watched.prometheus.firing, lambda seen: DOWN not in seen)


def test_spans_that_are_refused(watched: Watched) -> None:
    """A load without a table can never be stored, and somebody is told."""
    nothing: dict[str, Any] = {"dbb.table.name": None}
    body = body_of(load(1, **nothing))
    answered = call(f"{watched.receiver.url}/v1/traces", body, authorization=f"Bearer {TOKEN}")
    assert answered.rejected == 1
    assert REFUSED in eventually(watched.prometheus.firing, lambda seen: REFUSED in seen)


def test_a_hostile_name_is_a_label(watched: Watched) -> None:
    """Prometheus reads back exactly the name, from the receiver and from the Collector."""
    body = json.loads(body_of(load(2, **{"dbb.operation": "step", "dbb.data_product": HOSTILE})))
    name = {"key": "service.name", "value": {"stringValue": HOSTILE}}
    body["resourceSpans"][0]["resource"] = {"attributes": [name]}
    assert call(f"{watched.agent.http}/v1/traces", json.dumps(body).encode()).status == 200

    def names(metric: str, label: str) -> set[str]:
        return eventually(
            lambda: {labels.get(label, "") for labels, _ in watched.prometheus.query(metric)},
            lambda seen: HOSTILE in seen,
        )

    assert HOSTILE in names("dbbtrace_run_verdict", "data_product")
    assert HOSTILE in names("dbbtrace_spans_calls_total", "dbb_data_product")
