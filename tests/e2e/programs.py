"""Programs as the tests handle them: started and known to be ready, stopped, killed, started again where they were.

Each keeps its ports and its directory for life, so that what comes back after a kill is the same program.
"""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / "collector-config"
PATIENCE = 60.0
"""Seconds in which something must have happened that takes one on a machine with nothing else to do."""
TOKEN = "a-token-of-the-end-to-end-tests"

T = TypeVar("T")


def eventually(look: Callable[[], T], wanted: Callable[[T], bool] = bool, *, within: float = PATIENCE) -> T:
    """What the look sees as soon as it is what is wanted; at the deadline, whatever it sees then."""
    deadline = time.monotonic() + within
    while not wanted(seen := look()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return seen


def free_port() -> int:
    """A port that nobody uses, outside the range from which the system gives ports to those who connect."""
    for port in random.SystemRandom().sample(range(20000, 32000), 1000):
        with socket.socket() as candidate:
            try:
                candidate.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no port is free")


def get(url: str) -> tuple[int, str]:
    """Status and body of the answer; status 0 when nobody answers."""
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError:
        return 0, ""


@dataclass(frozen=True)
class Binaries:
    """The directory that build-binaries.sh made."""

    directory: Path

    def __getitem__(self, name: str) -> str:
        return str(self.directory / name)


class Program:
    """One program that runs until it is told to end."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], log: Path, ready: str) -> None:
        self.log = log
        self._command = list(command)
        self._environment = dict(environment)
        self._ready = ready
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it says that it is ready."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, env=self._environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        process = self._process
        eventually(lambda: process.poll() is not None or get(self._ready)[0] == 200)
        assert process.poll() is None, f"{self._command} ended:\n{self.tail()}"
        assert get(self._ready)[0] == 200, f"{self._command} is not ready:\n{self.tail()}"

    def kill(self) -> None:
        """SIGKILL: it can't finish anything."""
        self._end(signal.SIGKILL)

    def stop(self) -> int | None:
        """SIGTERM; its exit code, None if it was not running."""
        return self._end(signal.SIGTERM)

    def tail(self) -> str:
        """The end of what it printed."""
        return self.log.read_text(errors="replace")[-4000:]

    def _end(self, number: signal.Signals) -> int | None:
        process, self._process = self._process, None
        if process is None:
            return None
        process.send_signal(number)
        try:
            return process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError(f"{self._command} does not stop:\n{self.tail()}") from None


class Jaeger(Program):
    """Jaeger v2 with collector-config/jaeger.yaml."""

    otlp: str
    """host:port for OTLP/gRPC."""
    url: str

    def trace(self, trace_id: str) -> list[dict[str, Any]]:
        """The traces that its query API returns for the id: one, or none."""
        status, body = get(f"{self.url}/api/traces/{trace_id}")
        return json.loads(body)["data"] if status == 200 else []

    def spans(self, trace_id: str) -> dict[str, dict[str, Any]]:
        """The trace's spans by their ids."""
        return {span["spanID"]: span for trace in self.trace(trace_id) for span in trace["spans"]}


class Collector(Program):
    """The OpenTelemetry Collector with a configuration of this repository."""

    grpc: str
    http: str
    """URLs for senders."""
    metrics: str
    """URL of what it says of itself."""
    run_metrics: str
    """URL of the durations and errors of runs."""

    def sent(self, exporter: str) -> float:
        """Spans that the exporter has delivered since the Collector started."""
        return self._counted("otelcol_exporter_sent_spans", f'exporter="{exporter}"')

    def accepted(self) -> float:
        """Spans that senders have been told are accepted, since the Collector started."""
        return self._counted("otelcol_receiver_accepted_spans", 'receiver="otlp"')

    def _counted(self, metric: str, label: str) -> float:
        lines = get(self.metrics)[1].splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(metric) and label in line)


class Receiver(Program):
    """``dbbtrace serve``."""

    url: str
    """For senders, without /v1/traces."""


class Programs:
    """Starts programs; their files are in the test's own directory."""

    def __init__(self, binaries: Binaries, directory: Path) -> None:
        self._binaries = binaries
        self._directory = directory
        self._all: list[Program] = []

    def stop(self) -> None:
        """Stop all that still run."""
        for program in reversed(self._all):
            program.stop()

    def jaeger(self) -> Jaeger:
        """A Jaeger with its storage on disk."""
        otlp, http, grpc, health = (f"127.0.0.1:{free_port()}" for _ in range(4))
        jaeger = Jaeger(
            [self._binaries["jaeger"], "--config", str(CONFIG / "jaeger.yaml")],
            {
                "JAEGER_OTLP_GRPC": otlp,
                "JAEGER_QUERY_HTTP": http,
                "JAEGER_QUERY_GRPC": grpc,
                "JAEGER_HEALTH": health,
                "JAEGER_STORAGE": str(self._directory / "jaeger"),
                "JAEGER_MAX_CLOCK_SKEW_ADJUST": "1s",  # on, so that a trace that needs it is found out
            },
            self._directory / "jaeger.log",
            f"http://{health}/status",
        )
        jaeger.otlp, jaeger.url = otlp, f"http://{http}"
        return self.start(jaeger)

    def receiver(self, warehouse: str, name: str = "receiver", **environment: str) -> Receiver:
        """A warehouse receiver, which asks for a token."""
        address = f"127.0.0.1:{free_port()}"
        receiver = Receiver(
            [sys.executable, "-m", "dbbtrace", "--warehouse", warehouse, "serve", "--http", address],
            {**os.environ, "DBBTRACE_RECEIVER_TOKEN": TOKEN, **environment},
            self._directory / f"{name}.log",
            f"http://{address}/readyz",
        )
        receiver.url = f"http://{address}"
        return self.start(receiver)

    def agent(self, jaeger: Jaeger, receiver: Receiver) -> Collector:
        """A Collector with agent.yaml."""
        return self.collector(CONFIG / "agent.yaml", JAEGER_OTLP_GRPC=jaeger.otlp, WAREHOUSE_RECEIVER=receiver.url)

    def gateway(self, jaeger: Jaeger, first: Receiver, second: Receiver) -> Collector:
        """A Collector with gateway.yaml."""
        return self.collector(
            CONFIG / "gateway.yaml",
            JAEGER_OTLP_GRPC=jaeger.otlp,
            WAREHOUSE_RECEIVER_1=first.url,
            WAREHOUSE_RECEIVER_2=second.url,
            OTELCOL_TARGET_1=f"127.0.0.1:{free_port()}",
            OTELCOL_TARGET_2=f"127.0.0.1:{free_port()}",
        )

    def agent_to_gateway(self, gateway: Collector) -> Collector:
        """A Collector with agent-to-gateway.yaml."""
        address = gateway.grpc.removeprefix("http://")
        return self.collector(CONFIG / "agent-to-gateway.yaml", GATEWAY_OTLP_GRPC=address)

    def collector(self, config: Path, **environment: str) -> Collector:
        """A Collector with any configuration that listens as agent.yaml does."""
        grpc, http, health, runs = (f"127.0.0.1:{free_port()}" for _ in range(4))
        metrics = free_port()
        collector = Collector(
            [self._binaries["otelcol"], "--config", str(config)],
            {
                "OTELCOL_GRPC": grpc,
                "OTELCOL_HTTP": http,
                "OTELCOL_HEALTH": health,
                "OTELCOL_METRICS_PORT": str(metrics),
                "OTELCOL_RUN_METRICS": runs,
                "OTELCOL_RUN_METRICS_INTERVAL": "1s",
                "OTELCOL_QUEUE": str(self._directory / f"{config.stem}.queue"),
                "DBBTRACE_RECEIVER_TOKEN": TOKEN,
                **environment,
            },
            self._directory / f"{config.stem}.log",
            f"http://{health}/",
        )
        collector.grpc, collector.http = f"http://{grpc}", f"http://{http}"
        collector.metrics = f"http://127.0.0.1:{metrics}/metrics"
        collector.run_metrics = f"http://{runs}/metrics"
        return self.start(collector)

    def start(self, program: Any) -> Any:
        """Start it, and stop it at the end."""
        self._all.append(program)
        program.start()
        return program
