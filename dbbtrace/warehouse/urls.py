"""Reads the address of a warehouse: ``sqlite:///file.db``, ``mssql://server/database``, ODBC connection strings.

Uses no network, and looks at the file system only to refuse paths that don't work for SQLite. Shows no secret.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from dbbtrace.errors import UsageError
from dbbtrace.model.destinations import warehouse_name
from dbbtrace.model.masking import masked_address

__all__ = ["OdbcAddress", "SqliteAddress", "address_of"]

_FORMS = (
    "write sqlite:///file.db (three slashes: relative; four: absolute), mssql://server/database,"
    " or an ODBC connection string (Server=...;Database=...)"
)
_ADO = frozenset({"data source", "initial catalog", "user id", "integrated security", "persist security info"})
"""Names that ADO.NET's connection strings have; the ODBC driver knows none of them."""
_OTHERS = frozenset({"postgres", "postgresql", "mysql", "mariadb", "oracle", "snowflake", "databricks", "duckdb"})
_DEFAULT_DRIVER = "ODBC Driver 18 for SQL Server"
_MICROSOFT = re.compile(r"odbc driver \d+ for sql server|msodbcsql", re.IGNORECASE)
_PAIR = re.compile(r"\s*([^=;{}]+?)\s*=\s*(\{(?:[^}]|\}\})*\}|(?!\{(?!\{))[^;]*)\s*(?:;|$)")
_PLACEHOLDER = re.compile(r"(?<!\w)\$(?:[A-Za-z_]\w*|[{(][^})]*[})])|%[A-Za-z_]\w*%|\{\{.*?\}\}|<[^<>]*>")
"""What a shell or a template should have filled in: ${HOME}, %TEMP%, {{ var }}, <your server>."""
_ODD_IN_PATH = re.compile(r"[\x00-\x1f\"|]|^'|[';]$")
"""What is in no path that somebody meant: ends of lines, quotes around it, a semicolon behind it."""
_ODD_IN_NAME = re.compile(r"[\x00-\x1f]|^[\"']|[\"']$")
_NETWORK = frozenset({
    "nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "lustre", "gpfs", "beegfs", "ncpfs",
    "davfs", "wekafs",
})  # fmt: skip


_LAST_PORT = 65535
_HOST = re.compile(r"([A-Za-z0-9][A-Za-z0-9.-]*)(?:\s*,\s*(\d{1,5}))?")


@dataclass(frozen=True)
class SqliteAddress:
    """A file."""

    path: str
    """Absolute."""
    name: str
    """``sqlite:////abs/file.db``: its name in journals."""


@dataclass(frozen=True, repr=False)
class OdbcAddress:
    """A database behind ODBC. ``pairs`` may hold secrets, but ``name`` never does."""

    pairs: tuple[tuple[str, str], ...]
    """The connection string's keywords and values, as they were written."""
    server: str
    wants_token: bool
    """Whether it contains no login."""
    name: str
    """``mssql://server/database``: its name in journals."""

    @property
    def in_fabric(self) -> bool:
        """Whether the server name is that of a Fabric Warehouse."""
        return ".datawarehouse." in self.server.lower()

    @property
    def connection_string(self) -> str:
        """As ODBC takes it."""
        return self.without()

    def without(self, *names: str) -> str:
        """The connection string without these keywords."""
        return "".join(f"{name}={value};" for name, value in self.pairs if name.lower() not in names)

    @property
    def endpoint(self) -> tuple[str, int] | None:
        """Host and port of a server that is reached over TCP; None where the driver finds it by other means: a named
        instance, a pipe, a data source, a mirror or replica of the server, this machine's memory."""
        names = {name.lower(): value for name, value in self.pairs}
        match = _HOST.fullmatch(self.server) if names.keys() & {"server", "address", "addr"} else None
        if match is None or "failover_partner" in names:
            return None
        if names.get("multisubnetfailover", "").lower() in ("yes", "true"):
            return None  # the driver tries all addresses of the name at once, of which most don't answer
        port = match[2] or ("" if self.microsoft else names.get("port", "").strip())  # Microsoft's knows no Port=
        if os.name == "nt" and not port and "." not in match[1] and "tcp:" not in "".join(names.values()).lower():
            return None
        port = port or "1433"
        return (match[1], int(port)) if port.isdecimal() else None

    @property
    def database(self) -> str | None:
        """Name of the database."""
        return next((_unbraced(value) for name, value in self.pairs if name.lower() == "database"), None)

    @property
    def driver(self) -> str | None:
        """Name or path of the ODBC driver; None if a data source names it."""
        return next((_unbraced(value) for name, value in self.pairs if name.lower() == "driver"), None)

    @property
    def microsoft(self) -> bool:
        """Whether Microsoft's ODBC driver is to be used."""
        return self.driver is not None and _MICROSOFT.search(self.driver) is not None

    def __repr__(self) -> str:
        return f"OdbcAddress({self.name!r})"


def address_of(url: str) -> SqliteAddress | OdbcAddress:
    """Parse the setting ``warehouse``.

    Raises:
        UsageError: it is not an address, or can't work; the message says what to write instead.
    """
    url = url.strip()
    if not _is_text(url):
        raise UsageError(f"{masked_address(url)!a} names no warehouse: it holds bytes that are no UTF-8")
    scheme = url.split("://", 1)[0].lower() if "://" in url else ""
    if scheme == "sqlite":
        return _sqlite(url)
    if scheme == "mssql":
        return _filled_in(_mssql(url))
    if not scheme and "=" in url:
        return _filled_in(_odbc(url))
    if url.lower() == "none":
        raise UsageError(f"the warehouse is set to none, so there is nothing to open; {_FORMS}")
    raise UsageError(f"{masked_address(url)!r} names no warehouse: {_advice(url, scheme)}")


def _is_text(url: str) -> bool:
    try:
        url.encode()
    except UnicodeEncodeError:
        return False
    return True


def _filled_in(address: OdbcAddress) -> OdbcAddress:
    """The address, if server and database are names and no placeholders for them."""
    for name, value in address.pairs:
        if name.lower() in ("server", "address", "addr", "database", "dsn"):
            if found := _PLACEHOLDER.search(value):
                raise UsageError(f"{address.name!r} names no warehouse: {_unfilled(found)}")
            if odd := _ODD_IN_NAME.search(_unbraced(value)):
                raise UsageError(f"{address.name!r}: {name} holds {odd[0]!r}: write the name, and nothing else")
    if address.endpoint is not None and address.endpoint[1] > _LAST_PORT:
        raise UsageError(f"{address.name!r}: the port is not a number from 1 to {_LAST_PORT}")
    return address


def _unfilled(found: re.Match[str]) -> str:
    return f"nothing has put a value in place of {found[0]}"


def _advice(url: str, scheme: str) -> str:
    """What to write instead."""
    if url[:1] in ("'", '"'):
        return f"leave out the quotes; {_FORMS}"
    if found := _PLACEHOLDER.search(url):
        return f"{_unfilled(found)}; {_FORMS}"
    if url.lower() in ("null", "nil", "false", "no", "off", "0", "-"):
        return f"write none for no warehouse; {_FORMS}"
    if file := re.fullmatch(r"(?:sqlite3?|file):(?://)?/?(.+)", url, re.IGNORECASE):
        return f"if that is a file, write sqlite:///{file[1]}; else {_FORMS}"
    if host := re.fullmatch(
        r"(?:tcp:|mssql:|sqlserver://|https?://)?([\w-]+(?:\.[\w-]+)*\.(?:com|net)(?:[:,]\d+)?)(/[\w-]+)?", url
    ):
        return f"write mssql://{host[1]}{host[2] or '/database'}"
    dialect, driver, _ = scheme.partition("+")
    if driver and dialect in ("mssql", "sqlite"):
        return f"that is SQLAlchemy's form; {_FORMS}"
    if dialect in _OTHERS:
        return f"rows go to SQLite, SQL Server, Azure SQL or a Fabric Warehouse; {_FORMS}"
    if not scheme and os.path.basename(url) and not re.search(r"[\s;@]", url):
        return f"if that is a file, write sqlite:///{url}; else {_FORMS}"
    return _FORMS


# -- SQLite -------------------------------------------------------------------------------------------------


def _sqlite(url: str) -> SqliteAddress:
    rest = url[len("sqlite://") :]
    if not rest.startswith("/"):
        raise UsageError(f"{url!r}: write sqlite:///file.db: three slashes before a relative path, four before /")
    path = rest[1:]
    if path in ("", ":memory:"):
        raise UsageError(f"{url!r} would be gone with the process: name a file, e.g. sqlite:///dbb_warehouse.db")
    if odd := _ODD_IN_PATH.search(path):
        raise UsageError(f"{url!r} holds {odd[0]!r}: write sqlite:/// and the file's path, and nothing else")
    if found := _PLACEHOLDER.search(path):
        raise UsageError(f"{url!r} names no file: {_unfilled(found)}")
    if "?" in path:
        raise UsageError(f"{masked_address(url)!r}: sqlite:/// takes no options (?...): name the file alone")
    if path.startswith(("\\\\", "//")):
        raise UsageError(f"{url!r} is a network share: SQLite needs a local disk (WAL); {_FORMS}")
    expanded = os.path.expanduser(path)
    if expanded.startswith("~"):
        raise UsageError(f"{url!r}: there is no such home directory: write the whole path")
    absolute = os.path.abspath(expanded)
    _refuse_remote(absolute)
    absolute = os.path.realpath(absolute)
    if os.path.isdir(absolute):
        raise UsageError(f"{url!r} is a directory: name a file in it")
    if os.path.exists(absolute) and not os.path.isfile(absolute):
        raise UsageError(f"{url!r} is a pipe, a device or the like: name a file")
    return SqliteAddress(absolute, warehouse_name(url))


def _refuse_remote(path: str) -> None:
    real = os.path.realpath(path)
    for candidate in (path, real):
        if candidate == "/lakehouse" or candidate.startswith("/lakehouse/"):
            raise UsageError(
                f"{path} is on the lakehouse mount: SQLite needs a local disk (WAL); use the Fabric Warehouse"
                " (mssql://server/database), or a file on the notebook's own disk"
            )
    kind = _file_system(real)
    if kind in _NETWORK or (kind.startswith("fuse.") and kind != "fuse.ext"):
        raise UsageError(f"{path} is on a network mount ({kind}): SQLite needs a local disk (WAL); name a file there")


def _file_system(path: str) -> str:
    """Type of the file system that holds the path; '' where the system doesn't say."""
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as lines:
            mounts = [(fields[4], fields[fields.index("-") + 1]) for fields in map(str.split, lines)]
    except (OSError, ValueError, IndexError):
        return ""
    best, kind = "", ""
    for raw, type_ in mounts:
        point = re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), raw)
        inside = path == point or path.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best):
            best, kind = point, type_
    return kind


# -- ODBC ---------------------------------------------------------------------------------------------------


def _mssql(url: str) -> OdbcAddress:
    try:
        parts = urlsplit(url)
    except ValueError:  # a bracket that is not closed
        raise UsageError(f"{masked_address(url)!r}: write mssql://server/database") from None
    database = unquote(parts.path.strip("/"))
    if not parts.hostname or not database or "/" in database:
        raise UsageError(f"{masked_address(url)!r}: write mssql://server/database")
    if parts.username or parts.password or parts.query:
        raise UsageError(
            f"{masked_address(url)!r}: mssql:// logs in with an access token; for anything else write an ODBC"
            " connection string (Server=...;Database=...;UID=...;PWD=...)"
        )
    try:
        port = parts.port
    except ValueError:
        raise UsageError(f"{masked_address(url)!r}: the port is not a number") from None
    server = f"{parts.hostname},{port}" if port else parts.hostname
    return _odbc(f"Server={_braced(server)};Database={_braced(database)}")


def _odbc(text: str) -> OdbcAddress:
    pairs = _pairs(text)
    keys = {name.lower(): value for name, value in pairs}
    if ado := sorted(_ADO & keys.keys()):
        raise UsageError(
            f"{masked_address(text)!r} is ADO.NET's form ({', '.join(ado)}), which ODBC does not know: write"
            " Server=...;Database=...;UID=...;PWD=..."
        )
    server = _unbraced(next((keys[name] for name in ("server", "address", "addr") if name in keys), ""))
    database = _unbraced(keys.get("database", ""))
    own_driver = any(name in keys for name in ("driver", "dsn", "filedsn"))
    if not server and not own_driver:
        raise UsageError(f"{masked_address(text)!r} names no server: {_FORMS}")
    if not database:
        raise UsageError(f"{masked_address(text)!r} names no database: add Database=...")
    if not own_driver:
        pairs.insert(0, ("Driver", f"{{{_DEFAULT_DRIVER}}}"))
    for name, value in (("Encrypt", "yes"), ("APP", "dbbtrace")):
        if name.lower() not in keys:
            pairs.append((name, value))
    login = ("uid", "user", "user id", "pwd", "password", "authentication", "trusted_connection", "dsn", "filedsn")
    return OdbcAddress(
        tuple(pairs),
        server.removeprefix("tcp:") or _unbraced(keys.get("dsn", "local")),
        wants_token=not any(name in keys for name in login),
        name=warehouse_name(text),
    )


def _pairs(text: str) -> list[tuple[str, str]]:
    pairs, at = [], 0
    text = text.strip().rstrip(";")
    while at < len(text):
        match = _PAIR.match(text, at)
        if match is None:
            raise UsageError(
                f"{masked_address(text)!r} is not an ODBC connection string: write Name=value;Name=value, without an"
                " empty part (;;), and put a value that holds a semicolon into braces: {value}"
            )
        pairs.append((match[1], match[2].strip()))
        at = match.end()
    return pairs


def _braced(value: str) -> str:
    return "{" + value.replace("}", "}}") + "}" if re.search(r"[;{}=\s]", value) else value


def _unbraced(value: str) -> str:
    return value[1:-1].replace("}}", "}") if value[:1] == "{" and value[-1:] == "}" else value
