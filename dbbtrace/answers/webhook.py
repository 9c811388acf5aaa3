"""Sends alerts to a webhook: an Adaptive Card for Teams, a message for Slack, or plain JSON.

The URL is a secret, because anyone who has it can post. It appears in no message, log or exception. Names and messages
from the run are sent as plain text, never as Markdown, so the name of a table can't become a link.

If the webhook is busy or down, the alert is posted again. If it took the alert but did not answer in time, it is not:
the alert may have been posted, and nobody wants it three times.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from dbbtrace.answers.watch import Alert
from dbbtrace.errors import ConfigurationError, TransientError, UsageError
from dbbtrace.model.times import retry_after_seconds

__all__ = ["as_card", "as_json", "as_slack", "check_url", "send"]

TIMEOUT = 10
"""Seconds that the webhook has to answer."""
ATTEMPTS = 3
_TEAMS_HOSTS = (".webhook.office.com", ".logic.azure.com", ".powerplatform.com", ".powerautomate.com")
_SLACK_HOST = "hooks.slack.com"
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_SHOWN = 10
"""How many failures an alert names."""
_LONGEST = 600
"""Length of a message in a card, in characters."""
_LONGEST_NAME = 200
_LARGEST = 24_000
"""Size limit of a card in bytes. Teams refuses cards above 28 KB, and its workflow adds text of its own."""


def send(alert: Alert, url: str, form: str | None = None, *, link: str | None = None) -> None:
    """Post the alert.

    Args:
        alert: the alert to send.
        url: the webhook: https, or http on this machine.
        form: ``teams``, ``slack`` or ``json``; None: chosen by the URL's host.
        link: where to see more, e.g. the run's trace.

    Raises:
        UsageError: the URL is not valid for a webhook.
        ConfigurationError: the webhook refuses the alert; trying again can't help.
        TransientError: the webhook can't take it now; ``ambiguous`` if the alert may still have been posted.
    """
    host = check_url(url)
    form = form or ("teams" if host.endswith(_TEAMS_HOSTS) else "slack" if host == _SLACK_HOST else "json")
    made = {"teams": as_card, "slack": as_slack}.get(form, as_json)
    _post(url, _encoded(made(alert, link)))


def check_url(url: str) -> str:
    """The webhook's host.

    Raises:
        UsageError: the URL is not valid for a webhook.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port  # raises ValueError if the port is invalid
        # The HTTP client would reject characters that a URL can't contain only when there is an alert to send.
        fine = host and url.isascii() and url.isprintable() and " " not in url
        fine = fine and (parts.scheme == "https" or (parts.scheme == "http" and host in _LOOPBACK))
    except ValueError:
        fine = False
    if not fine:
        raise UsageError(
            "the webhook's URL is invalid: DBBTRACE_WEBHOOK_URL must begin with https:// and contain no spaces"
        )
    return host


def _encoded(body: Mapping[str, Any]) -> bytes:
    """As UTF-8, which takes a third of the space of escapes for most characters."""
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


# -- sending ------------------------------------------------------------------------------------------------


def _post(url: str, body: bytes) -> None:
    """Post, and post again after a pause if the webhook can't take it now."""
    import time

    pause = _post_once(url, body)
    for _ in range(ATTEMPTS - 1):
        if pause is None or pause.ambiguous:
            break
        time.sleep(min(1.0 if pause.retry_after is None else pause.retry_after, 5.0))
        pause = _post_once(url, body)
    if pause is not None:
        raise pause


def _post_once(url: str, body: bytes) -> TransientError | None:
    """None if it was posted, otherwise why it could not be posted now."""
    from http.client import HTTPException, InvalidURL
    from urllib.error import HTTPError, URLError
    from urllib.request import HTTPRedirectHandler, Request, build_opener

    class NoRedirects(HTTPRedirectHandler):
        """Refuses redirects, because a redirected POST becomes a GET, which posts nothing."""

        def redirect_request(self, *args: Any, **kwargs: Any) -> None:
            return None

    request = Request(url, body, {"Content-Type": "application/json; charset=utf-8", "User-Agent": "dbbtrace"})
    code, after = 0, None
    try:
        with build_opener(NoRedirects).open(request, timeout=TIMEOUT):
            return None
    except HTTPError as error:
        code, after = error.code, error.headers.get("Retry-After")
        error.close()
    except URLError as error:  # the webhook was not reached
        why = type(error.reason if isinstance(error.reason, BaseException) else error).__name__
        return TransientError(f"the webhook does not answer: {why}")
    except TimeoutError:
        said = f"the webhook took the alert, but did not answer in {TIMEOUT} s; it may have been posted"
        return TransientError(said, ambiguous=True)
    except OSError as error:
        return TransientError(f"the webhook does not answer: {type(error).__name__}")
    except (InvalidURL, ValueError) as error:  # the error's message quotes the URL
        raise UsageError(f"the webhook's URL is invalid: {type(error).__name__}") from None
    except HTTPException as error:
        return TransientError(f"the webhook's answer is not HTTP: {type(error).__name__}")
    if code == 429 or code >= 500:
        said = f"the webhook can't take the alert now: HTTP {code}"
        return TransientError(said, retry_after=retry_after_seconds(after))
    raise ConfigurationError(
        f"the webhook refused the alert: HTTP {code}; DBBTRACE_WEBHOOK_URL is wrong or has expired"
    )


# -- what is said -------------------------------------------------------------------------------------------


def as_json(alert: Alert, link: str | None = None) -> dict[str, Any]:
    """The alert for programs."""
    run = alert.run
    return {
        "title": alert.title,
        "orchestration_run_id": alert.run_id,
        "data_product": alert.data_product,
        "environment": alert.environment,
        "status": run.status if run else None,
        "started_at": _iso(run.started_at) if run else None,
        "ended_at": _iso(run.ended_at) if run else None,
        "seconds": run.seconds if run else None,
        "problems": [{"kind": problem.kind, "text": problem.text} for problem in alert.problems],
        "failures": [
            {
                "kind": failure.operation.kind,
                "operation": failure.operation.label,
                "error_type": failure.operation.error_type,
                "error_message": failure.operation.error_message,
                "held_up": len(failure.held_up),
            }
            for failure in alert.failures
        ],
        "link": link,
        "page": alert.page,
        "owner": alert.owner,
    }


def _iso(at: datetime | None) -> str | None:
    return at.isoformat(timespec="seconds").replace("+00:00", "Z") if at else None


def as_card(alert: Alert, link: str | None = None) -> dict[str, Any]:
    """The alert as an Adaptive Card for a Teams workflow, with as many failures as fit."""
    for shown in range(min(len(alert.failures), _SHOWN), 0, -1):
        message = _message(alert, link, shown)
        if len(_encoded(message)) <= _LARGEST:
            return message
    return _message(alert, link, 0)


def _message(alert: Alert, link: str | None, shown: int) -> dict[str, Any]:
    run = alert.run
    title = _cut(alert.title, _LONGEST_NAME)
    facts = {
        "Run": alert.run_id,
        "Data product": alert.data_product,
        "Environment": alert.environment,
        "Started": f"{run.started_at:%Y-%m-%d %H:%M:%S} UTC" if run and run.started_at else None,
        "Status": run.status if run else None,
        "Owner": alert.owner,
    }
    colour = "Good" if alert.is_well else "Attention"
    body: list[dict[str, Any]] = [_text(title, size="Large", weight="Bolder", color=colour)]
    body += [_text(_cut(problem.text), color=colour) for problem in alert.problems]
    body += [_pair(name, _cut(value, _LONGEST_NAME)) for name, value in facts.items() if value]
    for failure in alert.failures[:shown]:
        held_up = f" (held up {len(failure.held_up)})" if failure.held_up else ""
        name = _cut(failure.operation.label, _LONGEST_NAME)
        body.append(_text(f"✗ {name}{held_up}", weight="Bolder", spacing="Medium"))
        body.append(_text(_cut(failure.operation.error_message or "no reason is recorded"), fontType="Monospace"))
    if len(alert.failures) > shown:
        body.append(_text(f"and {len(alert.failures) - shown} more"))
    card: dict[str, Any] = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "msteams": {"width": "Full"},
        "fallbackText": title,
        "body": body,
    }
    links = [{"type": "Action.OpenUrl", "title": name, "url": address} for name, address in _links(alert, link)]
    if links:
        card["actions"] = links
    attachment = {"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": None, "content": card}
    return {"type": "message", "attachments": [attachment]}


def _links(alert: Alert, link: str | None) -> list[tuple[str, str]]:
    """Where to look: the trace of the run, and its page in Fabric."""
    return [(name, url) for name, url in (("Open the run", link), ("Open in Fabric", alert.page)) if url]


def as_slack(alert: Alert, link: str | None = None) -> dict[str, Any]:
    """The alert as a message for Slack. Its texts are plain, so that a name can't become a link or a mention."""

    def said(text: str, longest: int = _LONGEST) -> dict[str, Any]:
        return {"type": "plain_text", "text": _cut(text, longest) or " ", "emoji": False}

    title = _cut(alert.title, 150)  # the longest header that Slack takes
    lines = [problem.text for problem in alert.problems]
    for failure in alert.failures[:_SHOWN]:
        held_up = f" (held up {len(failure.held_up)})" if failure.held_up else ""
        reason = failure.operation.error_message or "no reason is recorded"
        lines.append(f"✗ {_cut(failure.operation.label, _LONGEST_NAME)}{held_up}: {reason}")
    if len(alert.failures) > _SHOWN:
        lines.append(f"and {len(alert.failures) - _SHOWN} more")
    facts = [f"run {alert.run_id}" if alert.run_id else "", f"owner {alert.owner}" if alert.owner else ""]
    blocks: list[dict[str, Any]] = [{"type": "header", "text": said(title, 150)}]
    blocks += [{"type": "section", "text": said(line)} for line in lines[:40]]
    if any(facts):
        blocks.append({"type": "context", "elements": [said(fact, _LONGEST_NAME) for fact in facts if fact]})
    buttons = [{"type": "button", "text": said(name), "url": url} for name, url in _links(alert, link)]
    if buttons:
        blocks.append({"type": "actions", "elements": buttons})
    safe_title = title.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return {"text": safe_title, "blocks": blocks}


def _text(text: str, *, spacing: str | None = None, **style: str) -> dict[str, Any]:
    """A block of text that is shown unchanged. A TextBlock would read Markdown in it."""
    return _runs({"type": "TextRun", "text": text, **style}, spacing=spacing)


def _pair(name: str, value: str) -> dict[str, Any]:
    return _runs({"type": "TextRun", "text": f"{name}: ", "weight": "Bolder"}, {"type": "TextRun", "text": value})


def _runs(*runs: Mapping[str, Any], spacing: str | None = None) -> dict[str, Any]:
    block: dict[str, Any] = {"type": "RichTextBlock", "inlines": list(runs)}
    return {**block, "spacing": spacing} if spacing else block


def _cut(text: str, longest: int = _LONGEST) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"
