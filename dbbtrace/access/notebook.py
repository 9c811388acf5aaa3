"""What a Microsoft Fabric notebook says of itself: its workspace, its lakehouse mount, the warehouse beside it.

So ``configure()`` with nothing set works there. What is not said is None; nothing here raises.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Iterator
from importlib.machinery import PathFinder
from typing import Any

__all__ = ["FILES", "in_fabric", "lakehouse_file", "mirror", "warehouse", "workspace_id"]

LAKEHOUSE = "/lakehouse/default"
"""Where the notebook's default lakehouse is mounted."""
FILES = "Files/dbbtrace"
"""The folder of the lakehouse that is dbbtrace's."""
_PREFERRED = "dbb_warehouse"
"""The warehouse's name on the platform; another is taken where it is the only one."""
_TIMEOUT = 5.0
"""Seconds that Fabric's API gets to connect, and between two parts of its answer."""
_AGAIN = 300.0
"""Seconds after which it is asked again, where it did not say."""
_log = logging.getLogger("dbbtrace")  # ``diagnostics`` reads settings, and those read this
_LARGEST = 4 << 20
_context: dict[str, str] = {}
"""Name → what the notebook's context says."""
_found: dict[str, tuple[str | None, float]] = {}
"""Workspace → its warehouse, and when it was asked for."""


def in_fabric() -> bool:
    """Whether this is a Microsoft Fabric notebook: it has a lakehouse mount or its notebook utilities.

    There the embedded warehouse is never a silent fallback: a file on a disk that goes with the kernel would
    look like success.
    """
    if os.path.isdir(LAKEHOUSE):
        return True
    return "notebookutils" in sys.modules or PathFinder.find_spec("notebookutils") is not None


def lakehouse_file(name: str) -> str:
    """Path of a file of dbbtrace's in the default lakehouse."""
    return f"{LAKEHOUSE}/{FILES}/{name}"


def mirror() -> str | None:
    """Where the journal's copy outlives the notebook's disk; None without a lakehouse."""
    return lakehouse_file("journal") if os.path.isdir(f"{LAKEHOUSE}/Files") else None


def workspace_id() -> str | None:
    """The workspace that the notebook runs in."""
    return _said("currentWorkspaceId")


def _said(name: str) -> str | None:
    """What the notebook's context says; asked once, because it may be another process that answers."""
    if name not in _context:
        try:
            import notebookutils

            context: Any = notebookutils.runtime.context
            _context[name] = str(context.get(name) or "").strip()
        except Exception:
            return None
    return _context[name] or None


def warehouse(api: str) -> str | None:
    """URL of the warehouse in the notebook's workspace, as Fabric's API says; None where it does not say.

    Args:
        api: the API's address.
    """
    workspace = workspace_id()
    if workspace is None or not api.startswith(("https://", "http://127.0.0.1", "http://localhost")):
        return None
    known = _found.get(workspace)
    if known is None or (known[0] is None and time.monotonic() - known[1] > _AGAIN):
        try:
            found = _choose(dict(_warehouses(api.rstrip("/"), workspace)))
        except Exception as error:
            _log.warning("Fabric does not say which warehouse the workspace has: %s: %s", type(error).__name__, error)
            found = None
        known = _found[workspace] = (found, time.monotonic())
    return known[0]


def _choose(servers: dict[str, str]) -> str | None:
    """The platform's warehouse, else the only one; its URL."""
    name = next((name for name in servers if name.lower() == _PREFERRED), None)
    if name is None and len(servers) == 1:
        [name] = servers
    if name is None:
        if servers:
            named = ", ".join(sorted(servers))
            _log.warning("the workspace has several warehouses (%s): set DBBTRACE_WAREHOUSE", named)
        return None
    from urllib.parse import quote

    return f"mssql://{servers[name]}/{quote(name)}"


def _warehouses(api: str, workspace: str) -> Iterator[tuple[str, str]]:
    """Name and server of each warehouse of the workspace."""
    import json
    from urllib.parse import quote
    from urllib.request import HTTPRedirectHandler, Request, build_opener

    class NoRedirects(HTTPRedirectHandler):
        """The token goes to the API's own address alone."""

        def redirect_request(self, *_: Any) -> None:
            return None

    from dbbtrace.access.credentials import FABRIC, token_of, token_source

    opener, bearer, continued = build_opener(NoRedirects), token_of(token_source(None, FABRIC), FABRIC), ""
    for _ in range(100):
        path = f"/v1/workspaces/{quote(workspace)}/warehouses"
        url = f"{api}{path}{f'?continuationToken={quote(continued)}' if continued else ''}"
        with opener.open(Request(url, headers={"Authorization": f"Bearer {bearer}"}), timeout=_TIMEOUT) as answer:
            content: Any = json.loads(answer.read(_LARGEST))
        for item in content["value"]:
            server = (item.get("properties") or {}).get("connectionString")
            if item.get("displayName") and server:
                yield str(item["displayName"]), str(server)
        continued = str(content.get("continuationToken") or "")
        if not continued:
            return
