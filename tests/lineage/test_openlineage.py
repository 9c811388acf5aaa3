"""OpenLineage events: valid by the specification's own schema, the same whenever they are asked for, really sent."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from dbbtrace.answers.lineage import lineage
from dbbtrace.answers.openlineage import as_json_lines, events, run_uuid, warehouse_namespace
from dbbtrace.errors import ConfigurationError
from dbbtrace.model.identity import trace_id_of
from dbbtrace.sources.dbt.manifest import load_manifest
from tests.cli.support import assert_one_line, run
from tests.lineage.rows import FINANCE, Story
from tests.lineage.test_lineage import CUSTOMER, RUN, manifest

SPECIFICATION = Path(__file__).with_name("specification")
SCHEMAS = [json.loads(path.read_text()) for path in SPECIFICATION.rglob("*.json")]
REGISTRY = Registry().with_resources((schema["$id"], Resource.from_contents(schema)) for schema in SCHEMAS)
EVENT = next(schema for schema in SCHEMAS if schema["$id"].endswith("/OpenLineage.json"))


def assert_valid(event: dict[str, Any]) -> None:
    """By the schema of events, and each facet by its own, which its ``_schemaURL`` names."""
    Draft202012Validator(EVENT, registry=REGISTRY, format_checker=Draft202012Validator.FORMAT_CHECKER).validate(event)
    uuid.UUID(event.get("run", {"runId": str(uuid.uuid4())})["runId"])
    facets = [event["job"]["facets"], event.get("run", {}).get("facets", {})]
    for data in [*event["inputs"], *event["outputs"]]:
        facets += [data.get(kind, {}) for kind in ("facets", "inputFacets", "outputFacets")]
    for facet in (facet for group in facets for facet in group.values()):
        Draft202012Validator({"$ref": vendored(facet["_schemaURL"])}, registry=REGISTRY).validate(facet)


def vendored(url: str) -> str:
    """The schema of that name that is here: a newer openlineage-python may name a newer version of it."""
    address, _, place = url.partition("#")
    return next(s["$id"] for s in SCHEMAS if s["$id"].rpartition("/")[2] == address.rpartition("/")[2]) + f"#{place}"


@pytest.fixture
def story() -> Story:
    """A load that succeeds and one that fails, models built, failed and skipped, one that runs, and a refresh."""
    told = Story()
    told.load(RUN, "Customer", 0)
    told.load(RUN, "Invoice", 0, status="Failed")
    told.node(RUN, "model.shop.stg_customer", 1, [CUSTOMER], materialized="view")
    told.node(RUN, "model.shop.fct", 1.1, ["model.shop.stg_customer", "model.shop.inlined"])
    told.node(RUN, "model.shop.broken", 1.1, ["model.shop.fct"], status="error", message="no such column")
    told.node(RUN, "model.shop.below", None, ["model.shop.broken"], status="skipped")
    told.node(RUN, "model.shop.slow", 1.2, ["model.shop.fct"], status="running")
    told.refresh(RUN, 2, reads=["fct"])
    return told


def made(story: Story, path: Path, **options: Any) -> list[dict[str, Any]]:
    found = lineage(story.stored(path / "w.db"), RUN, **options)
    return [json.loads(line) for line in as_json_lines(events(found, namespace="mssql://dwh:1433")).splitlines()]


def of(told: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    return [event for event in told if event["job"]["name"] == f"Finance.PRD.{name}"]


def test_every_event_is_valid(story: Story, tmp_path: Path) -> None:
    """And the check can fail: an event without its run id, or with a facet that lacks a field, is refused."""
    told = made(story, tmp_path)
    for event in told:
        assert_valid(event)
    broken = json.loads(json.dumps(told[0]))
    del broken["run"]["runId"]
    with pytest.raises(Exception, match="runId"):
        assert_valid(broken)
    broken = json.loads(json.dumps(told[0]))
    del broken["job"]["facets"]["jobType"]["processingType"]
    with pytest.raises(Exception, match="processingType"):
        assert_valid(broken)


def test_each_run_starts_once_and_ends_once(story: Story, tmp_path: Path) -> None:
    """As it ended; what still runs has not; what was skipped never began."""
    told = made(story, tmp_path)
    kinds: dict[str, list[str]] = {}
    for event in told:
        kinds.setdefault(event["job"]["name"].removeprefix("Finance.PRD"), []).append(event["eventType"])
    assert kinds == {
        "": ["START", "FAIL"],
        ".integration.MDS.mdm.Customer": ["START", "COMPLETE"],
        ".integration.MDS.mdm.Invoice": ["START", "FAIL"],
        ".transformation.model.shop.stg_customer": ["START", "COMPLETE"],
        ".transformation.model.shop.fct": ["START", "COMPLETE"],
        ".transformation.model.shop.broken": ["START", "FAIL"],
        ".transformation.model.shop.slow": ["START"],
        ".consumption.semantic model Finance": ["START", "COMPLETE"],
    }
    assert [event["eventTime"] for event in told] == sorted(event["eventTime"] for event in told)
    [_, failed] = of(told, "transformation.model.shop.broken")
    assert failed["run"]["facets"]["errorMessage"]["message"] == "no such column"


def test_what_one_wrote_the_next_one_reads(story: Story, tmp_path: Path) -> None:
    """The same namespace and name on both sides, from the source system to the semantic model."""
    told = made(story, tmp_path)

    def names(name: str, side: str) -> list[tuple[str, str]]:
        return [(data["namespace"], data["name"]) for data in of(told, name)[0][side]]

    dwh = "mssql://dwh:1433"
    assert names("integration.MDS.mdm.Customer", "inputs") == [("MDS", "mdm.Customer")]
    assert names("integration.MDS.mdm.Customer", "outputs") == [(dwh, "mds.mdm.customer")]
    assert names("transformation.model.shop.stg_customer", "inputs") == [(dwh, "mds.mdm.customer")]
    assert names("transformation.model.shop.stg_customer", "outputs") == [(dwh, "dbb.marts.stg_customer")]
    assert names("transformation.model.shop.fct", "inputs")[0] == (dwh, "dbb.marts.stg_customer")
    assert names("consumption.semantic model Finance", "inputs") == [(dwh, "dbb.marts.fct")]
    assert names("consumption.semantic model Finance", "outputs") == [("powerbi", FINANCE)]
    [_, ended] = of(told, "integration.MDS.mdm.Customer")
    [output] = ended["outputs"]
    assert output["outputFacets"]["outputStatistics"]["rowCount"] == 100
    assert output["outputFacets"]["outputStatistics"]["size"] == 4096


def test_a_manifest_gives_the_names_in_the_database(story: Story, tmp_path: Path) -> None:
    """Of loaded tables; an ephemeral model is no data, what it reads is; exposures are jobs without a run."""
    given = load_manifest(
        manifest(tmp_path / "manifest.json", inlined=([CUSTOMER], "ephemeral"), fct=([], "table"))
    ).by_id()
    told = made(story, tmp_path, manifest=given)
    for event in told:
        assert_valid(event)
    [output] = of(told, "integration.MDS.mdm.Customer")[0]["outputs"]
    assert output["name"] == "dbb.raw.MDS__mdm_Customer"
    inputs = [data["name"] for data in of(told, "transformation.model.shop.fct")[0]["inputs"]]
    assert inputs == ["dbb.marts.stg_customer", "dbb.raw.MDS__mdm_Customer"]
    [board] = of(told, "consumption.exposure.shop.board")
    assert "run" not in board
    assert [data["name"] for data in board["inputs"]] == ["dbb.marts.fct"]


def test_ids_are_the_same_whenever_they_are_asked_for(story: Story, tmp_path: Path) -> None:
    """A GUID stays what it is, any other run id gives one UUID; each operation's is its record's; all name the run."""
    first, second = made(story, tmp_path), json.loads(json.dumps(made_again(tmp_path)))
    assert first == second
    assert run_uuid(RUN) == RUN
    assert run_uuid("nightly 7") == str(uuid.UUID(int=trace_id_of("nightly 7")))
    below = [event for event in first if "parent" in event.get("run", {}).get("facets", {})]
    assert {event["run"]["facets"]["parent"]["run"]["runId"] for event in below} == {RUN}
    assert len({event["run"]["runId"] for event in below}) == 7


def made_again(path: Path) -> list[dict[str, Any]]:
    from dbbtrace.warehouse import open_warehouse

    with open_warehouse(f"sqlite:///{path}/w.db", create=False) as warehouse:
        found = lineage(warehouse, RUN)
    return [json.loads(line) for line in as_json_lines(events(found, namespace="mssql://dwh:1433")).splitlines()]


@pytest.mark.parametrize(
    ("name", "namespace"),
    [
        ("mssql://dwh.example/meta", "mssql://dwh.example:1433"),
        ("mssql://dwh.example,1444/meta", "mssql://dwh.example:1444"),
        ("sqlite:////data/w.db", "warehouse"),
    ],
)
def test_the_namespace_of_tables_is_the_servers(name: str, namespace: str) -> None:
    """A file of rows says nothing of dbt's database."""

    class Named:
        pass

    warehouse: Any = Named()
    warehouse.name = name
    assert warehouse_namespace(warehouse) == namespace


# -- the command ----------------------------------------------------------------------------------------------


@pytest.fixture
def warehouse(story: Story, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    story.stored(tmp_path / "w.db").close()
    monkeypatch.setenv("DBBTRACE_WAREHOUSE", f"sqlite:///{tmp_path}/w.db")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("OPENLINEAGE_URL", "OPENLINEAGE_CONFIG", "OPENLINEAGE_NAMESPACE", "OPENLINEAGE_DISABLED"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def backend() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A server that keeps the events it is sent; refuses those of a path with ``full``."""
    got: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if "full" not in self.path:
                got.append(json.loads(body))
            self.send_response(400 if "full" in self.path else 200)
            self.end_headers()

        def log_message(self, *arguments: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", got
    server.shutdown()
    thread.join()


def test_events_to_a_file_and_to_stdout(warehouse: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One a line, with the namespaces that were asked for."""
    monkeypatch.setenv("OPENLINEAGE_NAMESPACE", "platform")
    out = run("lineage", RUN, "--openlineage", "-", "--namespace", "duckdb://shop")
    assert out.code == 0, out
    told = [json.loads(line) for line in out.out.splitlines()]
    assert {event["job"]["namespace"] for event in told} == {"platform"}
    assert {data["namespace"] for event in told for data in event["outputs"]} == {"duckdb://shop", "powerbi"}
    assert run("lineage", RUN, "--openlineage", "events.jsonl", "--namespace", "duckdb://shop").out == ""
    assert (tmp_path / "events.jsonl").read_text() == out.out


def test_events_are_sent_where_openlineage_is_configured(
    warehouse: None, backend: tuple[str, list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By openlineage-python itself: here its HTTP transport; each of them is valid as it arrived."""
    url, got = backend
    monkeypatch.setenv("OPENLINEAGE_URL", url)
    done = run("lineage", RUN, "--send-openlineage")
    assert done.code == 0, done
    assert done.err == f"{len(got)} events sent by http\n"
    assert len(got) == 15
    for event in got:
        assert_valid(event)


def test_a_backend_that_refuses_is_told_in_one_line(
    warehouse: None, backend: tuple[str, list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 1: the input was fine."""
    monkeypatch.setenv("OPENLINEAGE_URL", backend[0])
    monkeypatch.setenv("OPENLINEAGE_ENDPOINT", "full")
    assert_one_line(run("lineage", RUN, "--send-openlineage"), "OpenLineage (http) did not take the events", code=1)


def test_nothing_is_sent_nowhere(warehouse: None) -> None:
    """Without a configuration openlineage-python would only log."""
    assert_one_line(run("lineage", RUN, "--send-openlineage"), "OPENLINEAGE_URL", "openlineage.yml")


def test_without_the_package_the_message_names_it(warehouse: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest of lineage works without it."""
    import sys

    monkeypatch.setitem(sys.modules, "openlineage.client", None)
    assert_one_line(run("lineage", RUN, "--openlineage", "-"), 'pip install "dbbtrace[openlineage]"')
    assert run("lineage", RUN).code == 0
    with pytest.raises(ConfigurationError):
        events(None, namespace="x")  # type: ignore[arg-type]
