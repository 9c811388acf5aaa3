"""Sends alerts to webhooks: what ``check --notify`` and ``watch --notify`` share."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from dbbtrace.cli.common import settings
from dbbtrace.cli.text import one_line
from dbbtrace.errors import UsageError

if TYPE_CHECKING:
    from dbbtrace.answers import Alert
    from dbbtrace.answers.outbox import Outbox

__all__ = ["opened_outbox", "send_alerts"]


def opened_outbox(notify: bool) -> Outbox | None:
    """Where alerts wait until they are sent; None without ``--notify``."""
    if not notify:
        return None
    from dbbtrace.answers.outbox import Outbox
    from dbbtrace.answers.webhook import check_url, send
    from dbbtrace.model.identity import trace_id_of

    known = settings()
    urls = [*filter(None, (known.webhook_url,)), *known.webhooks.values()]
    if not urls:
        raise UsageError("--notify needs a webhook: set DBBTRACE_WEBHOOK_URL")
    for url in urls:
        check_url(url)

    def post(alert: Alert) -> None:
        url = known.webhooks.get(alert.data_product or "") or known.webhook_url
        if url is None:
            return  # other products have webhooks, this one has none
        link = None
        if known.jaeger_url and alert.run_id:
            link = f"{known.jaeger_url.rstrip('/')}/trace/{trace_id_of(alert.run_id):032x}"
        owner = known.owners.get(alert.data_product or "")
        send(replace(alert, owner=owner), url, known.webhook_format, link=link)

    return Outbox(post)


def send_alerts(outbox: Outbox | None, found: Iterable[Alert]) -> None:
    """Send these alerts and earlier ones that could not be sent. Errors are printed and do not end the command."""
    if outbox is None:
        return
    for alert in found:
        outbox.put(alert)
    for fault in outbox.send():
        click.echo(one_line(f"dbbtrace: {fault}"), err=True)
