"""Names of destinations: URLs without secrets, the same in every process, whatever the order of their parts.

A journal names its destinations so, and is delivered to equal names only.
"""

from __future__ import annotations

import os
import re
from urllib.parse import quote, unquote, urlsplit

__all__ = ["UNRESOLVED", "exporter_name", "otlp_name", "warehouse_name"]

UNRESOLVED = "warehouse:unresolved"
"""The warehouse that nobody has named yet."""

_PAIR = r"\s*([^=;]+?)\s*=\s*(\{(?:[^}]|\}\})*\}|[^;]*)\s*(?:;|$)"


def warehouse_name(url: str) -> str:
    """``sqlite:////absolute/path.db`` or ``mssql://server/database``, server in lower case.

    An ODBC connection string and an ``mssql://`` URL of one database have one name; login and options are no part.
    """
    url = url.strip()
    if url.lower().startswith("sqlite:"):
        path = url.split(":", 1)[1].partition("?")[0].removeprefix("//").removeprefix("/")
        return "sqlite:///" + os.path.realpath(path or "dbb_warehouse.db")
    if "://" in url:
        parts = urlsplit("mssql://" + url.partition("://")[2].rpartition("@")[2])  # a password may hold anything
        host = parts.netloc.lower().replace(",", ":").removesuffix(":1433")
        return f"mssql://{host}/{quote(unquote(parts.path.strip('/')))}"
    pairs = {name.lower(): value.strip("{}") for name, value in re.findall(_PAIR, url)}
    server = next((pairs[name] for name in ("server", "address", "addr") if name in pairs), "")
    server = re.sub(r"^tcp:", "", server.strip(), flags=re.I).lower().replace(",", ":").removesuffix(":1433")
    database = quote(pairs.get("database", ""))
    return f"mssql://{server or 'dsn=' + pairs.get('dsn', '')}/{database}"


def otlp_name(endpoint: str, protocol: str) -> str:
    """``otlp+grpc://host:4317`` or ``otlp+http/protobuf://host:4318/v1/traces``, without login or query."""
    try:
        parts = urlsplit(endpoint if "://" in endpoint else f"//{endpoint}")
        port = f":{parts.port}" if parts.port else ""
    except ValueError:  # no URL: the exporter says so
        return f"otlp+{protocol}://{_without_secrets(endpoint).partition('://')[2].rstrip('/')}"
    return f"otlp+{protocol}://{parts.hostname or ''}{port}{parts.path.rstrip('/')}"


def _without_secrets(url: str) -> str:
    """Without login and query, right or wrong."""
    scheme, separator, rest = url.partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}".partition("?")[0]


def exporter_name(exporter: object) -> str:
    """What the exporter says it delivers to; else its class, with its endpoint where it has one."""
    said = getattr(exporter, "destination", None)
    if isinstance(said, str) and said:
        return said
    kind = f"{type(exporter).__module__}.{type(exporter).__qualname__}"
    endpoint = getattr(exporter, "_endpoint", None)
    return f"{kind}:{_without_secrets(endpoint)}" if isinstance(endpoint, str) else kind
