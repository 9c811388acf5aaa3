"""Prometheus and Grafana: what is scraped is what alerts and dashboards ask for; the rules fire when they should."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import yaml

from tests.e2e.programs import CONFIG, ROOT, TOKEN, Binaries, Programs, Receiver, eventually, get
from tests.e2e.runs import building_job, loading_job
from tests.exporters.receiver.conftest import call

HERE = Path(__file__).parent
DASHBOARDS = sorted((CONFIG / "grafana").glob("*.json"))
DOCS = ROOT / "docs" / "metrics.md"
RULE_TESTS = sorted(HERE.glob("*.test.yaml"))
NAME = re.compile(r"\b(?:dbbtrace|otelcol)_\w+")


def promtool(binaries: Binaries, *arguments: str, said: str | None = None) -> subprocess.CompletedProcess[str]:
    """What it says."""
    return subprocess.run([binaries["promtool"], *arguments], input=said, capture_output=True, text=True, check=False)


def targets() -> Iterator[dict[str, Any]]:
    """Every query of the dashboards."""
    for path in DASHBOARDS:
        for panel in json.loads(path.read_text())["panels"]:
            yield from panel["targets"]


def expressions() -> list[str]:
    """Every PromQL of the dashboards, as Grafana would send it, and of the alerts."""
    asked = [target["expr"] for target in targets() if "expr" in target]
    asked = [re.sub(r"\$__rate_interval", "5m", expr).replace('"$', '"') for expr in asked]
    groups = yaml.safe_load((CONFIG / "alerts.yaml").read_text())["groups"]
    return asked + [rule["expr"] for group in groups for rule in group["rules"]]


def test_the_configuration_of_prometheus_is_valid(binaries: Binaries, tmp_path: Path) -> None:
    """promtool accepts it with the rules beside it and the token's file where docker-compose.yml puts it."""
    token = tmp_path / "token"
    token.write_text(TOKEN)
    config = (CONFIG / "prometheus.yaml").read_text()
    placed = config.replace("/run/secrets/receiver_token", str(token)).replace(
        "[alerts.yaml]", f"[{CONFIG / 'alerts.yaml'}]"
    )
    assert config != placed
    (tmp_path / "prometheus.yaml").write_text(placed)
    done = promtool(binaries, "check", "config", "--lint-fatal", str(tmp_path / "prometheus.yaml"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "8 rules found" in done.stdout


def test_alerts_fire_when_they_should(binaries: Binaries) -> None:
    """The unit tests of the rules hold; each rule is expected to fire in one, and not to fire in another."""
    done = promtool(binaries, "test", "rules", *map(str, RULE_TESTS))
    assert done.returncode == 0, done.stdout + done.stderr
    expected: dict[bool, set[str]] = {True: set(), False: set()}
    for path in RULE_TESTS:
        for test in yaml.safe_load(path.read_text())["tests"]:
            for case in test["alert_rule_test"]:
                expected["exp_alerts" in case].add(case["alertname"])
    names = set(re.findall(r"- alert: (\w+)", (CONFIG / "alerts.yaml").read_text()))
    assert expected == {True: names, False: names}


def test_the_page_says_what_there_is(binaries: Binaries, tmp_path: Path) -> None:
    """Its table has every alert, and Prometheus takes its configuration, under the name that the alerts know."""
    page = DOCS.read_text()
    rules = (CONFIG / "alerts.yaml").read_text()
    assert re.findall(r"^\| `(Dbbtrace\w+)`", page, re.M) == re.findall(r"- alert: (\w+)", rules)
    [example] = re.findall(r"```yaml\n(.*?)```", page, re.S)
    (tmp_path / "prometheus.yaml").write_text(example)
    done = promtool(binaries, "check", "config", "--syntax-only", str(tmp_path / "prometheus.yaml"))
    assert done.returncode == 0, done.stdout + done.stderr
    [job] = yaml.safe_load(example)["scrape_configs"]
    assert f'up{{job="{job["job_name"]}"}}' in rules


def test_queries_of_dashboards_are_promql(binaries: Binaries, tmp_path: Path) -> None:
    """promtool parses each of them."""
    rules = [{"record": f"query:{number}", "expr": expr} for number, expr in enumerate(expressions())]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}))
    done = promtool(binaries, "check", "rules", str(tmp_path / "rules.yaml"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(rules)} rules found" in done.stdout


def look_without_prometheus(receiver: Receiver) -> str:
    """What docs/metrics.md's command shows."""
    [command] = re.findall(r"```bash needs=a-receiver\n(.*?)```", DOCS.read_text(), re.S)
    assert "http://127.0.0.1:4318/" in command
    environment = {"PATH": os.environ["PATH"], "DBBTRACE_RECEIVER_TOKEN": TOKEN}
    command = ["bash", "-euc", command.replace("http://127.0.0.1:4318", receiver.url)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout


def test_what_is_asked_for_is_scraped(programs: Programs, binaries: Binaries, tmp_path: Path) -> None:
    """A run with failures goes through the real Collector: every metric and label that alerts and dashboards name is
    there, counted once, and promtool accepts both pages."""
    receiver = programs.receiver(f"sqlite:///{tmp_path}/warehouse.db")
    agent = programs.agent(programs.jaeger(), receiver)
    run_id = str(uuid4())
    with loading_job(run_id, agent) as job:
        job.load("Customer", "?Order", "!Broken")
        building_job(run_id, agent, "grpc")

    def counted(operation: str, *statuses: str) -> float:
        lines = [
            line for line in get(agent.run_metrics)[1].splitlines() if line.startswith("dbbtrace_spans_calls_total{")
        ]
        wanted = [f'status_code="STATUS_CODE_{status}"' for status in statuses]
        return sum(
            float(line.rpartition(" ")[2])
            for line in lines
            if f'dbb_operation="{operation}"' in line and any(status in line for status in wanted)
        )

    ended = ("ERROR", "OK", "UNSET")
    assert eventually(lambda: counted("orchestration_run", *ended)) == 1
    assert eventually(lambda: counted("model_refresh", *ended)) == 1
    assert counted("table_load", "ERROR") == 1
    assert counted("table_load", "OK", "UNSET") == 2
    spans = get(agent.run_metrics)[1]
    processes = {re.findall(r'instance="([^"]*)"', line)[0] for line in spans.splitlines() if 'instance="' in line}
    assert len(processes) == 1, "each process has counters of its own"
    assert 'dbb_data_product="Shop"' in spans
    assert 'dbb_workload="integration"' in spans
    assert "dbb_table_name" not in spans

    eventually(lambda: agent.sent("otlp_http/warehouse"), lambda sent: sent >= 3)
    page = call(f"{receiver.url}/metrics", authorization=f"Bearer {TOKEN}").body.decode()
    done = promtool(binaries, "check", "metrics", said=page)
    assert done.returncode == 0, done.stdout + done.stderr
    if shutil.which("curl"):
        assert "dbbtrace_receiver_spans_total" in look_without_prometheus(receiver)
    there = set(NAME.findall(spans + page + get(agent.metrics)[1]))
    asked = {name for expr in expressions() for name in NAME.findall(expr)} | set(NAME.findall(DOCS.read_text()))
    assert "otelcol_exporter_sent_spans" in there
    only_on_failure = {"otelcol_exporter_send_failed_spans"}  # named as the one above
    assert asked - only_on_failure <= there
    assert len(asked) > 10


def test_grafana_finds_its_dashboards() -> None:
    """Each is mounted where the provisioning looks, has an id of its own, and asks data sources that are there."""
    grafana = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["grafana"]
    mounted = dict(volume.removesuffix(":ro").split(":") for volume in grafana["volumes"])
    provider = yaml.safe_load((CONFIG / "grafana" / "dashboards.yaml").read_text())["providers"][0]
    folder = provider["options"]["path"]
    for path in DASHBOARDS:
        assert mounted[f"./{path.relative_to(ROOT)}"] == f"{folder}/{path.name}"
    sources = yaml.safe_load((CONFIG / "grafana" / "datasources.yaml").read_text())["datasources"]
    known = {(source["type"], source["uid"]) for source in sources}
    assert {(target["datasource"]["type"], target["datasource"]["uid"]) for target in targets()} == known
    assert len({json.loads(path.read_text())["uid"] for path in DASHBOARDS}) == len(DASHBOARDS) == 2
    assert set(re.findall(r"\$(\w+)", (CONFIG / "grafana" / "datasources.yaml").read_text())) <= set(
        grafana["environment"]
    )


def test_rates_have_two_scrapes() -> None:
    """Grafana takes rates over four times the interval that it is told: the longest that something is scraped in."""
    prometheus = yaml.safe_load((CONFIG / "prometheus.yaml").read_text())
    sources = yaml.safe_load((CONFIG / "grafana" / "datasources.yaml").read_text())["datasources"]
    [told] = [source["jsonData"]["timeInterval"] for source in sources if source["type"] == "prometheus"]
    scraped = [prometheus["global"], *prometheus["scrape_configs"]]
    intervals = [int(one["scrape_interval"].removesuffix("s")) for one in scraped if "scrape_interval" in one]
    assert int(told.removesuffix("s")) == max(intervals)


@pytest.mark.parametrize("name", ["agent.yaml", "gateway.yaml"])
def test_metrics_of_runs_are_bounded(name: str) -> None:
    """No table, node or run id is a label: those have no end."""
    connector = yaml.safe_load((CONFIG / name).read_text())["connectors"]["span_metrics"]
    assert [one["name"] for one in connector["dimensions"]] == [
        "dbb.data_product", "deployment.environment.name", "dbb.workload", "dbb.operation",
    ]  # fmt: skip
    assert "span.name" in connector["exclude_dimensions"]
