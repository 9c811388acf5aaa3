"""What the shell completes: run ids, data products, environments and statuses.

A completion never raises and never keeps the shell waiting: after a second, or on an error, it offers nothing.
It reads and never creates a warehouse.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

from dbbtrace.cli.common import warehouse_in

if TYPE_CHECKING:
    from dbbtrace.answers.rows import RunKey

__all__ = ["data_products", "environments", "run_ids", "statuses"]

_PATIENCE = 1.0
"""Seconds that a person waits for a completion."""
_RUNS = 50
"""Newest runs that are offered."""
_LOOKED_AT = 1000
"""Newest runs whose data products are offered."""
_WORDS = ("last", "previous", "yesterday", "today")


def run_ids(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The words for a run where one may stand, and the newest runs."""
    words = [CompletionItem(word) for word in _WORDS if isinstance(parameter, click.Argument)]
    runs = [
        CompletionItem(run.run_id, help=f"{run.data_product or 'by hand'} {run.environment or ''}".rstrip())
        for run in _newest_runs(context, _RUNS)
    ]
    return _beginning(incomplete, [*words, *runs])


def data_products(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The data products of the newest runs."""
    found = {run.data_product for run in _newest_runs(context, _LOOKED_AT) if run.data_product}
    return _beginning(incomplete, map(CompletionItem, sorted(found)))


def environments(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The platform's environments."""
    return _beginning(incomplete, map(CompletionItem, ("TST", "ACC", "QUAL", "PRD")))


def statuses(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The verdicts on a run."""
    from dbbtrace.answers.reasons import VERDICTS

    return _beginning(incomplete, map(CompletionItem, VERDICTS))


def _beginning(incomplete: str, items: Iterable[CompletionItem]) -> list[CompletionItem]:
    """Those that begin so, whatever the case. The shell reads lines: a name that is not printable is left out."""
    return [item for item in items if item.value.isprintable() and item.value.lower().startswith(incomplete.lower())]


def _newest_runs(context: click.Context, number: int) -> list[RunKey]:
    """What the warehouse answers in time. The thread that asks does not keep the process from ending."""
    found: list[RunKey] = []
    url = warehouse_in(context)

    def ask() -> None:
        with suppress(Exception):
            from dbbtrace.answers import read
            from dbbtrace.settings import resolve
            from dbbtrace.warehouse import open_warehouse

            known = resolve(warehouse=url).warehouse
            if known is not None and known.lower() != "none":
                with open_warehouse(known, create=False) as warehouse:
                    found.extend(read.run_keys(warehouse, limit=number))

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(_PATIENCE)
    return [] if thread.is_alive() else found
