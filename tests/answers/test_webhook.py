"""Alerts to a webhook: what is sent, how it is answered, and that the URL shows nowhere."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from dbbtrace import answers
from dbbtrace.answers import webhook
from dbbtrace.answers.check import Problem
from dbbtrace.answers.failures import Failure
from dbbtrace.answers.outbox import Outbox
from dbbtrace.answers.watch import Alert
from dbbtrace.errors import ConfigurationError, TransientError, UsageError
from tests.answers.history import History, Size, make, store
from tests.cli.support import HOSTILE, assert_one_line, run
from tests.support.otlp import closed_port

SECRET = "s3cr3t-signature"
LINK = "[click](https://evil.example)"


class Receiver(ThreadingHTTPServer):
    """A webhook that answers what it is told to (a status, garbage, nothing in time), then 200."""

    def __init__(self, *statuses: int | str) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.statuses = list(statuses)
        self.bodies: list[Any] = []
        self.sizes: list[int] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/hook?sig={SECRET}"


class Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.bodies.append(json.loads(body))
        self.server.sizes.append(len(body))
        status = self.server.statuses.pop(0) if self.server.statuses else 200
        if status == "garbage":
            self.wfile.write(f"garbage {SECRET}\r\n\r\n".encode())
            return
        if status == "slow":
            time.sleep(1)
            return
        self.send_response(int(status))
        self.send_header("Retry-After", "0")
        self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing on stderr."""


@contextmanager
def receiver(*statuses: int | str) -> Iterator[Receiver]:
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
    trace, page = [action["url"] for action in card["actions"]]
    assert trace == "https://jaeger.example/trace/1"
    assert page == alert.page
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
    with closed_port() as base, pytest.raises(TransientError, match="does not answer"):
        webhook.send(alert, f"{base}/{SECRET}")


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


# -- how large ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("letters", ["Ошибка ", "😀", "\x00\x1b", "Größe ", '"\\', "\ud800"])
def test_the_largest_card_is_one_that_teams_takes(letters: str, tmp_path: Path) -> None:
    """Twelve failures with names and messages of the worst letters: names are cut, failures that don't fit left out."""
    history = make(1, seed=1, failing=0, size=Size(12, 1, 1, 1))
    (found,) = answers.alerts(store(_failed(history, "x"), tmp_path / "w.db"))
    name, message = (letters * 4000)[:255], (letters * 4000)[:4000]
    worst = [Failure(replace(f.operation, name=name, error_message=message), f.held_up * 3) for f in found.failures]
    product = letters * 80
    alert = replace(found, data_product=product, environment=product, failures=tuple(worst))
    with receiver() as server:
        webhook.send(alert, server.url, "teams", link="https://jaeger.example/trace/1")
    assert server.sizes[0] < 28 * 1024
    blocks = server.bodies[0]["attachments"][0]["content"]["body"]
    texts = ["".join(inline["text"] for inline in block["inlines"]) for block in blocks]
    named = [text for text in texts if text.startswith("✗ ")]
    assert named
    assert max(map(len, texts)) <= 600 + len("Data product: ")
    assert texts[-1] == f"and {12 - len(named)} more"


def test_letters_of_the_world_are_sent_as_they_are(alert: Alert) -> None:
    """In UTF-8: as escapes ten messages in Cyrillic would be too much for a card."""
    message = "Ошибка при загрузке: нет доступа " * 30
    many = [Failure(replace(alert.failures[0].operation, error_message=message), ())] * 10
    with receiver() as server:
        webhook.send(replace(alert, failures=tuple(many)), server.url, "teams")
    text = json.dumps(server.bodies[0], ensure_ascii=False)
    assert text.count("✗ ") == 10


def _failed(history: History, message: str) -> History:
    for row in history.loads:
        row |= {"status": "Failed", "error_type": "E", "error_message": message}
    return history


# -- what the other side may do -----------------------------------------------------------------------------


def test_an_answer_that_is_no_http_is_called_so_and_tried_again(alert: Alert, monkeypatch: pytest.MonkeyPatch) -> None:
    """The URL is right; what answers there is no web server. What it said is not repeated."""
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    with receiver(*["garbage"] * 9) as server, pytest.raises(TransientError, match="not HTTP") as raised:
        webhook.send(alert, server.url)
    assert len(server.bodies) == webhook.ATTEMPTS
    assert SECRET not in str(raised.value)
    with receiver("garbage") as server:
        webhook.send(alert, server.url)
    assert len(server.bodies) == 2


def test_what_may_have_been_posted_is_not_posted_again_at_once(alert: Alert, monkeypatch: pytest.MonkeyPatch) -> None:
    """The alert was taken, the answer does not come."""
    monkeypatch.setattr(webhook, "TIMEOUT", 0.3)
    with receiver(*["slow"] * 9) as server, pytest.raises(TransientError, match="may have been posted") as raised:
        webhook.send(alert, server.url)
    assert raised.value.ambiguous
    assert len(server.bodies) == 1


# -- what waits ---------------------------------------------------------------------------------------------


class Post:
    """A webhook of our own: does what it is told to, in turn, and then takes everything."""

    def __init__(self, *results: Exception | None) -> None:
        self.results = list(results)
        self.now = 0.0
        self.posted: list[tuple[float, str | None]] = []

    def __call__(self, alert: Alert) -> None:
        self.posted.append((self.now, alert.data_product))
        result = self.results.pop(0) if self.results else None
        if result is not None:
            raise result

    def outbox(self, *products: str) -> Outbox:
        made = Outbox(self, clock=lambda: self.now)
        for product in products:
            made.put(Alert(None, product, None, (Problem("missing", ""),)))
        return made


def test_what_is_refused_is_sent_again_with_growing_patience() -> None:
    """After one minute, two, four, at most an hour; then it is taken, and not sent again."""
    refused = [ConfigurationError("the webhook refuses")] * 9
    post = Post(*refused)
    outbox = post.outbox("One")
    said = []
    for minute in range(400):
        post.now = 60.0 * minute
        said += outbox.send()
    assert [at / 60 for at, _ in post.posted] == [0, 1, 3, 7, 15, 31, 63, 123, 183, 243]
    assert said == ["the webhook refuses"] * 9


def test_a_webhook_that_can_not_now_is_left_alone_by_all() -> None:
    """One try, one line, however many wait; one that is refused keeps none of the others back."""
    post = Post(TransientError("down", retry_after=300.0))
    outbox = post.outbox("One", "Two", "Three")
    assert outbox.send() == ["down"]
    post.now = 299.0
    assert outbox.send() == []
    post.now = 300.0
    assert outbox.send() == []
    assert post.posted == [(0.0, "One"), (300.0, "One"), (300.0, "Two"), (300.0, "Three")]
    post = Post(ConfigurationError("no"), None, ConfigurationError("no"))
    outbox = post.outbox("One", "Two", "Three")
    assert outbox.send() == ["no"]
    assert [product for _, product in post.posted] == ["One", "Two", "Three"]


def test_what_may_have_been_posted_is_posted_once_more_and_then_let_go() -> None:
    """Rather twice than never, but no third time."""
    post = Post(*[TransientError("may have been posted", ambiguous=True)] * 9)
    outbox = post.outbox("One")
    for minute in range(100):
        post.now = 60.0 * minute
        outbox.send()
    assert [at for at, _ in post.posted] == [0.0, 60.0]


def test_watch_prints_each_thing_once_and_sends_it_until_it_is_taken(
    failing_run: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the webhook does, the alert is printed once."""
    monkeypatch.setattr("dbbtrace.answers.outbox.FIRST", 0.0)
    looks = iter(range(4))

    def sleep(seconds: float) -> None:
        if next(looks, None) is None:
            raise KeyboardInterrupt

    monkeypatch.setattr("dbbtrace.cli.alerts.time.sleep", sleep)
    with receiver(404, 404) as server:
        monkeypatch.setenv("DBBTRACE_WEBHOOK_URL", server.url)
        done = run("watch", "--since", "2026-01-01", "--notify")
    assert done.out.count(failing_run) == 1
    assert len(server.bodies) == 3
    assert done.err.count("HTTP 404") == 2


@pytest.mark.parametrize("command", [("watch", "--once"), ("check", "last")], ids=lambda command: command[0])
@pytest.mark.parametrize(
    "url", ["hooks.example.com/SECRET", "https://exa mple.com/SECRET", "https://x.com:port/SECRET", "https://x.com/ü"]
)
def test_a_url_that_is_none_is_noticed_at_the_start(
    failing_run: str, command: tuple[str, ...], url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not when there is something to send: here is nothing."""
    monkeypatch.setenv("DBBTRACE_WEBHOOK_URL", url)
    done = run(*command, "--allow-failures", "--notify")
    assert_one_line(done, "DBBTRACE_WEBHOOK_URL", code=2)
    assert "SECRET" not in done.err
