"""The public names: curated, sorted, each there, each imported only when it is needed."""

from __future__ import annotations

import subprocess
import sys

import pytest

import dbbtrace
from dbbtrace.errors import UsageError


def test_every_name_is_there_and_in_order():
    """What __all__ promises exists; the list is sorted, so that a double is seen."""
    assert dbbtrace.__all__ == sorted(dbbtrace.__all__)
    assert dir(dbbtrace) == dbbtrace.__all__
    for name in dbbtrace.__all__:
        value = getattr(dbbtrace, name)
        assert name == "__version__" or value.__doc__, name


def test_a_name_that_is_not_there_is_an_attribute_error():
    """As for any module."""
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        dbbtrace.nonsense  # noqa: B018


def test_what_operators_do_works_from_python(tmp_path):
    """migrate, a job, recover, query and doctor, all on what configure() was told."""
    dbbtrace.configure(warehouse="sqlite:///w.db", journal_dir=tmp_path / "j")
    with dbbtrace.open_warehouse(create=True):
        done = dbbtrace.migrate(views=True)
    assert any("monitoring_integration" in line for line in done)
    assert not any("created table" in line for line in dbbtrace.migrate(views=True))
    with dbbtrace.join_run("r"), dbbtrace.table_load("Customer"):
        pass
    assert dbbtrace.query("SELECT table_name FROM meta.monitoring_integration", into="rows") == [
        {"table_name": "Customer"}
    ]
    assert dbbtrace.recover(timeout=5).journals == 0
    states = {finding.area: finding.state for finding in dbbtrace.doctor()}
    assert states["warehouse"] == "ok"


def test_reading_without_a_warehouse_says_what_to_do():
    """Not a silent empty answer."""
    dbbtrace.configure(warehouse="none")
    with pytest.raises(UsageError, match="DBBTRACE_WAREHOUSE"):
        dbbtrace.query("SELECT 1")


def test_the_lazy_names_stay_lazy():
    """import dbbtrace brings none of the modules that a job may not need."""
    code = "import sys, dbbtrace; print([m for m in sys.modules if m.startswith('dbbtrace.')])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    for module in ("dbbtrace.warehouse", "dbbtrace.sources", "dbbtrace.pages", "dbbtrace.cli", "dbbtrace.delivery"):
        assert f"'{module}" not in loaded
