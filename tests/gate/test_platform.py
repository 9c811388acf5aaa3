"""The platform's own gate and readiness queries beside ours, on the same rows; and where theirs are wrong."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from datetime import timedelta
from itertools import count
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import dbbtrace
from dbbtrace.answers.gate import gate
from dbbtrace.answers.ready import ready
from dbbtrace.cli.commands import dbbtrace as command
from dbbtrace.warehouse import Warehouse
from tests.gate.support import NOW, RUN, load, opened, part, run_id
from tests.gate.test_repair import node, refresh

GATE = """
SELECT COUNT(*) FROM monitoring_integration
WHERE LOWER(status) = 'failed' AND orchestration_run_id = (
    SELECT orchestration_run_id FROM monitoring_integration
    WHERE data_product = ? ORDER BY "timestamp" DESC LIMIT 1
)
"""
READY = """
SELECT COUNT(*) FROM monitoring_integration WHERE data_product = ? AND orchestration_run_id = ? AND status = 'Failed'
"""
FATES = ["Succeeded", "Failed", "Failed, Succeeded", "Succeeded, Failed"]
START = NOW - timedelta(hours=1)
TABLES = [("MDS", "mdm", name) for name in ("Customer", "Company", "Vendor", "Item")]


def of_the_platform(folder: Path, query: str, *values: str) -> bool:
    """Whether the platform goes on."""
    with sqlite3.connect(folder / "rows.db") as file:
        [(failed,)] = file.execute(query, values)
    return bool(failed == 0)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Warehouse, Path]]:
    folder = tmp_path_factory.mktemp("platform")
    with opened(folder) as warehouse:
        yield warehouse, folder


examples = count(1)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    fates=st.lists(
        st.sampled_from(["Succeeded", "Failed", "Failed, Succeeded", "Succeeded, Failed"]), min_size=1, max_size=4
    )
)
def test_the_platforms_queries_give_the_same_answers_where_they_are_right(
    shared: tuple[Warehouse, Path], fates: list[str]
) -> None:
    """They differ only where a load failed and then succeeded: to the platform it has failed for good."""
    warehouse, folder = shared
    example = next(examples)
    run, product = run_id(example), f"Product {example}"
    rows = [part("job", START, run=run, data_product=product)]
    for table, fate in zip(TABLES, fates, strict=False):
        for place, status in enumerate(fate.split(", ")):
            rows.append(load(table, START + timedelta(minutes=place), status, run=run, product=product))
    built = START + timedelta(minutes=10)
    rows += [node(f"model.p.{table[2]}", built, f"source.p.mds.{table[2]}", run=run) for table in TABLES[: len(fates)]]
    warehouse.write(rows)

    went_on = of_the_platform(folder, GATE, product), of_the_platform(folder, READY, product, run)
    ours = gate(warehouse, run, now=NOW).word == "open", ready(warehouse, run, now=NOW).word == "ready"

    well = all(fate.endswith("Succeeded") for fate in fates)
    assert ours == (well, well)
    if "Failed, Succeeded" in fates:
        assert went_on == (False, False)
    else:
        assert went_on == ours


@pytest.fixture
def warehouse(tmp_path: Path) -> Iterator[Warehouse]:
    with opened(tmp_path) as found:
        yield found


def test_a_newer_run_of_the_product_is_judged_by_the_platform_in_place_of_ours(
    warehouse: Warehouse, tmp_path: Path
) -> None:
    """We judge the run that is named."""
    warehouse.write(
        [
            load(TABLES[0], START, "Failed"),
            load(TABLES[0], START + timedelta(minutes=30), run=run_id(7)),
        ]
    )
    assert of_the_platform(tmp_path, GATE, "Finance")
    assert gate(warehouse, RUN, now=NOW).word == "closed"


def test_a_failure_that_left_no_row_is_not_ready(warehouse: Warehouse, tmp_path: Path) -> None:
    """The platform takes a table that never came, and a build that never was, for success."""
    expected = part("expected", START, name="mdm.Company", workload="integration", expected_by="plan")
    warehouse.write([part("job", START), load(TABLES[0], START), expected])
    assert of_the_platform(tmp_path, READY, "Finance", RUN)
    found = ready(warehouse, RUN, now=NOW)
    assert (found.word, found.reasons()) == (
        "not ready",
        ["mdm.Company: it never came; plan says that it belongs into the run"],
    )
    broken = run_id(8)
    warehouse.write(
        [
            part("job", START, run=broken),
            load(TABLES[0], START, run=broken),
            node("model.p.a", START + timedelta(minutes=1), "source.p.mds.Customer", run=broken),
            part("dbt_invocation", START, run=broken, status="Failed", name="dbt build", error_message="no database"),
        ]
    )
    assert ready(warehouse, broken, now=NOW).reasons() == ["dbt has not built +tag:Finance"]


def test_a_node_that_was_not_built_is_not_ready(warehouse: Warehouse, tmp_path: Path) -> None:
    """Whatever became of its tables: the platform looks at the loads alone."""
    built = START + timedelta(minutes=5)
    warehouse.write(
        [
            part("job", START),
            load(TABLES[0], START),
            node("model.p.a", built, "source.p.mds.Customer"),
            node("test.p.unique_a_id.0123456789", built, "model.p.a", status="fail", kind="test"),
            node("model.p.b", None, "model.p.a", status="skipped"),
        ]
    )
    assert of_the_platform(tmp_path, READY, "Finance", RUN)
    assert ready(warehouse, RUN, now=NOW).reasons() == [
        "test unique_a_id: it ended as fail",
        "model b: it ended as skipped",
    ]


def test_it_waits_for_what_has_not_ended(warehouse: Warehouse) -> None:
    """Transformation still runs."""
    warehouse.write(
        [load(TABLES[0], START), part("workload", START, workload="transformation", status="Started", ended=False)]
    )
    found = ready(warehouse, RUN, now=NOW)
    assert (found.exit_code, found.reasons()) == (3, ["transformation has not ended"])


def test_a_refresh_that_failed_does_not_keep_from_refreshing(warehouse: Warehouse, tmp_path: Path) -> None:
    """Only what comes before the refresh is judged; the newest run of the product is the one that is meant."""
    warehouse.write([part("job", START), load(TABLES[0], START), refresh("Report", START, "Failed")])
    url = f"sqlite:///{tmp_path}/rows.db"
    done = CliRunner().invoke(command, ["--warehouse", url, "ready", "--data-product", "Finance"])
    assert (done.exit_code, done.stdout) == (0, f"ready  run {RUN}\n")
    done = CliRunner().invoke(command, ["--warehouse", url, "ready", run_id(12345), "--json"])
    assert done.exit_code == 2


def test_in_python_a_run_that_is_not_ready_is_raised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a closed gate is."""
    with opened(tmp_path) as warehouse:
        warehouse.write([load(TABLES[0], START, "Failed", message="no access")])
    monkeypatch.setenv("DBBTRACE_WAREHOUSE", f"sqlite:///{tmp_path}/rows.db")
    with pytest.raises(dbbtrace.GateClosed, match=r"is not ready: MDS mdm\.Customer: its load at .* no access"):
        dbbtrace.ready(RUN, wait=0)
