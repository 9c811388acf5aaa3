"""A real Prometheus as the tests handle it: prometheus.yaml and alerts.yaml of the repository, where docker-compose.yml
mounts them, with the hosts of its services mapped to programs of the test, and everything that waits made short.
"""

from __future__ import annotations

import json
import re
import subprocess
import threading
from collections.abc import Iterable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import yaml

from tests.e2e.programs import CONFIG, ROOT, TOKEN, Binaries, Program, Programs, free_port, get

Labels = Mapping[str, str]

_OF_WHAT = (
    "data_product", "environment", "verdict", "kind", "dbb_data_product", "deployment_environment_name",
    "dbb_operation",
)  # fmt: skip


class Alertmanager:
    """Takes alerts as an Alertmanager does, and keeps them."""

    def __init__(self) -> None:
        self.summaries: set[str] = set()
        """Of the alerts that fire."""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.address = f"127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        summaries = self.summaries

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                assert self.path == "/api/v2/alerts"
                alerts = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                summaries.update(alert["annotations"]["summary"] for alert in alerts)
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                pass

        return Handler


class Prometheus(Program):
    """Prometheus with prometheus.yaml and alerts.yaml."""

    url: str

    def query(self, expression: str, **parameters: str) -> list[tuple[Labels, float]]:
        """Labels and value of each series now, or as of ``time``; the expression must be one that it takes."""
        found = self._asked("query", query=expression, **parameters)["result"]
        return [(one["metric"], float(one["value"][1])) for one in found]

    def firing(self) -> set[tuple[str, ...]]:
        """Each alert that fires: its name, and the labels that say of what, sorted by their names."""
        firing = [alert["labels"] for alert in self._asked("alerts")["alerts"] if alert["state"] == "firing"]
        return {
            (labels["alertname"], *(labels[name] for name in sorted(labels) if name in _OF_WHAT)) for labels in firing
        }

    def rules(self) -> list[dict[str, Any]]:
        """Every rule, with what became of it."""
        return [rule for group in self._asked("rules")["groups"] for rule in group["rules"]]

    def targets(self) -> dict[str, tuple[str, str]]:
        """What is scraped: job → health and the last error."""
        found = self._asked("targets")["activeTargets"]
        return {target["labels"]["job"]: (target["health"], target["lastError"]) for target in found}

    def _asked(self, what: str, **parameters: str) -> Any:
        status, body = get(f"{self.url}/api/v1/{what}?{urlencode(parameters)}")
        assert status == 200, f"{what} {parameters}: {status} {body}"
        return json.loads(body)["data"]


def started(
    programs: Programs, binaries: Binaries, directory: Path, hosts: Mapping[str, str], past: Iterable[str] = ()
) -> Prometheus:
    """A Prometheus that scrapes the programs.

    Args:
        programs: stops it at the end.
        binaries: what was built.
        directory: where its files are.
        hosts: host and port as in prometheus.yaml → where the program is.
        past: what it scraped before, as lines of OpenMetrics.
    """
    storage = directory / "prometheus"
    (directory / "past").write_text("".join(f"{line}\n" for line in [*past, "# EOF"]))
    backfill = ["tsdb", "create-blocks-from", "openmetrics", str(directory / "past"), str(storage)]
    subprocess.run([binaries["promtool"], *backfill], check=True, capture_output=True)
    address = f"127.0.0.1:{free_port()}"
    prometheus = Prometheus(
        [binaries["prometheus"], *command(placed(directory, hosts), storage), f"--web.listen-address={address}"],
        {},
        directory / "prometheus.log",
        f"http://{address}/-/ready",
    )
    prometheus.url = f"http://{address}"
    programs.start(prometheus)
    return prometheus


def command(configuration: Path, storage: Path) -> list[str]:
    """The arguments that docker-compose.yml gives it, with its files where they are."""
    written: list[str] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["prometheus"]["command"]
    there = {"/etc/prometheus/prometheus.yaml": str(configuration), "/prometheus": str(storage)}
    arguments = [argument.split("=", 1) for argument in written]
    assert there.keys() <= {value for _, value in arguments}
    return [f"{name}={there.get(value, value)}" for name, value in arguments]


def placed(directory: Path, hosts: Mapping[str, str]) -> Path:
    """prometheus.yaml with its token and its rules where it finds them, and the Alertmanager that it suggests."""
    (directory / "token").write_text(TOKEN)
    configuration = (CONFIG / "prometheus.yaml").read_text()
    start, end = configuration.index("# alerting:"), configuration.index("scrape_configs:")
    suggested = re.sub("^# ", "", configuration[start:end], flags=re.M)
    configuration = configuration[:start] + suggested + configuration[end:]
    replaced = {"/run/secrets/receiver_token": str(directory / "token"), **hosts}
    for name, there in replaced.items():
        assert configuration.count(name) == 1, name
        configuration = configuration.replace(name, there)
    assert not re.search(r"targets: .*\"[a-z]", configuration), "a host that is not mapped"
    (directory / "prometheus.yaml").write_text(re.sub(r"(_interval): \d+s", r"\1: 1s", configuration))
    rules = (CONFIG / "alerts.yaml").read_text()
    (directory / "alerts.yaml").write_text(re.sub(r"\bfor: \w+", "for: 1s", rules))
    return directory / "prometheus.yaml"
