"""Every configuration of the repository, read by the program that it is for; the Compose file, read as Compose does."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.programs import CONFIG, ROOT, Binaries

COMPOSE = ROOT / "docker-compose.yml"
SECRETS = {
    "MSSQL_SA_PASSWORD": "Aa1-of-the-tests",
    "DBBTRACE_RECEIVER_TOKEN": "a-token-of-the-tests",
    "GRAFANA_PASSWORD": "a-password-of-the-tests",
}
COLLECTORS = ["agent.yaml", "agent-to-gateway.yaml", "gateway.yaml"]
PROGRAMS = {**dict.fromkeys(COLLECTORS, "otelcol"), "jaeger.yaml": "jaeger"}


def validated(binaries: Binaries, file: Path, environment: dict[str, str]) -> str:
    """What the program says about the configuration; it must accept it."""
    command = [binaries[PROGRAMS[file.name]], "validate", "--config", str(file)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def read(binaries: Binaries, file: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """The Compose file as Compose reads it, or what is wrong with it."""
    variables = {"PATH": os.environ["PATH"], **environment}
    command = [binaries["compose-read"], str(file)]
    return subprocess.run(command, env=variables, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def compose(binaries: Binaries) -> dict[str, Any]:
    """docker-compose.yml, resolved."""
    done = read(binaries, COMPOSE, **SECRETS)
    assert done.returncode == 0, done.stderr
    services: dict[str, Any] = json.loads(done.stdout)["services"]
    return services


def test_each_configuration_is_known_to_a_program() -> None:
    """None is forgotten: here, or in test_metrics.py."""
    assert sorted([*PROGRAMS, "alerts.yaml", "prometheus.yaml"]) == sorted(path.name for path in CONFIG.glob("*.yaml"))


@pytest.mark.parametrize("name", PROGRAMS)
def test_configurations_are_valid_as_they_are(binaries: Binaries, name: str) -> None:
    """The real program accepts the file without a variable set, and calls nothing in it deprecated."""
    assert "deprecated" not in validated(binaries, CONFIG / name, {}).lower()


@pytest.mark.parametrize("name", COLLECTORS)
def test_component_names_are_current(binaries: Binaries, name: str) -> None:
    """Each is among those that the Collector lists: an alias of old is not."""
    listed = yaml.safe_load(subprocess.run([binaries["otelcol"], "components"], capture_output=True, check=True).stdout)
    config = yaml.safe_load((CONFIG / name).read_text())
    for kind in ("receivers", "processors", "connectors", "exporters", "extensions"):
        known = {component["name"] for component in listed[kind] or ()}
        assert {component.partition("/")[0] for component in config.get(kind, ())} <= known


def test_a_mistake_in_a_configuration_is_noticed(binaries: Binaries, tmp_path: Path) -> None:
    """The check can fail."""
    broken = (CONFIG / "agent.yaml").read_text().replace("num_consumers", "number_of_consumers")
    (tmp_path / "agent.yaml").write_text(broken)
    with pytest.raises(AssertionError, match="number_of_consumers"):
        validated(binaries, tmp_path / "agent.yaml", {})


def test_the_compose_file_is_what_the_specification_allows(binaries: Binaries, tmp_path: Path) -> None:
    """It passes the specification's schema, and one with a misspelt key does not."""
    assert read(binaries, COMPOSE, **SECRETS).returncode == 0
    broken = tmp_path / "docker-compose.yml"
    broken.write_text(COMPOSE.read_text().replace("healthcheck:", "health_check:", 1))
    assert "health_check" in read(binaries, broken, **SECRETS).stderr


def test_the_example_of_env_names_every_variable() -> None:
    """What the Compose file asks for, and nothing else."""
    asked = set(re.findall(r"\$\{(\w+)", COMPOSE.read_text()))
    assert asked == set(re.findall(r"^#?([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.M))


@pytest.mark.parametrize("missing", SECRETS)
def test_no_secret_stands_in_the_compose_file(binaries: Binaries, missing: str) -> None:
    """Each comes from the environment or .env, and without it nothing starts."""
    given = {name: value for name, value in SECRETS.items() if name != missing}
    done = read(binaries, COMPOSE, **given)
    assert done.returncode != 0
    assert missing in done.stderr
    assert ".env.example" in done.stderr
    assert re.search(rf"^{missing}=$", (ROOT / ".env.example").read_text(), re.M)


def test_images_are_pinned_and_those_that_are_tested(compose: dict[str, Any], binaries: Binaries) -> None:
    """Every image has a version; the Collector's, Jaeger's and Prometheus's are what build-binaries.sh builds."""
    files = [service["build"].get("dockerfile_inline", "") for service in compose.values() if "build" in service]
    files.append((ROOT / "Dockerfile").read_text())
    images = {service["image"] for service in compose.values() if "build" not in service}
    for text in files:
        images |= {line.split()[1] for line in text.splitlines() if line.startswith("FROM ")}
    images.discard("busybox")
    assert {image for image in images if not re.search(r":[\w.-]*\d+\.\d+|:2022-CU\d+", image)} == set()
    version = subprocess.run([binaries["otelcol"], "--version"], capture_output=True, text=True, check=True).stdout
    assert f"otel/opentelemetry-collector-contrib:{version.split()[-1]}" in images
    script = (ROOT / "tests/e2e/build-binaries.sh").read_text()
    built = re.search(r"^JAEGER=v1\.(\d+)\.", script, re.M)
    assert built
    assert f"jaegertracing/jaeger:2.{int(built[1]) - 63}.0" in images  # 1.76 and 2.13 are one release
    built = re.search(r"^PROMETHEUS=v0\.(\d)(\d\d)\.(\d+)", script, re.M)
    assert built
    assert f"prom/prometheus:v{built[1]}.{int(built[2])}.{built[3]}" in images


def test_the_image_installs_what_the_services_need() -> None:
    """The extras that the Dockerfile names exist, and what the build needs is let through to it."""
    extras = re.search(r'"/src\[([\w,]+)\]"', (ROOT / "Dockerfile").read_text())
    assert extras
    project = (ROOT / "pyproject.toml").read_text()
    assert {"demo", "otlp", "receiver"} == set(extras[1].split(","))
    assert all(re.search(rf"^{extra} = \[", project, re.M) for extra in extras[1].split(","))
    let_through = set(re.findall(r"^!(\S+)", (ROOT / ".dockerignore").read_text(), re.M))
    assert let_through == {"dbbtrace", "exporters", "pyproject.toml", "README.md", "LICENSE"}
    assert all((ROOT / name).exists() for name in let_through)


def test_ports_are_published_on_the_loopback(compose: dict[str, Any]) -> None:
    """Nothing is reachable from other machines."""
    published = [port for service in compose.values() for port in service.get("ports", ())]
    assert published
    assert {port["host_ip"] for port in published} == {"127.0.0.1"}


def test_each_service_starts_when_what_it_needs_is_ready(compose: dict[str, Any]) -> None:
    """What is waited for as healthy has a health check; what is waited for as done ends by itself."""
    needed = set()
    for service in compose.values():
        for name, needs in service.get("depends_on", {}).items():
            needed.add((name, needs["condition"]))
    for name, condition in needed:
        if condition == "service_healthy":
            assert compose[name]["healthcheck"]["test"]
        else:
            assert condition == "service_completed_successfully"
            assert "restart" not in compose[name]
    assert {"sqlserver", "database", "migrate", "receiver", "jaeger", "collector", "prometheus"} == {
        name for name, _ in needed
    }


def test_what_is_kept_is_kept_in_volumes(compose: dict[str, Any]) -> None:
    """Rows, traces, the Collector's queue and the job's journal outlive their containers, where they are written."""
    volumes = {
        (name, volume["source"]): volume["target"]
        for name, service in compose.items()
        for volume in service.get("volumes", ())
        if volume["type"] == "volume"
    }
    assert volumes == {
        ("sqlserver", "warehouse"): "/var/opt/mssql",
        ("jaeger", "traces"): compose["jaeger"]["environment"]["JAEGER_STORAGE"],
        ("collector", "queue"): compose["collector"]["environment"]["OTELCOL_QUEUE"],
        ("prometheus", "metrics"): "/prometheus",
        ("demo", "journal"): compose["demo"]["environment"]["DBBTRACE_JOURNAL_DIR"],
    }


def test_mounted_configurations_are_valid_in_the_environment_of_their_service(
    compose: dict[str, Any], binaries: Binaries
) -> None:
    """Each mounted file exists, is mounted where the command looks, and is valid with the variables of its service."""
    mounted = 0
    for service in compose.values():
        for volume in service.get("volumes", ()):
            if volume["type"] == "bind":
                assert volume["read_only"]
                assert Path(volume["source"]).is_file()
            if volume["type"] == "bind" and Path(volume["source"]).name in PROGRAMS:
                assert volume["target"] in service["command"]
                validated(binaries, Path(volume["source"]), service["environment"])
                mounted += 1
    assert mounted == 2


def test_services_find_one_another(compose: dict[str, Any]) -> None:
    """Every host name in a variable is a service, and its port is one that the service listens on."""
    listens = {
        "receiver": "4318",
        "jaeger": compose["jaeger"]["environment"]["JAEGER_OTLP_GRPC"].rpartition(":")[2],
        "collector": compose["collector"]["environment"]["OTELCOL_HTTP"].rpartition(":")[2],
    }
    assert compose["receiver"]["command"] == ["serve", "--http", f"0.0.0.0:{listens['receiver']}"]
    assert compose["collector"]["environment"]["WAREHOUSE_RECEIVER"] == f"http://receiver:{listens['receiver']}"
    assert compose["collector"]["environment"]["JAEGER_OTLP_GRPC"] == f"jaeger:{listens['jaeger']}"
    demo = compose["demo"]["environment"]
    assert demo["OTEL_EXPORTER_OTLP_ENDPOINT"] == f"http://collector:{listens['collector']}"
    assert demo["DBBTRACE_WAREHOUSE"] == "none"
    warehouse = compose["receiver"]["environment"]["DBBTRACE_WAREHOUSE"]
    assert "Server=sqlserver;Database=dbb_warehouse;" in warehouse
    assert f"PWD={{{SECRETS['MSSQL_SA_PASSWORD']}}};" in warehouse
    assert warehouse == compose["migrate"]["environment"]["DBBTRACE_WAREHOUSE"]


def test_metrics_are_scraped_and_shown_from_services(compose: dict[str, Any]) -> None:
    """Prometheus finds its rules and its token, and what it scrapes; Grafana finds Prometheus and the warehouse."""
    mounted = {Path(one["source"]).name: Path(one["target"]) for one in compose["prometheus"]["volumes"]}
    prometheus = yaml.safe_load((CONFIG / "prometheus.yaml").read_text())
    assert f"--config.file={mounted['prometheus.yaml']}" in compose["prometheus"]["command"]
    assert mounted["prometheus.yaml"].parent / prometheus["rule_files"][0] == mounted["alerts.yaml"]
    jobs = {job["job_name"]: job for job in prometheus["scrape_configs"]}
    targets = {name: job["static_configs"][0]["targets"] for name, job in jobs.items()}
    collector = compose["collector"]["environment"]
    assert targets == {
        "dbbtrace-runs": [f"collector:{collector['OTELCOL_RUN_METRICS'].rpartition(':')[2]}"],
        "dbbtrace-receiver": [collector["WAREHOUSE_RECEIVER"].removeprefix("http://")],
        "collector": ["collector:8888"],
    }
    [secret] = compose["prometheus"]["secrets"]
    assert int(secret["mode"], 8) == 0o444
    assert jobs["dbbtrace-receiver"]["authorization"]["credentials_file"] == secret["target"]
    sources = yaml.safe_load((CONFIG / "grafana" / "datasources.yaml").read_text())["datasources"]
    for source in sources:
        name, _, port = source["url"].removeprefix("http://").partition(":")
        assert int(port) in {published["target"] for published in compose[name]["ports"]}
    assert f"Database={sources[1]['jsonData']['database']};" in compose["receiver"]["environment"]["DBBTRACE_WAREHOUSE"]
