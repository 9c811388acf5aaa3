"""``dbbtrace.report`` and ``dbbtrace.query``: in notebooks, in Fabric, in plain Python; and ``dbbtrace report``."""

from __future__ import annotations

import html
import re
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import dbbtrace
from dbbtrace.errors import ConfigurationError, UsageError
from tests.answers.history import Size, make, store
from tests.cli.support import HOSTILE, assert_one_line, run
from tests.support.browser import Reader

SQL = "SELECT orchestration_run_id AS run, COUNT(*) AS loads FROM meta.monitoring_integration GROUP BY 1 ORDER BY 1"


@pytest.fixture
def warehouse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Three runs in the warehouse that the environment names; answers the newest run's id."""
    history = make(3, seed=1, failing=0, size=Size(2, 3, 1, 1))
    store(history, tmp_path / "w.db").close()
    monkeypatch.setenv("DBBTRACE_WAREHOUSE", f"sqlite:///{tmp_path}/w.db")
    return str(history.loads[-1]["orchestration_run_id"])


@pytest.mark.xdist_group("browser")
def test_a_notebook_shows_the_page_in_a_frame(warehouse: str, reader: Reader) -> None:
    """The whole page works inside it, and can't reach what is around it."""
    shown = dbbtrace.report("last")._repr_html_()
    page = reader.open(f"<!doctype html><html lang='en'><title>notebook</title><body>{shown}</body></html>")
    frame = page.frame_locator("iframe")
    assert warehouse in frame.locator("header").inner_text()
    assert frame.locator("#count").inner_text() == "7 operations"
    frame.locator("#search").fill("model")
    assert frame.locator("#count").inner_text().startswith("4 of 7")
    assert "allow-same-origin" not in shown


def test_the_page_can_be_saved(warehouse: str, tmp_path: Path) -> None:
    """One file; the overview too."""
    path = dbbtrace.report(warehouse[:8]).save(tmp_path / "run.html")
    assert warehouse in path.read_text(encoding="utf-8")
    overview = dbbtrace.report(since="2026-01-01", data_product="Logistics")
    assert "Orchestration runs" in overview.html
    assert warehouse not in overview.html
    assert " kB: " in repr(overview)


def test_fabric_shows_it_with_its_own_function(warehouse: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """displayHTML stands among the names of a Fabric notebook."""
    import IPython

    shown: list[str] = []
    shell = SimpleNamespace(user_ns={"displayHTML": shown.append})
    monkeypatch.setattr(IPython, "get_ipython", lambda: shell)
    dbbtrace.report("last").show()
    assert shown == [shown[0]]
    assert shown[0].startswith("<!doctype html>")


def test_jupyter_shows_it_with_display(warehouse: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Elsewhere IPython's display does."""
    import IPython.display

    shown: list[Any] = []
    monkeypatch.setattr(IPython.display, "display", shown.append)
    report = dbbtrace.report("last")
    report.show()
    assert shown == [report]


def test_no_run_is_said(warehouse: str) -> None:
    """With what to do."""
    with pytest.raises(UsageError, match="dbbtrace runs"):
        dbbtrace.report("ffff")
    with pytest.raises(UsageError, match="7d"):
        dbbtrace.report(since="someday")


# -- queries ------------------------------------------------------------------------------------------------


def test_rows_of_a_query(warehouse: str) -> None:
    """Dictionaries, and a table in a notebook."""
    rows = dbbtrace.query(SQL, into="rows")
    assert len(rows) == 3
    assert rows.columns == ("run", "loads")
    assert rows[0]["loads"] == 2
    assert rows._repr_html_().count("<tr>") == 4


def test_a_query_gives_a_frame(warehouse: str) -> None:
    """pandas where it is there, polars where it is asked for; the same values."""
    import pandas
    import polars

    frame = dbbtrace.query(SQL)
    assert isinstance(frame, pandas.DataFrame)
    assert frame["loads"].tolist() == [2, 2, 2]
    other = dbbtrace.query(SQL, into="polars")
    assert isinstance(other, polars.DataFrame)
    assert other["run"].to_list() == frame["run"].tolist()
    assert dbbtrace.query(f"SELECT * FROM ({SQL}) WHERE loads > ?", [5], into="polars").shape == (0, 2)


def test_whole_numbers_stay_whole_beside_nothing(warehouse: str) -> None:
    """A column of numbers and NULL is of pandas' nullable integers, not of floats, which lose the last digits."""
    import pandas

    sql = (
        "SELECT 9007199254740993 AS big, 1 AS whole, NULL AS none, 1.5 AS part, NULL AS word"
        " UNION ALL SELECT NULL, 2, NULL, NULL, 'x' UNION ALL SELECT -9223372036854775808, 3, NULL, 2, NULL"
    )
    frame = dbbtrace.query(sql, into="pandas")
    kinds = {name: str(kind) for name, kind in frame.dtypes.items()}
    assert kinds.pop("word") in ("object", "str")
    assert kinds == {"big": "Int64", "whole": "int64", "none": "object", "part": "float64"}
    assert [None if value is pandas.NA else int(value) for value in frame["big"]] == [9007199254740993, None, -(2**63)]
    polars = dbbtrace.query(sql, into="polars")
    assert polars["big"].to_list() == [9007199254740993, None, -(2**63)]


def test_a_small_page_is_no_page_of_no_megabytes(warehouse: str) -> None:
    """Its size is told in units that fit."""
    assert re.search(r"<Report, \d+ kB: ", repr(dbbtrace.report("last")))


def test_without_frames_there_are_rows(warehouse: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """And what was asked for by name and is missing is said."""
    monkeypatch.setitem(sys.modules, "pandas", None)
    assert type(dbbtrace.query(SQL)).__name__ == "DataFrame"
    monkeypatch.setitem(sys.modules, "polars", None)
    assert len(dbbtrace.query(SQL)) == 3
    with pytest.raises(ConfigurationError, match="pip install pandas"):
        dbbtrace.query(SQL, into="pandas")
    with pytest.raises(UsageError, match="polars"):
        dbbtrace.query(SQL, into="spark")


def test_two_columns_of_one_name_are_refused(warehouse: str) -> None:
    """A frame or a dictionary would silently keep one."""
    with pytest.raises(UsageError, match="AS"):
        dbbtrace.query("SELECT 1 AS a, 2 AS a")


def test_a_hostile_value_is_text_in_the_table(warehouse: str) -> None:
    """Like everywhere."""
    shown = dbbtrace.query("SELECT ? AS x", [f"<script>{HOSTILE}"], into="rows")._repr_html_()
    assert "<script>" not in shown
    assert html.escape("<script>") in shown
    assert not set("\x1b\u202e\x07") & set(shown)


def test_the_configured_warehouse_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What ``configure()`` was told beats the environment; none is no warehouse."""
    store(make(1, seed=2), tmp_path / "other.db").close()
    dbbtrace.configure(warehouse=f"sqlite:///{tmp_path}/other.db")
    assert len(dbbtrace.query(SQL, into="rows")) == 1
    monkeypatch.setenv("DBBTRACE_WAREHOUSE", "none")
    with pytest.raises(UsageError, match="none"):
        dbbtrace.query(SQL, warehouse="none")


# -- dbbtrace report ----------------------------------------------------------------------------------------


def test_the_command_writes_a_page(warehouse: str) -> None:
    """Of a run, or the overview; what it wrote is said on stderr."""
    done = run("report", "last", "-o", "run.html", "--jaeger", "http://localhost:16686")
    assert (done.code, done.out) == (0, "")
    assert re.fullmatch(r"run\.html: \d+ kB\n", done.err)
    assert f"http://localhost:16686/trace/{warehouse.replace('-', '')}" in Path("run.html").read_text(encoding="utf-8")
    assert run("report", "--since", "2026-01-01").code == 0
    assert "Orchestration runs" in Path("overview.html").read_text(encoding="utf-8")
    assert run("report", "last", "-o", "-").out.startswith("<!doctype html>")


def test_the_command_says_what_makes_no_sense(warehouse: str) -> None:
    """In one line."""
    assert_one_line(run("report", "ffff"), "dbbtrace runs")
    assert_one_line(run("report", "last", "--since", "3d"), "RUN")
    assert_one_line(run("report", "last", "--jaeger", "javascript:alert(1)"), "16686")
