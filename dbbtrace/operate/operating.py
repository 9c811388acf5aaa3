"""What an operator does, as functions: ``migrate``, ``recover``, ``doctor``. The commands of these names print them.

They look where the process is configured to look: warehouse, backend and journal of ``configure()``, or of the
environment. Unlike what a job uses, they raise.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from dbbtrace.settings import Settings, read

if TYPE_CHECKING:
    from dbbtrace.delivery import Destination, Recovered
    from dbbtrace.operate.doctor import Finding

__all__ = ["destinations_for", "doctor", "migrate", "recover"]


def migrate(warehouse: str | None = None, *, dry_run: bool = False, views: bool = False) -> list[str]:
    """Create schema and tables, or add the nullable columns that are missing; never drops or alters.

    Args:
        warehouse: default the one that is configured.
        dry_run: change nothing.
        views: make the views over the tables too, anew where they stand.

    Returns:
        What was done, in words; with ``dry_run`` the SQL alone.

    Raises:
        UsageError, ConfigurationError, TransientError: it could not be done; nothing is half done for good, repeat it.
    """
    from dbbtrace.warehouse import open_warehouse

    with open_warehouse(warehouse) as opened:
        return opened.migrate(dry_run=dry_run, views=views)


def recover(*, timeout: float = 120.0, silent_after: float = 900.0) -> Recovered:
    """Adopt the journals of jobs that are gone: deliver what had ended, close what had only started as Interrupted.

    Args:
        timeout: seconds to go on trying; negative: for ever. What then still waits stays in the journal.
        silent_after: seconds of silence after which a job on another machine counts as gone.
    """
    from dbbtrace.delivery import recover as recover_

    settings = _settings()
    return recover_(settings.journal_dir, destinations_for(settings), timeout=timeout, silent_after=silent_after)


def doctor() -> list[Finding]:
    """What is configured, what answers, what waits; a finding whose ``state`` is FAULT needs a person."""
    from dbbtrace.operate.doctor import examine

    return list(examine(*read(**_arguments())))


def destinations_for(settings: Settings) -> Callable[[str], Destination | None]:
    """The destination that a journal names, if it is one of those that are configured.

    Rows that were recorded before anybody named a warehouse go to the one that is named now.
    """
    from dbbtrace.configure import destinations
    from dbbtrace.model.destinations import UNRESOLVED
    from dbbtrace.tracing.runtime import installed

    runtime = installed()
    token = runtime.access_token if runtime is not None else None
    known = {destination.name: destination for destination in destinations(settings, token)}
    warehouse = next((destination for destination in known.values() if destination.rows), None)
    if warehouse is not None:
        known.setdefault(UNRESOLVED, warehouse._replace(name=UNRESOLVED))
    return known.get


def _settings() -> Settings:
    return read(**_arguments())[0]


def _arguments() -> dict[str, object]:
    from dbbtrace.tracing.runtime import installed

    runtime = installed()
    return dict(runtime.arguments) if runtime is not None else {}
