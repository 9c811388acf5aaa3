"""Deliver what jobs that are gone left in the journal: ``dbbtrace recover`` as a function.

It looks where the process is configured to look: journal, warehouse and backend of ``configure()``, or of the
environment. How a journal is taken over is delivery's business.
"""

from __future__ import annotations

from collections.abc import Callable

from dbbtrace import delivery
from dbbtrace.configure import destinations, resolve
from dbbtrace.delivery import Destination, Recovered
from dbbtrace.model.destinations import UNRESOLVED
from dbbtrace.settings import Settings
from dbbtrace.tracing import runtime

__all__ = ["destinations_for", "recover"]


def recover(*, timeout: float = 120.0, silent_after: float = 900.0) -> Recovered:
    """Adopt the journals of jobs that are gone: deliver what had ended, close what had only started as Interrupted.

    Power BI is asked what became of a refresh. One that still runs waits in the journal for the next time.

    Args:
        timeout: seconds to go on trying; negative: for ever. What still waits then stays in the journal.
        silent_after: seconds of silence after which a job on another machine counts as gone.
    """
    settings = runtime.current_settings()
    runtime.try_again()
    return delivery.recover(
        settings.journal_dir,
        destinations_for(settings),
        timeout=timeout,
        silent_after=silent_after,
        resolve=resolve,
    )


def destinations_for(settings: Settings, wrong_name: str | None = None) -> Callable[[str], Destination | None]:
    """The destination that a journal names, if it is one of those that are configured.

    Args:
        wrong_name: a name under which rows were recorded by mistake; they go to the warehouse that is configured.

    Rows that were recorded before anybody named a warehouse go to the one that is named now.
    """
    installed = runtime.installed()
    token = installed.access_token if installed is not None else None
    known = {destination.name: destination for destination in destinations(settings, token)}
    warehouse = next((destination for destination in known.values() if destination.rows), None)
    if warehouse is not None:
        for name in (UNRESOLVED, wrong_name):
            if name is not None:
                known.setdefault(name, warehouse.named(name))
    return known.get
