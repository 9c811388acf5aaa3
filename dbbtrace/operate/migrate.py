"""Create the warehouse's tables, or add what they lack: ``dbbtrace migrate`` as a function.

Which steps that takes is the warehouse's business.
"""

from __future__ import annotations

from dbbtrace.tracing import runtime
from dbbtrace.warehouse import open_warehouse

__all__ = ["migrate"]


def migrate(warehouse: str | None = None, *, dry_run: bool = False, views: bool = False) -> list[str]:
    """Create schema and tables, or add the nullable columns that are missing; never drops or alters.

    Args:
        warehouse: default the one that is configured.
        dry_run: change nothing.
        views: create the views over the tables too, and replace those that are there.

    Returns:
        What was done, in words; with ``dry_run`` the SQL alone.

    Raises:
        UsageError, ConfigurationError, TransientError: it could not be done. Run it again: it goes on from there.
    """
    with open_warehouse(warehouse) as opened:
        done = opened.migrate(dry_run=dry_run, views=views)
    runtime.try_again()
    return done
