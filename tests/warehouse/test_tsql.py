"""T-SQL, through pyodbc: how it connects, what its errors mean, when it tries again. The other driver:
``test_mssql_python``."""

from __future__ import annotations

import errno
import socket
import struct
import sys
import types

import pytest
from dbbtrace_exporters.warehouse.flatten import rows_of

import dbbtrace
from dbbtrace.access import credentials
from dbbtrace.errors import ConfigurationError, DbbtraceError, LoginError, RefusedError, TransientError, UsageError
from dbbtrace.warehouse import driver_errors, open_warehouse
from dbbtrace.warehouse.urls import address_of
from tests.warehouse.spans import load, node
from tests.warehouse.sql_server import Error, Server, fault

DW = "Server=dw;Database=dbb;UID=u;PWD=p"
COUNT = "SELECT COUNT(*) FROM meta.monitoring_integration"


@pytest.fixture
def warehouse(server: Server):
    """The tables, on the server."""
    warehouse = open_warehouse(DW)
    warehouse.migrate()
    warehouse.query(COUNT)
    return warehouse


def pairs(connection_string: str) -> dict[str, str]:
    return dict(pair.split("=", 1) for pair in connection_string.strip(";").split(";"))


# -- addresses ----------------------------------------------------------------------------------------------


def test_what_is_missing_is_added(server):
    """Driver 18, encryption and our name; autocommit, with time limits."""
    open_warehouse(DW).query("SELECT 1")
    said, arguments = server.connect_arguments[0]
    assert pairs(said) == {
        "Driver": "{ODBC Driver 18 for SQL Server}",
        "Server": "dw",
        "Database": "dbb",
        "UID": "u",
        "PWD": "p",
        "Encrypt": "yes",
        "APP": "dbbtrace",
    }
    assert arguments["autocommit"] is True
    assert arguments["timeout"] >= 90
    assert server.connections[0].timeout >= 60


def test_what_is_given_stays(server):
    """Whatever the case of its name; braces and the semicolons in them too."""
    given = "driver={My Driver};SERVER=tcp:h,1433;database=d;encrypt=optional;app=x;uid=u;pwd={a;b}}c}"
    open_warehouse(given).query("SELECT 1")
    assert server.connect_arguments[0][0] == given + ";"


def test_an_mssql_url_logs_in_with_a_token(server):
    """UTF-16-LE after its length, as attribute 1256; a fresh one for each new connection."""
    given = iter(["first", "second"])
    warehouse = open_warehouse(
        "mssql://x.datawarehouse.fabric.microsoft.com/dbb_warehouse", access_token=lambda: next(given)
    )
    warehouse.query("SELECT 1")
    warehouse.close()
    warehouse.query("SELECT 1")
    packed = [arguments["attrs_before"][1256] for _, arguments in server.connect_arguments]
    assert packed == [struct.pack("<I", len(t) * 2) + t.encode("utf-16-le") for t in ("first", "second")]
    said = pairs(server.connect_arguments[0][0])
    assert (said["Server"], said["Database"]) == ("x.datawarehouse.fabric.microsoft.com", "dbb_warehouse")


@pytest.mark.parametrize(
    ("given", "endpoint"),
    [
        ("Server=h;Database=d", ("h", 1433)),
        ("Server=tcp:h.example,1444;Database=d", ("h.example", 1444)),
        ("Driver=FreeTDS;Server=h;Port=5000;Database=d", ("h", 5000)),
        ("Driver=FreeTDS;Server=h;Port=²;Database=d", None),
        ("Server=h\\instance;Database=d", None),
        ("Server=h;Failover_Partner=mirror;Database=d", None),
        ("Server=h;MultiSubnetFailover=Yes;Database=d", None),
        ("Server=h;MultiSubnetFailover=No;Database=d", ("h", 1433)),
        ("Server=h;Port=5000;Database=d", ("h", 1433)),
        ("DSN=mine;Database=d", None),
    ],
)
def test_host_and_port_are_known_where_the_string_says_them(given, endpoint):
    """A driver may find a named instance, a mirror or a data source where we would not."""
    assert address_of(given).endpoint == endpoint


@pytest.mark.parametrize(
    ("server", "endpoint"),
    [
        ("localhost", None),
        ("PC1", None),
        ("tcp:PC1", ("PC1", 1433)),
        ("PC1,1433", ("PC1", 1433)),
        ("h.net", ("h.net", 1433)),
    ],
)
def test_on_windows_a_server_may_be_reached_without_tcp(server, endpoint, monkeypatch):
    """The driver reaches one on the same machine by shared memory, where TCP is often off."""
    address = address_of(f"Server={server};Database=d")
    monkeypatch.setattr("dbbtrace.warehouse.urls.os", types.SimpleNamespace(name="nt"))
    assert address.endpoint == endpoint


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a..b", "x" * 64 + ".example"])
def test_a_name_that_no_server_has_is_said_at_once(host):
    """A driver would look for it as long as a warehouse may sleep; whatever kind of error the name raises."""
    with pytest.raises(TransientError, match=r"is not reached: nothing answers at .*, port \d+: "):
        open_warehouse(f"Server={host};Database=d;UID=u;PWD=p").query("SELECT 1")


def test_what_fails_on_our_side_says_nothing_of_the_server(server, monkeypatch):
    """No descriptor is free to knock with: the driver has its try."""
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "pyodbc", server.module())

    def full(*arguments: object, **options: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(socket, "create_connection", full)
    assert open_warehouse(DW).query("SELECT 1").rows == [(1,)]


def test_without_a_token_the_notebook_gives_one(server, monkeypatch):
    """Where there is a notebook."""
    utils = types.ModuleType("notebookutils")
    utils.credentials = types.SimpleNamespace(getToken=lambda audience: f"for {audience}")
    monkeypatch.setitem(sys.modules, "notebookutils", utils)
    open_warehouse("mssql://h/d").query("SELECT 1")
    assert "for pbi".encode("utf-16-le") in server.connect_arguments[0][1]["attrs_before"][1256]


def test_else_azure_identity_asked_once_who_it_is(server, monkeypatch):
    """A cell that sets AZURE_CLIENT_* later changes nothing: the credential is made once in the process."""
    made = []

    class DefaultAzureCredential:
        def __init__(self):
            made.append(self)

        def get_token(self, scope):
            assert scope == "https://database.windows.net/.default"
            return types.SimpleNamespace(token=f"token {len(made)}")

    identity = types.ModuleType("azure.identity")
    identity.DefaultAzureCredential = DefaultAzureCredential
    monkeypatch.setitem(sys.modules, "azure", types.ModuleType("azure"))
    monkeypatch.setitem(sys.modules, "azure.identity", identity)
    monkeypatch.setitem(sys.modules, "notebookutils", None)
    credentials._azure_credential.cache_clear()
    try:
        first, second = open_warehouse("mssql://h/d"), open_warehouse("mssql://h/other")
        assert len(made) == 1
        first.query("SELECT 1")
        second.query("SELECT 1")
    finally:
        credentials._azure_credential.cache_clear()
    assert len(made) == 1


def test_without_azure_identity_the_error_says_what_to_install(monkeypatch):
    """And what else would do."""
    monkeypatch.setitem(sys.modules, "notebookutils", None)
    monkeypatch.setitem(sys.modules, "azure.identity", None)
    credentials._azure_credential.cache_clear()
    with pytest.raises(ConfigurationError, match=r"pip install 'dbbtrace\[fabric\]'.*access_token="):
        open_warehouse("mssql://h/d")


@pytest.mark.parametrize(
    "url", [DW, "Server=h;Database=d;Authentication=ActiveDirectoryMsi", "Server=h;Database=d;Trusted_Connection=yes"]
)
def test_a_string_that_says_how_to_log_in_needs_no_token(server, url):
    """None is asked for."""
    open_warehouse(url).query("SELECT 1")
    assert server.connect_arguments[0][1]["attrs_before"] == {}


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("mssql://h", "mssql://server/database"),
        ("mssql:///d", "mssql://server/database"),
        ("mssql://u:geheim@h/d", "ODBC connection string"),
        ("mssql://h:port/d", "port"),
        ("Server=h;UID=u;PWD=geheim", "names no database"),
        ("Database=d;UID=u;PWD=geheim", "names no server"),
        ("Server=h;what is this;PWD=geheim", "not an ODBC connection string"),
    ],
)
def test_an_address_that_makes_no_sense_says_what_to_write(url, says):
    """Without the secrets in it."""
    with pytest.raises(UsageError, match=says) as raised:
        open_warehouse(url)
    assert "geheim" not in str(raised.value)


def test_names_hold_no_secret():
    """Not the name, not a repr, not an error of the server that repeats it."""
    warehouse = open_warehouse("Server=tcp:H,1433;Database=d;UID=u;PWD={ge;heim}")
    assert warehouse.name == "mssql://h/d"
    assert "heim" not in repr(vars(warehouse))
    error = driver_errors.of_odbc(Error("28000", "[28000] [M]Login failed; PWD=geheim; (18456) (SQLDriverConnect)"))
    assert "geheim" not in str(error)


# -- what is missing ----------------------------------------------------------------------------------------


def test_without_a_driver_the_error_says_what_to_install(monkeypatch):
    """Opening is fine; connecting is not."""
    monkeypatch.setitem(sys.modules, "pyodbc", None)
    monkeypatch.setitem(sys.modules, "mssql_python", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'dbbtrace\[mssql\]'"):
        open_warehouse(DW).query("SELECT 1")


def test_without_unixodbc_the_error_says_what_to_install(monkeypatch, tmp_path):
    """pyodbc is there, its shared library is not."""
    (tmp_path / "pyodbc.py").write_text(
        "raise ImportError('libodbc.so.2: cannot open shared object file: No such file or directory')"
    )
    monkeypatch.delitem(sys.modules, "pyodbc", raising=False)
    monkeypatch.setitem(sys.modules, "mssql_python", None)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigurationError, match=r"pip install 'dbbtrace\[mssql\]'.*apt-get install unixodbc"):
        open_warehouse(DW).query("SELECT 1")


@pytest.mark.parametrize(
    ("state", "text"),
    [
        ("01000", ("[01000] [unixODBC][Driver Manager]Can't open lib 'ODBC Driver 18 for SQL Server' : file not found"
            " (SQLDriverConnect)")),
        ("IM002", ("[IM002] [Microsoft][ODBC Driver Manager] Data source name not found and no default driver"
            " (SQLDriverConnect)")),
    ],
)  # fmt: skip
def test_without_the_driver_the_error_says_what_to_install(server, state, text):
    """And where it is."""
    server.connect_faults = [Error(state, text)]
    with pytest.raises(ConfigurationError, match=r"install 'ODBC Driver 18 for SQL Server' \(https://learn"):
        open_warehouse(DW).query("SELECT 1")


# -- what errors mean ---------------------------------------------------------------------------------------

RETRIABLE = [926, 4060, 4221, 615, 40197, 40501, 40613, 49918, 49919, 49920, 10928, 10929, 10053, 10054, 10060, 1205,
             1222, 3961, 24556, 24706, 24804, 6005, 2601, 2627,
             701, 922, 1204, 8645, 17142, 18401, 40143, 40540, 42108, 42109]  # fmt: skip
STARTING = ["FATAL: the database system is starting up", "the database system is shutting down",
            "The database system is not yet accepting connections", "Database 'dbb' is being recovered",
            "Login failed for user 'u'. Reason: Server is in script upgrade mode",
            "FATAL: sorry, too many clients already",
            "Database 'dbb' on server 's' is not currently available"]  # fmt: skip
FOR_A_PERSON = [18456, 229, 230, 262, 916, 208, 207, 515, 102, 156, 99999]
REFUSED = [2628, 8152, 8115, 8114, 241, 245, 547, 13609]


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        *[(fault(native, state="42000"), TransientError) for native in RETRIABLE],
        *[(fault(0, state=state), TransientError) for state in ("08S01", "08001", "08003", "08007", "HYT00", "40001")],
        *[(fault(33557097, text), TransientError) for text in STARTING],
        *[(fault(native), LoginError if native == 18456 else ConfigurationError) for native in FOR_A_PERSON],
        *[(fault(native), RefusedError) for native in REFUSED],
        (fault(0, state="22018"), RefusedError),
        (OverflowError("int too big to convert"), RefusedError),
        (UnicodeEncodeError("utf-16", "\ud800", 0, 1, "surrogates not allowed"), RefusedError),
    ],
    ids=lambda value: str(value)[:60] if isinstance(value, Exception) else value.__name__,
)
def test_an_error_means_again_or_a_person_or_never(error, kind):
    """Exactly the platform's list is tried again; what is unknown dead-letters nothing."""
    assert type(driver_errors.of_odbc(error)) is kind


@pytest.mark.parametrize(
    ("state", "text"),
    [
        ("HY000", "Unknown error (0)"),
        ("01000", "Unexpected EOF from the server (20017)"),
        ("HY000", "Read from the server failed (20004)"),
        ("HYT00", "Timeout expired (0)"),
        ("08S01", "Communication link failure (0)"),
    ],
)
def test_freetds_has_its_own_words_for_a_lost_connection(state, text):
    """As they were seen when the connection was reset, closed and swallowed during an INSERT: nobody need be called."""
    error = Error(state, f"[{state}] [FreeTDS][SQL Server]{text} (SQLExecDirectW)")
    lost = driver_errors.of_odbc(error, writing=True)
    assert isinstance(lost, TransientError)
    assert lost.ambiguous
    assert not driver_errors.of_odbc(error).ambiguous


def test_what_microsofts_driver_does_not_know_calls_a_person():
    """Those words and numbers are FreeTDS's alone: 20017 is an error of replication elsewhere."""
    for state, text in (("HY000", "Unknown error (0)"), ("42000", "Something about replication (20017)")):
        error = Error(state, f"[{state}] [Microsoft][ODBC Driver 18 for SQL Server]{text} (SQLExecDirectW)")
        assert isinstance(driver_errors.of_odbc(error), ConfigurationError)


def test_several_errors_in_one_message_are_all_read():
    """A database that wakes up says 4060, and that the login failed because of it."""
    text = (
        "[42000] [Microsoft][ODBC Driver 18 for SQL Server][SQL Server]Cannot open database (4060) (SQLDriverConnect);"
        " [28000] [Microsoft][ODBC Driver 18 for SQL Server][SQL Server]Login failed for user 'u'. (18456)"
    )
    assert isinstance(driver_errors.of_odbc(Error("42000", text)), TransientError)


def test_numbers_in_the_text_are_no_error_numbers():
    """A table called x(4060) is missing, not busy."""
    assert isinstance(driver_errors.of_odbc(fault(208, "Invalid object name 'x (4060)'.")), ConfigurationError)


@pytest.mark.parametrize(
    ("native", "says"),
    [(18456, "login"), (229, "GRANT SELECT, INSERT"), (208, "dbbtrace migrate"), (916, "CREATE USER")],
)
def test_a_fault_for_a_person_says_what_to_do(native, says):
    """In the same line."""
    assert says in str(driver_errors.of_odbc(fault(native)))


@pytest.mark.parametrize(
    "text",
    [
        "SSL Provider: [error:0A000086:SSL routines::certificate verify failed:self-signed certificate] (-1)",
        "SSL Provider: The certificate chain was issued by an authority that is not trusted. (-2146893019)",
        "Encryption not supported on SQL Server. (20)",
    ],
)
def test_a_certificate_that_nobody_trusts_is_for_a_person(text):
    """It is no better in a minute; the line says what to write."""
    error = Error("08001", f"[08001] [Microsoft][ODBC Driver 18 for SQL Server]{text} (SQLDriverConnect)")
    fault = driver_errors.of_odbc(error)
    assert isinstance(fault, ConfigurationError)
    assert "TrustServerCertificate=yes" in str(fault)


# -- doctor -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rights", "lacks"), [(["INSERT", "SELECT"], set()), (["SELECT"], {"INSERT"}), ([], set())], ids=str
)
def test_doctor_names_driver_and_rights(server, warehouse, monkeypatch, tmp_path, rights, lacks):
    """Rights are asked for in a way that Fabric has too. None at all means that the server does not tell."""
    monkeypatch.setenv("DBBTRACE_WAREHOUSE", DW)
    monkeypatch.setenv("DBBTRACE_JOURNAL_DIR", str(tmp_path))
    monkeypatch.setattr("socket.create_connection", lambda *_, **__: socket.socket())  # the server is a stand-in
    server.rights = rights
    texts = [finding.text for finding in dbbtrace.doctor() if finding.area == "warehouse"]
    assert "reached with pyodbc 5.2.0 with libmsodbcsql-18.3.so.2.1 18.03.0002" in texts
    assert {text.split()[3] for text in texts if text.startswith("no right to")} == lacks
    assert not [text for text in texts if "could not be checked" in text]


# -- trying again -------------------------------------------------------------------------------------------


def test_a_connection_that_went_stale_is_replaced(server, warehouse):
    """A deadlock on an old connection: once more, on a new one."""
    before = len(server.connections)
    server.fail("INSERT", fault(1205))
    assert warehouse.write(rows_of(load())) == 1
    assert len(server.connections) == before + 1
    assert server.connections[-2].closed


def test_an_idle_connection_is_asked_before_it_is_used(server, warehouse, monkeypatch):
    """Gateways cut idle connections; a write on one would leave its fate open."""
    monkeypatch.setattr("dbbtrace.warehouse.tsql._IDLE", 0.0)
    server.fail("^SELECT 1$", fault(10054))
    assert warehouse.write(rows_of(load())) == 1


@pytest.mark.parametrize("after", [True, False], ids=["had committed", "had not"])
def test_a_connection_lost_during_a_write_leaves_its_fate_open(server, warehouse, after):
    """It is said so; the look before the second write makes it once, however it went."""
    server.fail("INSERT", fault(10054), after=after)
    with pytest.raises(TransientError) as raised:
        warehouse.write(rows_of(load()))
    assert raised.value.ambiguous
    assert warehouse.write(rows_of(load())) == (0 if after else 1)
    assert warehouse.query(COUNT).rows == [(1,)]


def test_on_fabric_an_open_fate_is_waited_out(server):
    """Nothing there stops the statement that still runs and its repetition from both committing."""
    server.edition = 11
    warehouse = open_warehouse(DW)
    warehouse.migrate()
    server.fail("INSERT", fault(10054))
    with pytest.raises(TransientError) as raised:
        warehouse.write(rows_of(load()))
    assert raised.value.retry_after >= server.connections[-1].timeout


def test_a_lost_connection_while_reading_is_just_tried_again(server, warehouse):
    """Reading twice does no harm."""
    server.fail("COUNT", fault(10054))
    assert warehouse.query(COUNT).rows == [(0,)]


def test_another_writer_of_the_same_record_may_be_first(server, warehouse):
    """The unique index stops the second; the next look finds the row."""
    server.fail("INSERT", fault(2601), after=True)
    assert warehouse.write(rows_of(load())) == 0
    assert warehouse.query(COUNT).rows == [(1,)]


@pytest.mark.parametrize("native", [18456, 4060, 40613])
def test_connecting_fails_with_a_typed_error(server, native):
    """It is not tried again here: patience is the caller's."""
    server.connect_faults = [fault(native)]
    with pytest.raises(DbbtraceError):
        open_warehouse(DW).query("SELECT 1")
    assert len(server.connect_arguments) == 1


def test_what_the_server_refuses_costs_itself_alone(server, warehouse):
    """The batch is bisected: the poisoned row is refused, and named; all others stand."""
    server.poison = "m7"
    rows = [row for place in range(20) for row in rows_of(node(f"model.shop.m{place}"))]
    with pytest.raises(RefusedError, match=r"2 rows refused, all others written; meta\.monitoring_transformation_dbt"):
        warehouse.write(rows)
    assert server.sql("SELECT COUNT(*) FROM meta.monitoring_transformation_dbt") == [(38,)]


# -- parameters ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("driver", ["libmsodbcsql-18.3.so.2.1", "msodbcsql17.dll", "libtdsodbc.so"])
def test_long_texts_are_nvarchar_max_for_every_driver(server, driver):
    """A batch, and a question: never ntext, which a database in UTF-8 refuses and OPENJSON does not take."""
    server.driver = driver
    warehouse = open_warehouse(DW)
    warehouse.migrate()
    assert (
        warehouse.write([row for place in range(50) for row in rows_of(load(f"t{place}", IDENTITY=f"{place}"))]) == 50
    )
    assert warehouse.query(f"{COUNT} WHERE table_name = ? OR rows_read = ?", ("x" * 2001, 10)).rows == [(50,)]


# -- the real pyodbc ----------------------------------------------------------------------------------------


def test_the_real_pyodbc_connects_asks_and_fails_as_thought(tmp_path, monkeypatch):
    """Through unixODBC and SQLite's driver: parameters, results, time limits, and errors of the real shape."""
    pyodbc = pytest.importorskip("pyodbc", reason="DBBTRACE_TEST_ODBC: unixODBC is not installed", exc_type=ImportError)
    if "SQLite3" not in pyodbc.drivers():
        pytest.skip("DBBTRACE_TEST_ODBC: apt-get install libsqliteodbc brings the driver this test needs")
    warehouse = open_warehouse(f"Driver=SQLite3;Database={tmp_path}/odbc.db;UID=u")
    warehouse.query("CREATE TABLE t (a varchar(20), b bigint)")
    warehouse.query("INSERT INTO t VALUES (?, ?)", ("it's λ", 2**62))
    assert warehouse.query("SELECT a, b FROM t").rows == [("it's λ", 2**62)]
    assert warehouse.query("SELECT a, b FROM t").columns == ("a", "b")
    with pytest.raises(ConfigurationError, match="no such table"):
        warehouse.query("SELECT * FROM nowhere")
    monkeypatch.setitem(sys.modules, "mssql_python", None)
    with (
        socket.create_server(("127.0.0.1", 0)) as listening,
        pytest.raises(ConfigurationError, match="install 'ODBC Driver 18 for SQL Server'"),
    ):
        server = f"127.0.0.1,{listening.getsockname()[1]}"
        open_warehouse(f"Driver={{No Such Driver}};Server={server};Database=d;UID=u").query("SELECT 1")
