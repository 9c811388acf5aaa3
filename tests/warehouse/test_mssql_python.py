"""T-SQL through mssql-python: when it is used, what it is given, and what its exceptions mean.

The server and its exceptions are stand-ins; the exceptions' classes and texts are the package's own.
``tests/packaging/test_mssql.py`` has the real package.
"""

from __future__ import annotations

import ctypes
import sys
import types

import pytest

from dbbtrace.errors import ConfigurationError, LoginError, RefusedError, TransientError
from dbbtrace.warehouse import driver_errors, driver_texts, open_warehouse
from dbbtrace.warehouse.drivers import mssql_python as driver
from tests.warehouse.sql_server import Server

real = pytest.importorskip("mssql_python", reason="the extra mssql is not installed", exc_type=ImportError)
DW = "Server=dw;Database=dbb;UID=u;PWD=geheim"


def fault(state: str, message: str, *, server: bool = True) -> Exception:
    """The exception as mssql-python raises it."""
    from mssql_python.exceptions import raise_exception

    tags = "[Microsoft][ODBC Driver 18 for SQL Server]" + ("[SQL Server]" if server else "")
    with pytest.raises(real.Error) as raised:
        raise_exception(state, tags + message)
    return raised.value


@pytest.fixture
def server(tmp_path, monkeypatch) -> Server:
    """A SQL Server, reached through what ``import mssql_python`` gives; there is no pyodbc."""
    server = Server(tmp_path / "server.db")
    server.stand_in(monkeypatch)
    module = types.ModuleType("mssql_python")
    module.connect, module.__version__ = server.connect, real.__version__
    module.pooling = lambda **arguments: None
    monkeypatch.setitem(sys.modules, "mssql_python", module)
    monkeypatch.setitem(sys.modules, "pyodbc", None)
    return server


def said(server: Server) -> str:
    """The connection string that it was given."""
    return server.connect_arguments[-1][0]


# -- which driver -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "used"),
    [
        (DW, "pyodbc 5.2.0"),
        ("Driver={My Driver};" + DW, "pyodbc 5.2.0"),
        ("DSN=mine;" + DW, "pyodbc 5.2.0"),
        ("Driver={ODBC Driver 17 for SQL Server};" + DW, f"mssql-python {real.__version__}"),
        ("Driver=/nowhere/libmsodbcsql-18.6.so.2.1;" + DW, f"mssql-python {real.__version__}"),
    ],
)
def test_pyodbc_is_used_where_it_finds_the_odbc_driver(server, monkeypatch, url, used):
    """Otherwise mssql-python, which has Microsoft's driver."""
    monkeypatch.setitem(sys.modules, "pyodbc", server.module())
    assert open_warehouse(url).driver.startswith(f"{used} with libmsodbcsql")


def test_without_mssql_python_the_missing_odbc_driver_is_pyodbcs_to_name(server, monkeypatch):
    """Its message says what to install."""
    monkeypatch.setitem(sys.modules, "pyodbc", server.module())
    monkeypatch.setitem(sys.modules, "mssql_python", None)
    assert open_warehouse("Driver={ODBC Driver 17 for SQL Server};" + DW).driver.startswith("pyodbc")


@pytest.mark.parametrize("other", ["Driver=FreeTDS;", "DSN=mine;"])
def test_another_odbc_driver_is_not_replaced_in_silence(server, other):
    """The message names what to leave out."""
    with pytest.raises(ConfigurationError, match=r"takes no other: leave Driver=.* out .* or install pyodbc"):
        open_warehouse(other + DW).query("SELECT 1")


# -- what it is given ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("url", [DW, "driver={ODBC Driver 18 for SQL Server};" + DW + ";App=mine"])
def test_driver_and_app_are_left_out(server, url):
    """It refuses both, and chooses them itself."""
    open_warehouse(url).query("SELECT 1")
    assert said(server) == "Server=dw;Database=dbb;UID=u;PWD=geheim;Encrypt=yes;"
    assert server.connect_arguments[0][1]["autocommit"] is True
    assert server.connect_arguments[0][1]["timeout"] >= 90
    assert server.connections[0].timeout >= 60


def test_an_access_token_goes_with_it(server):
    """As the attribute of Microsoft's driver; a new one for each connection."""
    given = iter(["first", "second"])
    warehouse = open_warehouse("mssql://dw/dbb", access_token=lambda: next(given))
    for token in ("first", "second"):
        warehouse.query("SELECT 1")
        warehouse.close()
        assert token.encode("utf-16-le") in server.connect_arguments[-1][1]["attrs_before"][1256]
        assert token not in said(server)


def test_a_keyword_that_it_does_not_take_is_named(server):
    """Without the secrets beside it; the package itself knows which these are."""
    from mssql_python.connection_string_parser import _ConnectionStringParser

    def connect(text, **_):
        _ConnectionStringParser(validate_keywords=True)._parse(text)

    sys.modules["mssql_python"].connect = connect
    with pytest.raises(ConfigurationError, match=r"does not take .*'language'.*leave that out") as raised:
        open_warehouse(DW + ";Language=Dutch").query("SELECT 1")
    assert "geheim" not in str(raised.value)


def test_its_pool_is_turned_off_unless_the_job_imported_it_first(monkeypatch, tmp_path):
    """A forked child would take its parent's connections out of it."""
    (tmp_path / "mssql_python.py").write_text("calls = []\ndef pooling(**arguments): calls.append(arguments)\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "mssql_python")
    driver.MssqlPython()
    driver.MssqlPython()
    assert sys.modules["mssql_python"].calls == [{"enabled": False}]
    monkeypatch.delitem(sys.modules, "mssql_python")

    import mssql_python

    driver.MssqlPython()
    assert mssql_python.calls == []


# -- what is missing ----------------------------------------------------------------------------------------


@pytest.fixture
def slim(monkeypatch):
    """A slim image: without two of the three libraries."""
    load = ctypes.CDLL

    def loaded(name, *arguments, **options):
        if name in ("libltdl.so.7", "libkrb5.so.3"):
            raise OSError(f"{name}: cannot open shared object file: No such file or directory")
        return load(name, *arguments, **options) if name != "libgssapi_krb5.so.2" else None

    monkeypatch.setattr(ctypes, "CDLL", loaded)
    monkeypatch.setattr(sys, "platform", "linux")


def test_libraries_that_slim_images_lack_are_named_together(server, slim):
    """With the packages that have them, when its ODBC driver can't be loaded."""
    server.connect_faults = [RuntimeError("Failed to load the driver. Please read the documentation.")]
    with pytest.raises(
        ConfigurationError, match=r"libltdl\.so\.7, libkrb5\.so\.3.*apt-get install libltdl7 libkrb5-3$"
    ):
        open_warehouse(DW).query("SELECT 1")


def test_an_import_that_fails_names_them_too(monkeypatch, tmp_path, slim):
    """And what was said."""
    (tmp_path / "mssql_python.py").write_text("raise ImportError('libx.so.1: cannot open')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "mssql_python")
    monkeypatch.setitem(sys.modules, "pyodbc", None)
    with pytest.raises(ConfigurationError, match=r"libx\.so\.1: cannot open.*apt-get install libltdl7"):
        open_warehouse(DW).query("SELECT 1")


def test_what_the_server_says_stays_what_it_is_on_a_slim_image(server, slim):
    """A library that its driver did not need is no reason."""
    server.connect_faults = [fault("42000", "Cannot open database 'dbb' requested by the login. The login failed.")]
    with pytest.raises(TransientError):
        open_warehouse(DW).query("SELECT 1")


# -- what its exceptions mean -------------------------------------------------------------------------------

AGAIN = [
    ("40001", "Transaction (Process ID 52) was deadlocked on lock resources with another process."),
    ("42000", 'Cannot open database "dbb" requested by the login. The login failed.'),
    ("42000", "Database 'dbb' on server 's' is not currently available. Please retry the connection later."),
    ("42000", "The service is currently busy. Retry the request after 10 seconds. Code: 1"),
    ("42000", "The service has encountered an error processing your request. Please try again. Error code 1."),
    ("42000", "Resource ID : 1. The request limit for the database is 30 and has been reached."),
    ("42000", "Resource ID: 1. However, the server is currently too busy to support requests greater than 0."),
    ("42000", "Cannot process request. Not enough resources to process request. Please retry you request later."),
    ("42000", "Cannot process create or update request. Too many create or update operations in progress."),
    ("42000", "Cannot process request. Too many operations in progress for subscription \"s\"."),
    ("42000", "Lock request time out period exceeded."),
    ("42000", "Snapshot isolation transaction aborted due to update conflict. Using snapshot isolation to access ..."),
    ("42000", "There is insufficient system memory in resource pool 'default' to run this query."),
    ("42000", "SHUTDOWN is in progress."),
    ("42000", "The SQL pool is warming up. Please try again."),
    ("23000", "Cannot insert duplicate key row in object 'meta.t' with unique index 'ux'."),
    ("23000", "Violation of UNIQUE KEY constraint 'ux'. Cannot insert duplicate key in object 'meta.t'."),
    ("23000", 'duplicate key value violates unique constraint "ux"'),
    ("HYT00", "Query timeout expired"),
    ("28000", "Login failed for user 'u'. Reason: Server is in script upgrade mode."),
]  # fmt: skip
A_PERSON = [
    ("28000", "Login failed for user 'u'.", "check the login"),
    ("28000", "Anmeldung fehlgeschlagen.", "Anmeldung"),
    ("42S02", "Invalid object name 'meta.monitoring_integration'.", "dbbtrace migrate"),
    ("42000", 'relation "meta.monitoring_integration" does not exist', "dbbtrace migrate"),
    ("42S22", "Invalid column name 'record_id'.", "dbbtrace migrate"),
    ("42000", "The INSERT permission was denied on the object 't', database 'dbb', schema 'meta'.", "GRANT SELECT"),
    ("42000", "CREATE TABLE permission denied in database 'dbb'.", "dry-run"),
    ("08004", 'The server principal "u" is not able to access the database "dbb" under the current security context.',
     "CREATE USER"),
    ("23000", "Cannot insert the value NULL into column 'x', table 'dbb.meta.t'; column does not allow nulls.",
     "nullable"),
    ("42000", "Incorrect syntax near 'x'.", "Incorrect syntax"),
    ("42000", "Fehler mit 1205 darin, in einer anderen Sprache.", "anderen Sprache"),
]  # fmt: skip
NEVER = [
    ("22001", "String or binary data would be truncated in table 'dbb.meta.t', column 'x'."),
    ("22003", "Arithmetic overflow error converting expression to data type bigint."),
    ("42000", "Error converting data type nvarchar to bigint."),
    ("22007", "Conversion failed when converting date and/or time from character string."),
    ("42000", "JSON text is not properly formatted. Unexpected character 'x' is found at position 3."),
    ("23000", 'The INSERT statement conflicted with the CHECK constraint "c".'),
    ("22018", "Anything."),
]


@pytest.mark.parametrize(("state", "message"), AGAIN, ids=lambda text: text[:40])
def test_what_passes_is_tried_again(state, message):
    """Told by the server's words, since there is no number."""
    assert type(driver_errors.of_mssql_python(fault(state, message))) is TransientError


@pytest.mark.parametrize(("state", "message", "says"), A_PERSON, ids=lambda text: text[:40])
def test_what_a_person_must_mend_says_how(state, message, says):
    """What is unknown dead-letters nothing."""
    error = driver_errors.of_mssql_python(fault(state, message))
    assert type(error) is (LoginError if state == "28000" else ConfigurationError)
    assert says in str(error)


@pytest.mark.parametrize(("state", "message"), NEVER, ids=lambda text: text[:40])
def test_what_the_server_refuses_is_refused(state, message):
    """By its words, or by the SQLSTATE alone."""
    assert type(driver_errors.of_mssql_python(fault(state, message))) is RefusedError


def test_a_value_can_not_pass_for_a_message():
    """Only how a message begins says what it is."""
    error = fault("42000", "Something about 'Lock request time out period exceeded'.")
    assert type(driver_errors.of_mssql_python(error)) is ConfigurationError


@pytest.mark.parametrize("state", ["08S01", "08003", "08007", "HYT00"])
def test_a_connection_lost_while_writing_leaves_its_fate_open(state):
    """While reading it does not."""
    error = fault(state, "TCP Provider: Error code 0x20", server=False)
    lost = driver_errors.of_mssql_python(error, writing=True)
    assert isinstance(lost, TransientError)
    assert lost.ambiguous
    assert not driver_errors.of_mssql_python(error).ambiguous


def test_a_certificate_that_nobody_trusts_is_for_a_person():
    """As with pyodbc."""
    error = fault("08001", "SSL Provider: [error:0A000086:SSL routines::certificate verify failed]", server=False)
    assert "TrustServerCertificate=yes" in str(driver_errors.of_mssql_python(error))


def test_a_secret_in_an_error_is_masked():
    """Whatever repeats it."""
    error = fault("28000", "Login failed for user 'u'; PWD=geheim;")
    assert "geheim" not in str(driver_errors.of_mssql_python(error))


def test_the_texts_of_the_states_are_those_of_the_package():
    """A release that words one differently would have it sorted wrongly."""
    from mssql_python.exceptions import sqlstate_to_exception

    assert {sqlstate_to_exception(state, "").driver_error: state for state in driver_texts.STATES.values()} == (
        driver_texts.STATES
    )


def test_every_number_of_the_texts_means_something():
    """A text whose number is sorted nowhere would be dead."""
    sorted_numbers = driver_errors.RETRIABLE_ERRORS | driver_errors._DOUBLED | driver_errors._REFUSED_ERRORS
    assert set(driver_texts.NUMBERS) <= sorted_numbers | driver_errors._ADVICE.keys()
