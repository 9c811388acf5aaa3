"""Alerts to a webhook: what is sent, how it is answered, and that the URL shows nowhere."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from dbbtrace import answers
from dbbtrace.answers import webhook
from dbbtrace.answers.watch import Alert
from dbbtrace.errors import ConfigurationError, TransientError, UsageError
from tests.answers.history import Size, make, store
from tests.cli.support import HOSTILE, run
from tests.support.otlp import closed_port

SECRET = "s3cr3t-signature"
LINK = "[click](https://evil.example)"


class Receiver(ThreadingHTTPServer):
    """A webhook that answers what it is told to, then 200."""

    def __init__(self, *statuses: int) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.statuses = list(statuses)
        self.bodies: list[Any] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/hook?sig={SECRET}"


class Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.bodies.append(json.loads(body))
        self.send_response(self.server.statuses.pop(0) if self.server.statuses else 200)
        self.send_header("Retry-After", "0")
        self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing on stderr."""


@contextmanager
def receiver(*statuses: int) -> Iterator[Receiver]:
    server = Receiver(*statuses)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def alert(tmp_path: Path) -> Alert:
    """A failed run with names that try to be links."""
    history = make(1, seed=1, failing=0, size=Size(2, 2, 1, 1), products=(LINK,))
    for row in history.loads:
        row |= {
            "status": "Failed",
            "error_type": "E",
            "error_message": HOSTILE + LINK,
            "table_name": LINK + row["table_name"],
        }
    (found,) = answers.alerts(store(history, tmp_path / "w.db"))
    return found


def test_json_says_it_all(alert: Alert) -> None:
    """For programs: which run, what is wrong, each failure."""
    with receiver() as server:
        webhook.send(alert, server.url)
    (body,) = server.bodies
    assert body["orchestration_run_id"] == alert.run_id
    assert body["status"] == "Failed"
    assert [problem["kind"] for problem in body["problems"]] == ["failed"]
    assert {failure["error_message"] for failure in body["failures"]} == {HOSTILE + LINK}


def test_the_card_is_one_that_teams_takes(alert: Alert) -> None:
    """A message with one Adaptive Card; whatever comes from the run stands in text runs, which read no Markdown."""
    with receiver() as server:
        webhook.send(alert, server.url, "teams", link="https://jaeger.example/trace/1")
    (message,) = server.bodies
    assert message["type"] == "message"
    (attachment,) = message["attachments"]
    assert attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
    card = attachment["content"]
    assert (card["type"], card["version"]) == ("AdaptiveCard", "1.4")
    assert {block["type"] for block in card["body"]} == {"RichTextBlock"}
    runs = [inline for block in card["body"] for inline in block["inlines"]]
    assert {inline["type"] for inline in runs} == {"TextRun"}
    text = "\n".join(inline["text"] for inline in runs)
    assert alert.run_id is not None
    assert alert.run_id in text
    assert HOSTILE + LINK in text
    assert [action["url"] for action in card["actions"]] == ["https://jaeger.example/trace/1"]
    assert len(json.dumps(message)) < 28_000


@pytest.mark.parametrize(
    ("host", "form"),
    [
        ("prod-1.westeurope.logic.azure.com", "teams"),
        ("contoso.webhook.office.com", "teams"),
        ("hooks.example.com", "json"),
        ("logic.azure.com.example.com", "json"),
    ],
)
def test_the_form_follows_the_host(alert: Alert, host: str, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hosts of Teams workflows get a card, all others JSON."""
    sent: list[bytes] = []
    monkeypatch.setattr(webhook, "_post", lambda url, body: sent.append(body))
    webhook.send(alert, f"https://{host}/{SECRET}")
    assert ("attachments" in json.loads(sent[0])) == (form == "teams")


@pytest.mark.parametrize("statuses", [(503,), (429, 500)])
def test_what_can_not_be_taken_now_is_sent_again(alert: Alert, statuses: tuple[int, ...]) -> None:
    """After a pause, up to three times in all."""
    with receiver(*statuses) as server:
        webhook.send(alert, server.url)
    assert len(server.bodies) == len(statuses) + 1


@pytest.mark.parametrize(
    ("status", "error"), [(404, ConfigurationError), (302, ConfigurationError), (503, TransientError)]
)
def test_what_is_refused_is_told_without_the_url(
    alert: Alert, status: int, error: type[Exception], caplog: pytest.LogCaptureFixture
) -> None:
    """A wrong URL, a redirect (which would become a GET), a service that stays down."""
    with caplog.at_level(logging.DEBUG), receiver(*[status] * 9) as server:
        with pytest.raises(error, match=f"HTTP {status}") as raised:
            webhook.send(alert, server.url)
    assert SECRET not in str(raised.value) + repr(raised.value) + caplog.text
    assert raised.value.__cause__ is None


@pytest.mark.parametrize(
    "url",
    [
        f"http://example.com/{SECRET}",
        f"ftp://example.com/{SECRET}",
        f"https:///{SECRET}",
        f"https://[::1/{SECRET}",
        SECRET,
        f"https://exa mple.com/{SECRET}",
        f"https://example.com:port/{SECRET}",
    ],
)
def test_what_is_no_webhook_is_told_without_the_url(alert: Alert, url: str) -> None:
    """Plain http leaves this machine for nobody; nonsense is called so; neither is repeated."""
    with pytest.raises((UsageError, TransientError)) as raised:
        webhook.send(alert, url)
    assert SECRET not in str(raised.value)


def test_nobody_there(alert: Alert) -> None:
    """A closed port can't be reached now."""
    with closed_port() as port, pytest.raises(TransientError, match="does not answer"):
        webhook.send(alert, f"http://127.0.0.1:{port}/{SECRET}")


# -- in the terminal ----------------------------------------------------------------------------------------


@pytest.fixture
def failing_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    history = make(1, seed=1, failing=0, size=Size(2, 2, 1, 1))
    history.loads[0] |= {"status": "Failed", "error_type": "E", "error_message": "the source is gone"}
    store(history, tmp_path / "w.db")
    monkeypatch.setenv("DBBTRACE_WAREHOUSE", f"sqlite:///{tmp_path}/w.db")
    return str(history.loads[0]["orchestration_run_id"])


def test_check_notifies_when_asked(failing_run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only with --notify, only what breaks a rule; with a link to the trace where Jaeger's address is known."""
    monkeypatch.setenv("DBBTRACE_JAEGER_URL", "http://localhost:16686/")
    with receiver() as server:
        monkeypatch.setenv("DBBTRACE_WEBHOOK_URL", server.url)
        assert run("check", failing_run).code == 1
        assert server.bodies == []
        assert run("check", failing_run, "--allow-failures", "--notify").code == 0
        assert server.bodies == []
        done = run("check", failing_run, "--notify")
    assert done.code == 1
    (body,) = server.bodies
    assert body["link"] == f"http://localhost:16686/trace/{failing_run.replace('-', '')}"
    assert SECRET not in done.out + done.err


def test_watch_notifies_and_tells_what_could_not_be_sent(failing_run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One alert; a webhook that refuses is one line on stderr, without its URL."""
    monkeypatch.setenv("DBBTRACE_WEBHOOK_FORMAT", "teams")
    with receiver(404) as server:
        monkeypatch.setenv("DBBTRACE_WEBHOOK_URL", server.url)
        done = run("watch", "--once", "--since", "2026-01-01", "--notify")
    assert done.code == 1
    assert "attachments" in server.bodies[0]
    assert done.err.count("\n") == 1
    assert "HTTP 404" in done.err
    assert SECRET not in done.out + done.err


def test_notify_needs_a_webhook(failing_run: str) -> None:
    """And says which variable names it."""
    done = run("check", failing_run, "--notify")
    assert done.code == 2
    assert "DBBTRACE_WEBHOOK_URL" in done.err


def test_the_url_is_masked_wherever_settings_show(monkeypatch: pytest.MonkeyPatch) -> None:
    """In their repr, and in what ``dbbtrace doctor`` prints."""
    from dbbtrace.settings import resolve

    monkeypatch.setenv("DBBTRACE_WEBHOOK_URL", f"https://example.com/{SECRET}")
    monkeypatch.setenv("DBBTRACE_WAREHOUSE", "none")
    assert SECRET not in repr(resolve())
    done = run("doctor")
    assert "webhook_url" in done.out
    assert SECRET not in done.out + done.err


def test_watch_tells_again_what_could_not_be_sent(failing_run: str, tmp_path: Path) -> None:
    """The next look gives it anew."""
    from datetime import datetime, timezone

    from dbbtrace.answers.check import Rules
    from dbbtrace.answers.watch import Watch
    from dbbtrace.warehouse import open_warehouse

    warehouse = open_warehouse(f"sqlite:///{tmp_path}/w.db")
    eye = Watch(warehouse, Rules(), since=datetime(2026, 1, 1, tzinfo=timezone.utc))
    (first,) = eye.look()
    assert eye.look() == []
    eye.forget(first)
    assert eye.look() == [first]
