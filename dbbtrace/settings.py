"""The settings, each declared once, and the only reader of the process environment.

An argument of ``configure()`` beats the environment, which beats ``dbbtrace.toml``, which beats the default.
In a Fabric notebook the notebook knows some of it (``access.notebook``): that comes before the default.
All faults are reported at once. A file that can't be read fails closed: where rows go is then unknown, so they wait
in the journal, and no default takes the place of what the file may say. No secret is shown.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from dbbtrace.access import notebook
from dbbtrace.access.notebook import in_fabric
from dbbtrace.errors import UsageError
from dbbtrace.model.masking import masked, masked_address

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "DEFAULT_WAREHOUSE",
    "NO_DIRECTORY",
    "SETTINGS",
    "VALUES_FILE",
    "Setting",
    "Settings",
    "config_file",
    "in_fabric",
    "read",
    "resolve",
    "strict_by_environment",
    "traceparent",
    "values_file",
]

DEFAULT_WAREHOUSE = "sqlite:///dbb_warehouse.db"
"""The embedded warehouse in the working directory; in Fabric there is no default (see ``in_fabric``)."""

NO_DIRECTORY = os.path.join(os.devnull, "dbbtrace")
"""The journal's directory where there is none for this user: nothing can be made there, so spans are kept in memory."""

_LONGEST_FILE = 1 << 20
"""Bytes of a configuration file that are read."""
_LONGEST_SHOWN = 500
"""Letters of a value that makes no sense."""
_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off", ""})


class Setting:
    """One setting: its name in ``configure()`` and ``dbbtrace.toml``, its variables, how to read it, what it does.

    Args:
        variables: environment variables, the first that is set wins.
        secret: never shown.
        show: the value as it may be shown, where it is no secret as a whole.
        resource_attribute: attribute in OTEL_RESOURCE_ATTRIBUTES that says the same; its own variables win.
    """

    def __init__(
        self,
        name: str,
        variables: tuple[str, ...],
        parse: Callable[[object], Any],
        default: Any,
        doc: str,
        *,
        secret: bool = False,
        show: Callable[[str], str] = masked,
        resource_attribute: str = "",
    ) -> None:
        self.name = name
        self.variables = variables
        self.parse = parse
        self.default = default
        self.doc = doc
        self.secret = secret
        self.show = show
        self.resource_attribute = resource_attribute


def _text(value: object) -> str:
    if isinstance(value, (dict, list, tuple, set, bytes, bool, float)):
        raise ValueError("write text")
    return str(value).strip()


def _directory(value: object) -> str:
    path = os.path.expanduser(_text(value))
    if path.startswith("~"):
        raise ValueError("there is no such home directory: write the whole path")
    return path


def _flag(value: object) -> bool:
    text = str(value).strip().lower()
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    raise ValueError("write 1 or 0")


def _seconds(value: object) -> float:
    try:
        seconds = float(str(value))
    except ValueError:
        raise ValueError("write a number of seconds, e.g. 120") from None
    if not 0 <= seconds < 86400:
        raise ValueError("write a number of seconds between 0 and 86400")
    return seconds


def _record_steps(value: object) -> str:
    text = _text(value).lower()
    if text not in ("some", "all"):
        raise ValueError("write some or all")
    return text


def _time_zone(value: object) -> str:
    from difflib import get_close_matches
    from zoneinfo import ZoneInfo, available_timezones

    name = _text(value)
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        known = available_timezones()
        if known and name.upper() != "UTC":  # without tzdata nobody can tell
            close = get_close_matches(name, known, n=1)
            raise ValueError(f"no such time zone: write {close[0] if close else 'Europe/Brussels'}") from None
    return name


def _protocol(value: object) -> str:
    text = _text(value)
    if text not in ("http/protobuf", "http/json", "grpc"):
        raise ValueError("write http/protobuf, http/json or grpc")
    return text


def _webhook_format(value: object) -> str:
    text = _text(value).lower()
    if text not in ("teams", "slack", "json"):
        raise ValueError("write teams, slack or json")
    return text


def _table(value: object) -> Mapping[str, str]:
    """Name → text: a table in the file, a JSON object in the environment."""
    import json

    try:
        table = value if isinstance(value, Mapping) else json.loads(str(value))
    except ValueError:
        table = None
    if not isinstance(table, Mapping) or not all(isinstance(each, str) for each in table.values()):
        raise ValueError('write a JSON object, e.g. {"Group-Sales": "..."}, or a table in dbbtrace.toml')
    return {str(name): each.strip() for name, each in table.items()}


def _semantic_models(value: object) -> Mapping[str, Mapping[str, object]]:
    """Semantic model → what it reads, and its mode: a table in the file, a JSON object in the environment."""
    import json

    try:
        table = value if isinstance(value, Mapping) else json.loads(str(value))
        return {str(name).strip(): _semantic_model(said) for name, said in table.items()}
    except (AttributeError, TypeError, ValueError):
        raise ValueError(
            'write Finance = ["fct_invoices"] or Finance = { reads = ["fct_invoices"], mode = "direct lake" } in a '
            "table of dbbtrace.toml, or the same as a JSON object; mode is import, direct lake or directquery"
        ) from None


_MODES = {"import": "import", "directlake": "direct lake", "directquery": "directquery"}


def _semantic_model(said: object) -> Mapping[str, object]:
    said = dict(said) if isinstance(said, Mapping) else {"reads": said}
    reads = said.pop("reads", ())
    names = [reads] if isinstance(reads, str) else reads
    mode = said.pop("mode", None)
    if said or not all(isinstance(name, str) and name.strip() for name in names):
        raise ValueError("unknown words, or names that are none")
    plain = "".join(filter(str.isalpha, mode.lower())) if isinstance(mode, str) else None
    if mode is not None and plain not in _MODES:
        raise ValueError("no mode")
    return {"reads": tuple(name.strip() for name in names), "mode": _MODES[plain] if plain else None}


SETTINGS: tuple[Setting, ...] = (
    Setting("warehouse", ("DBBTRACE_WAREHOUSE",), _text, None,
            "Where rows go: sqlite:///file.db, an ODBC connection string, mssql://server/database, or none.",
            show=masked_address),
    Setting("orchestration_run_id", ("DBBTRACE_ORCHESTRATION_RUN_ID",), _text, None,
            "Run id for runs that are opened or joined without one."),
    Setting("data_product", ("DBBTRACE_DATA_PRODUCT",), _text, None, "Data product of the run."),
    Setting("environment", ("DBBTRACE_ENVIRONMENT",), _text, None, "TST, ACC, QUAL or PRD."),
    Setting("workspace_id", ("DBBTRACE_WORKSPACE_ID",), _text, None, "Fabric workspace of the run."),
    Setting("run_by_hand", ("DBBTRACE_RUN_BY_HAND",), _flag, False,
            "1 where the run id was made up; dbbtrace hands it on to child processes itself."),
    Setting("protect_gate", ("DBBTRACE_PROTECT_GATE",), _flag, True,
            "0 where no platform takes the newest rows of a data product for its run (cron, Airflow): a run without a "
            "run id of its own then keeps its data product."),
    Setting("rows_timeout", ("DBBTRACE_ROWS_TIMEOUT",), _seconds, 2.0,
            "Seconds that the end of a run waits for its rows; 120 for a warehouse that sleeps."),
    Setting("journal_dir", ("DBBTRACE_JOURNAL_DIR",), _directory, None,
            "Directory of the journal; default a per-user state directory."),
    Setting("journal_fsync", ("DBBTRACE_JOURNAL_FSYNC",), _flag, False,
            "1 to survive power loss too, at the price of a disk flush for every span."),
    Setting("journal_mirror", ("DBBTRACE_JOURNAL_MIRROR",), _directory, None,
            "Directory to which the journal is copied, where its own doesn't outlive the machine."),
    Setting("record_steps", ("DBBTRACE_RECORD_STEPS",), _record_steps, "some",
            "all: every step and attempt gives a row; some: those that failed or carry attributes of their own."),
    Setting("strict", ("DBBTRACE_STRICT",), _flag, False,
            "1 to raise what is otherwise logged; for tests, never for jobs."),
    Setting("mask_secrets", ("DBBTRACE_MASK_SECRETS",), _flag, True,
            "0 to keep passwords, keys and tokens in the messages that jobs, dbt and databases give."),
    Setting("service_name", ("OTEL_SERVICE_NAME",), _text, "dbbtrace",
            "service.name of the spans; OTEL_RESOURCE_ATTRIBUTES may name it too.", resource_attribute="service.name"),
    Setting("global_provider", ("DBBTRACE_GLOBAL_PROVIDER",), _flag, True,
            "0 to leave OpenTelemetry's global TracerProvider alone: spans of other instrumentation then don't join."),
    Setting("otlp_endpoint", ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"), _text, None,
            "OTLP backend that gets the spans too, e.g. http://localhost:4318.", show=masked_address),
    Setting("otlp_protocol", ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"), _protocol,
            "http/protobuf", "http/protobuf, http/json or grpc."),
    Setting("forward", ("DBBTRACE_FORWARD",), _flag, True, "0 to keep spans from the OTLP backend."),
    Setting("receiver_token", ("DBBTRACE_RECEIVER_TOKEN",), _text, None,
            "Bearer token that senders to `dbbtrace serve` must show.", secret=True),
    Setting("receiver_certificate", ("DBBTRACE_RECEIVER_CERTIFICATE",), _text, None,
            "Certificate file (PEM) of `dbbtrace serve`."),
    Setting("receiver_key", ("DBBTRACE_RECEIVER_KEY",), _text, None, "Key file (PEM) of that certificate."),
    Setting("timezone", ("DBBTRACE_TIMEZONE",), _time_zone, "Europe/Brussels",
            "Time zone in which runs are scheduled: a table's usual slot is a local time."),
    Setting("reconciliation_tolerance", ("DBBTRACE_RECONCILIATION_TOLERANCE",), _text, None,
            "How far the sources of a KPI may differ: 0.5, 0.1%, or Revenue=100 for one KPI; several with commas."),
    Setting("jaeger_url", ("DBBTRACE_JAEGER_URL",), _text, None,
            "Jaeger's pages, e.g. http://localhost:16686: reports link to the run's trace there.", show=masked_address),
    Setting("webhook_url", ("DBBTRACE_WEBHOOK_URL",), _text, None,
            "Where `dbbtrace check` and `dbbtrace watch` send their alerts.", secret=True),
    Setting("openlineage_namespace", ("OPENLINEAGE_NAMESPACE",), _text, "dbbtrace",
            "Namespace of the jobs in OpenLineage events."),
    Setting("fabric_url", ("DBBTRACE_FABRIC_URL",), _text, "https://api.fabric.microsoft.com",
            "Fabric's API, which `dbbtrace import-run` and `dbbtrace verify` ask.", show=masked_address),
    Setting("power_bi_url", ("DBBTRACE_POWER_BI_URL",), _text, "https://api.powerbi.com",
            "Power BI's API, which `dbbtrace refresh` asks.", show=masked_address),
    Setting("fabric_rules", ("DBBTRACE_FABRIC_RULES",), _text, None,
            "File with rules by which pipeline runs are read, laid over dbbtrace's own."),
    Setting("sql_endpoint", ("DBBTRACE_SQL_ENDPOINT",), _text, None,
            "Where `dbbtrace.verify` counts loaded tables, in the forms of warehouse; default the warehouse.",
            show=masked_address),
    Setting("lakehouse", ("DBBTRACE_LAKEHOUSE",), _text, None,
            "Name or id of the lakehouse whose SQL endpoint that is; default, in Fabric, the database's name."),
    Setting("lakehouse_tables", ("DBBTRACE_LAKEHOUSE_TABLES",), _table, {},
            "schema.table, a source, or * → the loaded table's name at the SQL endpoint, where table_pattern does not "
            "tell it, a JSON object; {source}, {schema} and {table} are filled in."),
    Setting("webhook_format", ("DBBTRACE_WEBHOOK_FORMAT",), _webhook_format, None,
            "teams (an Adaptive Card), slack or json; default as the URL's host suggests."),
    Setting("webhooks", ("DBBTRACE_WEBHOOKS",), _table, {},
            "Data product → its own webhook, a JSON object; others have webhook_url.", secret=True),
    Setting("owners", ("DBBTRACE_OWNERS",), _table, {},
            "Data product → who looks after it, a JSON object: alerts name that person."),
    Setting("schedules", ("DBBTRACE_SCHEDULES",), _table, {},
            "Data product, or product and environment → when its runs are due, a JSON object: "
            "08:00,12:30 Europe/Brussels."),
    Setting("table_pattern", ("DBBTRACE_TABLE_PATTERN",), _text, "{source}__{schema}_{table}",
            "What a loaded table is called where dbt reads it, and where `dbbtrace verify` counts it."),
    Setting("dbt_sources", ("DBBTRACE_DBT_SOURCES",), _table, {},
            "dbt source → the table that is loaded for it, where names don't tell, a JSON object: "
            "dynamics.Company → Dynamics.dbo.cdm_company."),
    Setting("semantic_models", ("DBBTRACE_SEMANTIC_MODELS",), _semantic_models, {},
            "Semantic model → the dbt models that it reads, and its mode, a JSON object: "
            '{"Finance": {"reads": ["fct_invoices"], "mode": "direct lake"}}.'),
)  # fmt: skip


class Settings:
    """The settings in force; ``resolve()`` makes it. Never changed: see ``but``."""

    warehouse: str | None
    orchestration_run_id: str | None
    data_product: str | None
    environment: str | None
    workspace_id: str | None
    run_by_hand: bool
    protect_gate: bool
    rows_timeout: float
    journal_dir: str
    journal_fsync: bool
    journal_mirror: str | None
    record_steps: str
    strict: bool
    mask_secrets: bool
    service_name: str
    global_provider: bool
    otlp_endpoint: str | None
    otlp_protocol: str
    forward: bool
    receiver_token: str | None
    receiver_certificate: str | None
    receiver_key: str | None
    timezone: str
    reconciliation_tolerance: str | None
    jaeger_url: str | None
    webhook_url: str | None
    openlineage_namespace: str
    fabric_url: str
    power_bi_url: str
    fabric_rules: str | None
    sql_endpoint: str | None
    lakehouse: str | None
    lakehouse_tables: Mapping[str, str]
    webhook_format: str | None
    webhooks: Mapping[str, str]
    owners: Mapping[str, str]
    schedules: Mapping[str, str]
    table_pattern: str
    dbt_sources: Mapping[str, str]
    semantic_models: Mapping[str, Mapping[str, object]]
    sources: Mapping[str, str]
    """Setting → where its value comes from: ``argument``, a variable's name, a file's path, ``the notebook``, or
    ``default``."""

    def __init__(self, values: Mapping[str, Any], sources: Mapping[str, str]) -> None:
        vars(self).update(values, sources=sources)

    def but(self, **changes: Any) -> Settings:
        """The same with changes."""
        return Settings({**vars(self), **changes}, self.sources)

    @property
    def otlp_url(self) -> str | None:
        """Where OTLP goes: over HTTP a general endpoint gets ``/v1/traces``, as the specification says."""
        endpoint = self.otlp_endpoint
        if endpoint is None or self.otlp_protocol == "grpc":
            return endpoint
        if endpoint.partition("?")[0].rstrip("/").endswith("/v1/traces"):
            return endpoint
        if self.sources.get("otlp_endpoint") == "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT":
            return endpoint
        return endpoint.rstrip("/") + "/v1/traces"

    def __repr__(self) -> str:
        return f"Settings({', '.join(f'{setting.name}={self.shown(setting)}' for setting in SETTINGS)})"

    def shown(self, setting: Setting) -> str:
        """The value as it may be shown."""
        value = getattr(self, setting.name)
        return "***" if setting.secret and value else setting.show(str(value))


def resolve(**arguments: object) -> Settings:
    """The settings in force: arguments (None: not given), then environment, then file, then default.

    Raises:
        UsageError: one or more values make no sense; the message names every one of them.
    """
    settings, faults = read(**arguments)
    if faults:
        raise UsageError("; ".join(faults))
    return settings


def read(**arguments: object) -> tuple[Settings, list[str]]:
    """The settings in force, with the default where a value makes no sense, and what is wrong with those."""
    unknown = sorted(set(arguments) - {setting.name for setting in SETTINGS})
    faults = [f"{name}: no such setting" for name in unknown]
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    path = config_file()
    in_file: dict[str, object] = {}
    is_known = True
    """Whether all that says where rows go could be read."""
    try:
        in_file = _read(path) if path else {}
    except UsageError as error:
        faults.append(str(error))
        is_known = False
    for setting in SETTINGS:
        raw, source = _find(setting, arguments, in_file, path)
        try:
            values[setting.name] = setting.default if raw is None else setting.parse(raw)
        except (ValueError, RecursionError) as error:
            shown = "***" if setting.secret else _cut(setting.show(str(raw)))
            faults.append(f"{source} says {setting.name} = {shown}: {error}")
            values[setting.name], source = setting.default, "default"
            is_known = is_known and setting.name != "warehouse"
        sources[setting.name] = source
    if in_fabric():
        for name, value in _of_the_notebook(values, is_known):
            values[name], sources[name] = value, "the notebook"
    elif values["warehouse"] is None and is_known:
        values["warehouse"] = DEFAULT_WAREHOUSE
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        values["forward"] = False  # the specification's switch: it stops forwarding, never rows
    if values["journal_dir"] is None:
        values["journal_dir"] = _state_dir()
    return Settings(values, sources), faults


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"


def _of_the_notebook(values: Mapping[str, Any], is_known: bool) -> Iterator[tuple[str, str]]:
    """What nobody has set and the notebook knows."""
    if values["workspace_id"] is None and (workspace := notebook.workspace_id()):
        yield "workspace_id", workspace
    if values["journal_mirror"] is None and (mirror := notebook.mirror()):
        yield "journal_mirror", mirror
    if values["warehouse"] is None and is_known and (warehouse := notebook.warehouse(values["fabric_url"])):
        yield "warehouse", warehouse


def _find(
    setting: Setting, arguments: Mapping[str, object], in_file: Mapping[str, object], path: Path | None
) -> tuple[object, str]:
    if arguments.get(setting.name) is not None:
        return arguments[setting.name], "argument"
    for variable in setting.variables:
        if os.environ.get(variable, "").strip():
            return os.environ[variable], variable
    if setting.resource_attribute and (value := _resource_attribute(setting.resource_attribute)):
        return value, "OTEL_RESOURCE_ATTRIBUTES"
    if setting.name in in_file:
        return in_file[setting.name], str(path)
    return None, "default"


def _resource_attribute(name: str) -> str:
    """The attribute's value in OTEL_RESOURCE_ATTRIBUTES (``name=value,name=value``, values percent-encoded)."""
    found = ""
    for pair in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "").split(","):
        key, _, value = pair.partition("=")
        if key.strip() == name:
            from urllib.parse import unquote

            found = unquote(value).strip()
    return found


def config_file() -> Path | None:
    """The configuration file in force: DBBTRACE_CONFIG, ./dbbtrace.toml, or the lakehouse's in Fabric; else None.

    Anything of that name counts, also what turns out to be unreadable.
    """
    named = os.environ.get("DBBTRACE_CONFIG", "").strip()
    for path in (named,) if named else ("dbbtrace.toml", notebook.lakehouse_file("config.toml")):
        if named or not _is_absent(path):
            from pathlib import Path

            return Path(path)
    return None


def _is_absent(path: str) -> bool:
    """Whether there is surely nothing of that name."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        pass
    return False


def _read(path: Path) -> dict[str, object]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        from dbbtrace.model.text_files import decoded

        values = tomllib.loads(decoded(_content(path)))
    except OSError as error:
        raise UsageError(f"{path} can't be read: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} can't be read: {error}") from None
    known = {setting.name for setting in SETTINGS}
    unknown = sorted(set(values) - known)
    if unknown:
        raise UsageError(f"{path}: no such setting: {', '.join(unknown)}; there are {', '.join(sorted(known))}")
    return values


def _content(path: Path) -> bytes:
    """What is in the file. A pipe that nobody writes to would hold up the job, and of any other the second to read
    it, as settings are, would find nothing.

    Raises:
        ValueError: it is no file, or far too long for one.
    """
    if stat.S_ISFIFO(path.stat().st_mode):
        raise ValueError("it is a pipe, not a file")
    with path.open("rb") as file:
        content = file.read(_LONGEST_FILE + 1)
    if len(content) > _LONGEST_FILE:
        raise ValueError(f"it is longer than {_LONGEST_FILE >> 20} MiB")
    return content


def strict_by_environment() -> bool:
    """DBBTRACE_STRICT alone, for faults that happen before anything is configured."""
    return os.environ.get("DBBTRACE_STRICT", "").strip().lower() in _TRUE


def traceparent() -> str | None:
    """The W3C trace context that a parent process handed on, e.g. ``00-<trace id>-<span id>-01``; None without."""
    return os.environ.get("TRACEPARENT", "").strip() or None


VALUES_FILE = "DBBTRACE_VALUES_FILE"
"""Variable by which ``dbbtrace exec`` tells its command where ``dbbtrace set`` writes; not for people."""


def values_file() -> str | None:
    """The file for values of the command that we run in; None outside ``dbbtrace exec``."""
    return os.environ.get(VALUES_FILE) or None


def _state_dir() -> str:
    """Where this user's programs keep state: LOCALAPPDATA on Windows, XDG_STATE_HOME or ~/.local/state elsewhere.

    A user without a home, as containers have them, gets a directory of the user's own among the temporary files,
    which the next job finds too.
    """
    if sys.platform == "win32":
        named, below = os.environ.get("LOCALAPPDATA", ""), ("AppData", "Local")
    else:
        named, below = os.environ.get("XDG_STATE_HOME", ""), (".local", "state")
    home = os.path.expanduser("~")
    if os.path.isabs(named):
        base = named
    elif os.path.isabs(home):
        base = os.path.join(home, *below)
    else:
        return _temporary_state_dir()
    return os.path.join(base, "dbbtrace", "journal")


def _temporary_state_dir() -> str:
    """A directory that only this user can use; ``NO_DIRECTORY`` where somebody else has taken its name."""
    from tempfile import gettempdir

    user = os.getuid() if hasattr(os, "getuid") else 0
    try:
        path = os.path.join(gettempdir(), f"dbbtrace-{user}")
        try:
            os.mkdir(path, 0o700)
        except FileExistsError:
            pass
        found = os.lstat(path)
    except OSError:
        return NO_DIRECTORY
    is_ours = stat.S_ISDIR(found.st_mode) and found.st_uid == user and not found.st_mode & 0o077
    return os.path.join(path, "journal") if is_ours else NO_DIRECTORY
