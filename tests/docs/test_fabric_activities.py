"""The activities of docs/fabric.md for pipelines without Python: evaluated as a pipeline would, and carried out."""

from __future__ import annotations

import json
import os
import re
import shlex
import sqlite3
from pathlib import Path
from typing import Any

import pytest
import sqlglot

import dbbtrace
from dbbtrace.sources.otlp.files import import_otlp
from dbbtrace.warehouse.schema import TABLES
from tests.docs.expressions import MissingMemberError, filled
from tests.docs.pages import REPOSITORY, blocks
from tests.sources.fabric.examples import ACTIVITY, failed, succeeded
from tests.warehouse.conftest import IN_TURN, LIVE, live_server

PAGE = (REPOSITORY / "docs/fabric.md").read_text(encoding="utf-8")
FILES = {block.options["file"]: block.text for block in blocks("fabric.md", PAGE) if "file" in block.options}
RUN = "0F8FAD5B-D9CB-469F-A165-70867728950E"
HOSTILE = """it's "mdm"; DROP TABLE x --"""
NEWEST = "table_name, schema_name, source_name, status, timestamp, rows_read, rows_written, data_read, throughput"


def context(output: dict[str, Any], status: str, **item: Any) -> dict[str, Any]:
    """What the expressions can ask: the activity, the pipeline and the ForEach's item."""
    activity = {
        "output": output, "Status": status, "ActivityRunId": ACTIVITY.upper(),
        "ExecutionStartTime": "2025-11-20T07:00:01.0000000Z", "ExecutionEndTime": "2025-11-20T07:00:18.5000000Z",
    }  # fmt: skip
    if status == "Failed":
        activity["Error"] = {"errorCode": "2200", "message": "Cannot connect to 'mds01'.\nSay \"why\"."}
    return {
        "activity": {"integrate_source_table": activity},
        "pipeline": {"parameters": {"orchestration_run_id": RUN, "data_product": "Finance"}, "DataFactory": "W",
                     "Pipeline": "P", "RunId": "R"},
        "item": {"table_name": "Customer", "schema_name": "mdm", "source_name": "MDS", "load_type": "full", **item},
    }  # fmt: skip


OUTCOMES = [
    (succeeded(), "Succeeded", ("Succeeded", "2025-11-20 07:00:05", 1200, 1200, 2_048_000, 170.67)),
    (failed(), "Failed", ("Failed", "2025-11-20 07:00:05", None, None, None, None)),
    ({}, "Failed", ("Failed", "2025-11-20 07:00:01", None, None, None, None)),
]


@pytest.mark.parametrize(("output", "status", "row"), OUTCOMES, ids=["succeeded", "failed", "no output"])
def test_the_web_activity(tmp_path: Path, output: dict[str, Any], status: str, row: tuple[Any, ...]) -> None:
    """Its body is OTLP, whatever the Copy lacks; and the import of the same activity later gives no second row."""
    body = filled(FILES["web_body.txt"], **context(output, status))
    (tmp_path / "span.json").write_text(json.dumps(json.loads(body)), encoding="utf-8")
    dbbtrace.configure(warehouse="sqlite:///w.db")
    import_otlp(tmp_path / "span.json")
    whole = {"activityRunId": ACTIVITY, "status": status, "output": output, "activityRunStart":
             "2025-11-20T07:00:01.0000000Z", "activityRunEnd": "2025-11-20T07:00:18.5000000Z"}  # fmt: skip
    assert dbbtrace.record_copy(whole, "Customer", schema="mdm", source="MDS", run_id=RUN, pipeline_run_id="R")
    assert dbbtrace.flush(30)
    with sqlite3.connect("w.db") as connection:
        [found] = connection.execute(f"SELECT {NEWEST}, error_message FROM monitoring_integration").fetchall()
    assert found[:-1] == ("Customer", "mdm", "MDS", *row)
    assert found[-1] == (None if status == "Succeeded" else "Cannot connect to 'mds01'.\nSay \"why\".")


def statements(output: dict[str, Any], status: str, **item: Any) -> str:
    return filled(FILES["script.sql"], **context(output, status, **item))


@pytest.mark.parametrize(("output", "status", "row"), OUTCOMES, ids=["succeeded", "failed", "no output"])
def test_the_script(output: dict[str, Any], status: str, row: tuple[Any, ...]) -> None:
    """A failed Copy leaves its row; a quote in a name is a name; run by an engine that takes T-SQL's meaning."""
    import duckdb

    script = statements(output, status, table_name=HOSTILE)
    values = dict(re.findall(r"DECLARE (@\w+) varchar\(max\) = ('(?:[^']|'')*');", script))
    insert = script[script.index("INSERT INTO") :]
    for name, value in values.items():
        insert = re.sub(rf"{name}\b", lambda _, value=value: value, insert)
    assert len(sqlglot.parse(script, read="fabric", error_level=sqlglot.ErrorLevel.RAISE)) == 3
    connection = duckdb.connect()
    connection.execute("CREATE SCHEMA meta")
    names = [column.name for column in TABLES[0].columns]
    connection.execute(f"CREATE TABLE meta.monitoring_integration ({', '.join(f'{name} VARCHAR' for name in names)})")
    [translated] = sqlglot.transpile(insert, read="tsql", write="duckdb")
    connection.execute(translated)
    [found] = connection.execute(f"SELECT {NEWEST} FROM meta.monitoring_integration").fetchall()
    assert found[:3] == (HOSTILE, "mdm", "MDS")
    assert [None if value is None else str(value) for value in row] == list(found[3:])


@IN_TURN
@pytest.mark.skipif(not os.environ.get(LIVE), reason=f"{LIVE} holds no connection string")
@pytest.mark.parametrize(("output", "status", "row"), OUTCOMES, ids=["succeeded", "failed", "no output"])
def test_the_script_on_a_server(output: dict[str, Any], status: str, row: tuple[Any, ...]) -> None:
    """The same, by T-SQL itself."""
    with live_server() as warehouse:
        warehouse.migrate()
        warehouse.query("DELETE FROM meta.monitoring_integration")
        warehouse.query(statements(output, status, table_name=HOSTILE))
        [found] = warehouse.query(f"SELECT {NEWEST} FROM meta.monitoring_integration").rows
    # Babelfish leaves JSON's escapes in what JSON_VALUE gives.
    assert (found[0].replace('\\"', '"'), *found[1:3]) == (HOSTILE, "mdm", "MDS")
    assert [str(value) for value in row] == [str(value) for value in found[3:]]


def test_the_platforms_own_expression_fails_where_ours_does_not() -> None:
    """A failed Copy has no rowsRead: without ``?`` the activity itself fails, and the row is lost."""
    with pytest.raises(MissingMemberError):
        filled("@{activity('integrate_source_table').output.rowsRead}", **context(failed(), "Failed"))


def test_pip_takes_the_download_command() -> None:
    """All wheels, for the runtime's Python and platform, whatever this machine is."""
    from pip._internal.cli.cmdoptions import check_dist_restriction
    from pip._internal.commands import create_command

    text = next(block.text for block in blocks("fabric.md", PAGE) if "pip download" in block.text)
    command = next(line for line in text.replace("\\\n", " ").splitlines() if line.startswith("pip download"))
    options, wanted = create_command("download").parse_args(shlex.split(command)[2:])
    check_dist_restriction(options)
    assert options.python_version == (3, 11)
    assert options.format_control.only_binary == {":all:"}
    assert options.platforms == ["manylinux2014_x86_64", "manylinux_2_28_x86_64"]
    assert wanted == ["dbbtrace[fabric]"]
