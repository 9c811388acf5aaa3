"""``dbbtrace[mssql]`` in an environment without pyodbc: the real mssql-python, and a live server where one is named."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.packaging.conftest import REPOSITORY, Venv

LIVE = "DBBTRACE_TEST_MSSQL"
TOOLS = ("hypothesis", "pytest", "pytest-timeout", "pytest-xdist", "sqlglot")


@pytest.fixture(scope="module")
def without_pyodbc(wheel: Path, make_venv: Callable[..., Venv]) -> Venv:
    """The wheel with the extra mssql; pyodbc, which a wheel always brings, is taken out."""
    venv = make_venv(f"{wheel}[mssql]", *TOOLS)
    venv.run("python", "-m", "pip", "uninstall", "--quiet", "--yes", "pyodbc")
    return venv


SCRIPT = """
import sys
from dbbtrace.errors import ConfigurationError, TransientError
from dbbtrace.warehouse import open_warehouse, tsql
from dbbtrace.warehouse.drivers import mssql_python

tsql.knock = lambda address: None  # the driver's own words are asked for
mssql_python.LOGIN_TIMEOUT = 2  # Microsoft's driver tries a port that nobody listens on until the time is up

def said(url, kind, **login):
    try:
        open_warehouse(url, **login).query("SELECT 1")
    except kind as error:
        assert type(error) is kind, error
        return str(error)

gone = "Server=127.0.0.1,1;Database=d;"
assert "TCP Provider" in said(gone + "UID=u;PWD=geheim", TransientError)
assert "TCP Provider" in said(gone + "Encrypt=no", TransientError, access_token="geheim")
refused = said(gone + "UID=u;PWD=geheim;Language=Dutch", ConfigurationError)
assert "'language'" in refused and "geheim" not in refused, refused
assert "takes no other" in said("Driver=FreeTDS;" + gone + "UID=u;PWD=p", ConfigurationError)
assert not sys.modules.get("pyodbc")
"""


def test_connection_errors_are_clear_and_hold_no_secret(without_pyodbc: Venv, tmp_path: Path) -> None:
    """Nobody answers, a token is given, a keyword is unknown, another driver is named."""
    without_pyodbc.run("python", "-c", SCRIPT, cwd=tmp_path)


@pytest.mark.skipif(not os.environ.get(LIVE), reason=f"{LIVE} holds no connection string")
@pytest.mark.timeout(3600)
def test_the_live_tests_of_the_warehouse_hold(without_pyodbc: Venv) -> None:
    """The same tests that pyodbc passes."""
    said = without_pyodbc.run(
        "python", "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/warehouse", "-k", "live", cwd=REPOSITORY
    )
    assert " passed" in said
