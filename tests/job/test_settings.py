"""Settings: one declaration each, argument before environment before file before default; secrets never shown."""

from __future__ import annotations

import logging
import os
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import dbbtrace
from dbbtrace.errors import UsageError
from dbbtrace.model.destinations import otlp_name, warehouse_name
from dbbtrace.model.masking import masked
from dbbtrace.settings import SETTINGS, read, resolve


def test_argument_beats_environment_beats_file_beats_default(tmp_path, monkeypatch):
    """The order that docs promise."""
    assert resolve().rows_timeout == 2.0
    Path("dbbtrace.toml").write_text("rows_timeout = 3\n")
    assert resolve().rows_timeout == 3.0
    monkeypatch.setenv("DBBTRACE_ROWS_TIMEOUT", "4")
    assert resolve().rows_timeout == 4.0
    settings = resolve(rows_timeout=5)
    assert settings.rows_timeout == 5.0
    assert settings.sources["rows_timeout"] == "argument"


def test_all_faults_are_reported_at_once(monkeypatch):
    """Nobody likes to mend them one by one."""
    monkeypatch.setenv("DBBTRACE_ROWS_TIMEOUT", "soon")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "carrier pigeon")
    with pytest.raises(UsageError) as error:
        resolve(nonsense=1)
    for word in ("soon", "carrier pigeon", "nonsense", "DBBTRACE_ROWS_TIMEOUT"):
        assert word in str(error.value)


def test_an_unknown_key_in_the_file_names_those_that_exist():
    """A misspelt setting must not be silently without effect."""
    Path("dbbtrace.toml").write_text("warehose = 'x'\n")
    with pytest.raises(UsageError, match=r"warehose.*there are.*warehouse"):
        resolve()


def test_a_setting_that_makes_no_sense_never_breaks_the_job(monkeypatch, caplog):
    """It is ignored with a log line, and everything else holds."""
    monkeypatch.setenv("DBBTRACE_ROWS_TIMEOUT", "soon")
    dbbtrace.configure(warehouse="none")
    with dbbtrace.join_run("r"), dbbtrace.step("work"):
        pass
    assert "soon" in caplog.text


@pytest.mark.parametrize("name", [variable for setting in SETTINGS for variable in setting.variables])
def test_every_variable_is_read(name, monkeypatch):
    """A declared variable has an effect."""
    values = {
        "DBBTRACE_ROWS_TIMEOUT": "7",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
        "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "grpc",
        "DBBTRACE_WEBHOOK_FORMAT": "json",
        "DBBTRACE_RECORD_STEPS": "all",
        "DBBTRACE_TIMEZONE": "Europe/Lisbon",
        "DBBTRACE_SEMANTIC_MODELS": '{"Finance": ["fct_invoices"]}',
    }
    tables = [variable for each in SETTINGS if each.default == {} for variable in each.variables]
    values = dict.fromkeys(tables, '{"Sales": "x"}') | values
    setting = next(setting for setting in SETTINGS if name in setting.variables)
    before = getattr(resolve(), setting.name)
    monkeypatch.setenv(name, values.get(name, "0" if before is True else "1"))
    assert getattr(resolve(), setting.name) != before


@pytest.mark.parametrize(
    "text",
    [
        "Driver={ODBC Driver 18 for SQL Server};Server=x;UID=me;PWD=hunter2;Encrypt=yes",
        "Server=x;Pwd = {hunter2;}}x};UID=me",
        "mssql://me:hunter2@server/database",
        "https://host/v1?api_key=hunter2&x=1",
    ],
)
def test_secrets_are_masked(text):
    """In repr, logs and errors."""
    assert "hunter2" not in masked(text)
    assert "hunter2" not in repr(resolve(warehouse=text))
    assert "hunter2" not in warehouse_name(text)


def test_one_database_has_one_name_however_it_is_written():
    """A journal is delivered to equal names only."""
    names = {
        warehouse_name("mssql://Host.example.com/dbb"),
        warehouse_name(
            "Driver={ODBC Driver 18 for SQL Server};Server=tcp:host.EXAMPLE.com,1433;Database=dbb;UID=a;PWD=b"
        ),
        warehouse_name("database=dbb;server=host.example.com;"),
    }
    assert names == {"mssql://host.example.com/dbb"}
    assert warehouse_name("mssql://h,1444/my%20db") == warehouse_name("Server=tcp:h,1444;Database=my db")
    assert warehouse_name("mssql://h//d/") == warehouse_name("Server=h;Database={d}") == "mssql://h/d"
    assert warehouse_name("sqlite:///x.db") == f"sqlite:///{Path.cwd() / 'x.db'}"
    assert warehouse_name(f"sqlite:///{Path.cwd() / 'x.db'}") == warehouse_name("sqlite:///x.db")
    assert (
        otlp_name("http://user:pw@host:4318/v1/traces?token=x", "http/protobuf")
        == "otlp+http/protobuf://host:4318/v1/traces"
    )


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_file_with_a_byte_order_mark_is_read(encoding):
    """As Notepad and PowerShell write it."""
    Path("dbbtrace.toml").write_text('warehouse = "sqlite:///team.db"\r\nrows_timeout = 30\r\n', encoding=encoding)
    settings = resolve()
    assert (settings.warehouse, settings.rows_timeout) == ("sqlite:///team.db", 30)


def _directory(path):
    path.mkdir()


def _link_to_a_pipe(path):
    os.mkfifo("config.fifo")
    path.symlink_to("config.fifo")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.write_text("warehouse = sqlite:///team.db\n"),
        lambda path: path.write_text("warehouse = ['sqlite:///team.db']\n"),
        lambda path: path.write_text("warehose = 'sqlite:///team.db'\n"),
        lambda path: path.write_bytes(b"warehouse = 'sqlite:///t\xe9am.db'\n"),
        lambda path: path.symlink_to("gone.toml"),
        lambda path: path.symlink_to("dbbtrace.toml"),
        _directory,
        os.mkfifo,
        _link_to_a_pipe,
        lambda path: path.write_text("a = " + "[" * 100_000),
        lambda path: path.write_text(f"warehouse = 'sqlite:///team.db'\n# {'x' * (1 << 20)}\n"),
    ],
    ids=[
        "syntax",
        "type",
        "misspelt",
        "encoding",
        "dangling link",
        "link to itself",
        "directory",
        "pipe",
        "link to a pipe",
        "nested without end",
        "far too long",
    ],
)
def test_a_file_that_cannot_be_read_fails_closed(spoil, caplog):
    """Rows wait in the journal, the fault is named, no warehouse is made that nobody asked for; mended, they go out."""
    path = Path("dbbtrace.toml")
    spoil(path)
    with dbbtrace.orchestration_run("r", data_product="P"), dbbtrace.table_load("T", source="S") as load:
        load.rows_written = 1
    assert not dbbtrace.flush(0.1)
    assert "dbbtrace.toml" in caplog.text
    assert not Path("dbb_warehouse.db").exists()
    dbbtrace.shutdown(0)
    path.rmdir() if path.is_dir() else path.unlink()
    path.write_text("warehouse = 'sqlite:///team.db'\n")
    dbbtrace.recover(timeout=20)
    assert sqlite3.connect("team.db").execute("SELECT COUNT(*) FROM monitoring_integration").fetchone() == (1,)


def test_a_pipe_of_the_shell_is_no_file(monkeypatch):
    """Settings are read more than once: the second time it would be empty, and rows go where nobody wants them."""
    read_end, write_end = os.pipe()
    os.write(write_end, b"warehouse = 'sqlite:///team.db'\n")
    os.close(write_end)
    monkeypatch.setenv("DBBTRACE_CONFIG", f"/dev/fd/{read_end}")
    settings, (fault,) = read()
    os.close(read_end)
    assert settings.warehouse is None
    assert "it is a pipe" in fault


def test_a_value_without_end_is_named_in_short(monkeypatch):
    """However deep it is nested; the others hold."""
    monkeypatch.setenv("DBBTRACE_SEMANTIC_MODELS", "[" * 100_000)
    monkeypatch.setenv("DBBTRACE_WAREHOUSE", "sqlite:///team.db")
    settings, (fault,) = read()
    assert settings.warehouse == "sqlite:///team.db"
    assert "DBBTRACE_SEMANTIC_MODELS" in fault
    assert len(fault) < 1_000


def test_an_argument_needs_no_file():
    """What is said in so many words holds, whatever the file says."""
    Path("dbbtrace.toml").write_text("warehouse = \n")
    settings, faults = read(warehouse="sqlite:///mine.db")
    assert settings.warehouse == "sqlite:///mine.db"
    assert len(faults) == 1


@pytest.mark.parametrize(
    ("url", "advice"),
    [
        ("postgres://u:pw@h/d", "rows go to SQLite, SQL Server"),
        ("mssql+pyodbc://u:pw@h/d?driver=x", "SQLAlchemy"),
        ("Data Source=h;Initial Catalog=d;User ID=u;Password=pw", "Server=...;Database=...;UID=...;PWD=..."),
        ("Server=h;;Database=d;UID=u;PWD=pw", "without an empty part"),
        ("Server=h;Database=d;UID=u;PWD=p;w", "into braces"),
        ("mssql://h/d/schema", "mssql://server/database"),
        ("data/warehouse.db", "sqlite:///data/warehouse.db"),
        ("sqlite:///.", "is a directory"),
        ("sqlite://w.db", "three slashes"),
        ("foo", "write sqlite:///"),
        ("sqlite:/w.db", "write sqlite:///w.db"),
        ("file:w.db", "write sqlite:///w.db"),
        ("'sqlite:///w.db'", "leave out the quotes"),
        ("sqlite:///'w.db'", "and nothing else"),
        ("sqlite:///w.db;", "and nothing else"),
        ("sqlite:///~nobody-of-that-name/w.db", "no such home directory"),
        ("sqlite:///w.db\nsqlite:///v.db", "and nothing else"),
        ("sqlite:///w\0.db", "and nothing else"),
        ("sqlite:///${DATA}/w.db", "in place of ${DATA}"),
        ("sqlite:///$HOME/w.db", "in place of $HOME"),
        ("sqlite:///%TEMP%/w.db", "in place of %TEMP%"),
        ("mssql://<your server>/d", "in place of <your server>"),
        ("mssql://${SERVER}/d", "in place of ${server}"),
        ("Server=$SERVER;Database=d;UID=u;PWD=pw", "in place of $SERVER"),
        ("Server=h;Database={{ env_var('DB') }};UID=u;PWD=pw", "in place of {{ env_var('DB') }}"),
        ("${WAREHOUSE}", "in place of ${WAREHOUSE}"),
        ("null", "write none"),
        ("mssql://[::1/d", "write mssql://server/database"),
        ("Server=h;Database=d;UID=u;PWD={pw;x", "into braces"),
        ("abc.datawarehouse.fabric.microsoft.com", "write mssql://abc.datawarehouse.fabric.microsoft.com/database"),
        ("abc.database.windows.net/dbb", "write mssql://abc.database.windows.net/dbb"),
        ("https://abc.database.windows.net", "write mssql://abc.database.windows.net/database"),
        ("sqlite:///'w.db", "and nothing else"),
        ("sqlite:///\\\\server\\share\\w.db", "is a network share"),
        ("sqlite:///\udcff.db", "no UTF-8"),
        ("Server=h\udcff;Database=d;UID=u;PWD=pw", "no UTF-8"),
        ("sqlite:///w.fifo", "is a pipe"),
        ("sqlite:////dev/null", "is a pipe, a device"),
        ("Server={};Database=d;UID=u;PWD=pw", "names no server"),
        ("Server=h;Database={};UID=u;PWD=pw", "names no database"),
        ("Server='h';Database=d;UID=u;PWD=pw", "and nothing else"),
        ("Server=h;Database=d\0;UID=u;PWD=pw", "and nothing else"),
        ("mssql://h/%00", "and nothing else"),
        ("Server=h,99999;Database=d;UID=u;PWD=pw", "from 1 to 65535"),
    ],
)
def test_a_warehouse_that_is_not_one_is_said_at_once(url, advice, caplog):
    """In one line that names the right form, before the first span; its rows wait, and the job goes on."""
    os.mkfifo("w.fifo")
    before = set(os.listdir())
    dbbtrace.configure(warehouse=url, rows_timeout=0.1)
    (line,) = [record for record in caplog.records if advice in record.getMessage()]
    assert "rows wait in the journal" in line.getMessage()
    assert "pw" not in line.getMessage().lower().replace("pwd", "")
    with dbbtrace.orchestration_run("r", data_product="P"), dbbtrace.table_load("T", source="S") as load:
        load.rows_written = 1
    assert not dbbtrace.flush(0.1)
    assert not any(record.exc_text or record.exc_info for record in caplog.records)
    dbbtrace.shutdown(0)
    dbbtrace.configure()  # the default warehouse: nobody said that those rows are its own
    assert dbbtrace.flush(20)
    assert set(os.listdir()) - before <= {"journal"}  # no file that nobody asked for


def test_a_user_without_a_home_has_a_journal_that_the_next_job_finds(monkeypatch, tmp_path):
    """Among the temporary files, for this user alone; never below a directory called ~."""
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # as without HOME and without a passwd entry
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.delenv("DBBTRACE_JOURNAL_DIR")
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    first, second = resolve().journal_dir, resolve().journal_dir
    assert first == second == str(tmp_path / f"dbbtrace-{os.getuid()}" / "journal")
    assert os.stat(os.path.dirname(first)).st_mode & 0o777 == 0o700


@pytest.mark.parametrize("name", ["journal_dir", "journal_mirror"])
def test_a_tilde_is_the_home_directory_and_never_a_name(name, monkeypatch, tmp_path):
    """Where no shell has read the value: in a file of variables, in a container's settings."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv(f"DBBTRACE_{name.upper()}", "~/mine")
    assert getattr(resolve(), name) == str(tmp_path / "mine")
    monkeypatch.setenv(f"DBBTRACE_{name.upper()}", "~nobody-of-that-name/mine")
    settings, (fault,) = read()
    assert "no such home directory" in fault
    assert "~" not in str(getattr(settings, name))


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
@pytest.mark.parametrize("endpoint", ["http://h:port", "http://[", "http://u:secret@[::1?token=secret", "://"])
def test_an_endpoint_that_is_none_costs_no_job_and_no_row(endpoint, protocol, monkeypatch, caplog):
    """It is said in the log, without its secrets; rows are written as ever."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
    with dbbtrace.orchestration_run("r", data_product="P"), dbbtrace.table_load("T", source="S") as load:
        load.rows_written = 1
    assert dbbtrace.flush(20)
    dbbtrace.shutdown(0)
    assert f"otlp+{protocol}://" in caplog.text
    assert "secret" not in caplog.text


def test_one_exporter_may_come_without_a_list():
    """It is what people try first."""
    backend = InMemorySpanExporter()
    dbbtrace.configure(warehouse="none", exporters=backend)
    with dbbtrace.join_run("r"), dbbtrace.step("work"):
        pass
    dbbtrace.shutdown(10)
    assert [span.name for span in backend.get_finished_spans()] == ["work"]


@pytest.mark.parametrize("how", ["open to others", "link", "file"])
def test_a_directory_of_somebody_else_is_not_used(how, monkeypatch, tmp_path, caplog):
    """Spans are then kept in memory, which is said; their rows come all the same."""
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.delenv("DBBTRACE_JOURNAL_DIR")
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    taken = tmp_path / f"dbbtrace-{os.getuid()}"
    if how == "open to others":
        taken.mkdir()
        taken.chmod(0o777)
    elif how == "link":
        (tmp_path / "elsewhere").mkdir(mode=0o700)
        taken.symlink_to(tmp_path / "elsewhere")
    else:
        taken.write_text("")
    dbbtrace.configure(warehouse="sqlite:///w.db")
    assert "set DBBTRACE_JOURNAL_DIR" in caplog.text
    with dbbtrace.orchestration_run("r", data_product="P"), dbbtrace.table_load("T", source="S") as load:
        load.rows_written = 1
    assert dbbtrace.flush(20)
    assert sqlite3.connect("w.db").execute("SELECT COUNT(*) FROM monitoring_integration").fetchone() == (1,)


@pytest.mark.parametrize(
    ("environment", "file", "name"),
    [
        ({}, "", "dbbtrace"),
        ({}, "of the file", "of the file"),
        ({"OTEL_RESOURCE_ATTRIBUTES": "team=a,service.name=nightly%20load"}, "of the file", "nightly load"),
        ({"OTEL_RESOURCE_ATTRIBUTES": "service.name=x", "OTEL_SERVICE_NAME": "explicit"}, "of the file", "explicit"),
        ({"OTEL_RESOURCE_ATTRIBUTES": "service.name,=,service.name="}, "", "dbbtrace"),
    ],
)
def test_the_service_name_is_the_one_that_opentelemetry_would_take(environment, file, name, monkeypatch):
    """OTEL_SERVICE_NAME, else OTEL_RESOURCE_ATTRIBUTES, else the file, else dbbtrace; other attributes count too."""
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    if file:
        Path("dbbtrace.toml").write_text(f"service_name = '{file}'\n")
    backend = InMemorySpanExporter()
    dbbtrace.configure(warehouse="none", exporters=[backend])
    with dbbtrace.join_run("r"), dbbtrace.step("work"):
        pass
    dbbtrace.shutdown(10)
    attributes = backend.get_finished_spans()[0].resource.attributes
    assert attributes["service.name"] == name
    assert attributes.get("team") == ("a" if "team" in environment.get("OTEL_RESOURCE_ATTRIBUTES", "") else None)


@pytest.mark.parametrize(
    ("variables", "url"),
    [
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, "http://c:4318/v1/traces"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318/base/"}, "http://c:4318/base/v1/traces"),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:4318/mine"}, "http://c:4318/mine"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "http://c:4317"),
    ],
)
def test_endpoints_are_read_as_the_specification_says(variables, url, monkeypatch):
    """A general endpoint gets /v1/traces, one for traces stands as it is, grpc has no path."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert resolve().otlp_url == url


def test_the_sdk_switch_stops_forwarding_and_nothing_else(monkeypatch):
    """OTEL_SDK_DISABLED and samplers affect forwarding at most, never rows."""
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    monkeypatch.setenv("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "1")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4318")
    assert not resolve().forward
    with dbbtrace.testing.capture() as captured, dbbtrace.join_run("r"), dbbtrace.table_load("Customer", source="MDS"):
        pass
    assert captured.named("load Customer").attributes["dbb.source.name"] == "MDS"


def test_configure_becomes_global_only_where_no_provider_is_set():
    """Spans of other instrumentation join the trace; a host's own provider is left alone."""
    dbbtrace.configure(warehouse="none")
    with dbbtrace.join_run("r") as run:
        other = trace.get_tracer("other").start_span("other")
    assert f"{other.get_span_context().trace_id:032x}" == run.trace_id


def test_a_host_that_set_a_provider_keeps_it():
    """Fabric notebooks may have one; run in a process of its own, where nothing was set before."""
    code = (
        "from opentelemetry import trace; from opentelemetry.sdk.trace import TracerProvider\n"
        "host = TracerProvider(); trace.set_tracer_provider(host)\n"
        "import dbbtrace; dbbtrace.configure(warehouse='none')\n"
        "assert trace.get_tracer_provider() is host\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_configure_twice_is_harmless_and_says_once_where_rows_go(caplog):
    """A notebook cell that runs again."""
    caplog.set_level(logging.INFO, logger="dbbtrace")
    dbbtrace.configure(warehouse="sqlite:///w.db")
    dbbtrace.configure(warehouse="sqlite:///w.db")
    assert caplog.text.count("w.db") == 1
