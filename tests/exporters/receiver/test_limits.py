"""What senders can't take from each other: memory, connections, and the receiver's disk."""

from __future__ import annotations

import gzip
import logging
import socket
import ssl
import subprocess
import sys
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from dbbtrace_exporters.receiver.limits import BusyError, Limits, Memory

from tests.exporters.receiver.conftest import Store, body_of, call, call_all, load

TRACES = "/v1/traces"


def idle(base: str, count: int, said: bytes = b"") -> list[socket.socket]:
    """Connections on which nothing happens any more."""
    parts = urlsplit(base)
    opened = []
    for _ in range(count):
        opened.append(socket.create_connection((parts.hostname, parts.port), timeout=30))
        if said:
            opened[-1].sendall(said)
    return opened


# -- memory ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"[" + b"[]," * 1_000_000 + b"0]", id="lists"),
        pytest.param(b'{"resourceSpans":[{"scopeSpans":[{"spans":[' + b"{}," * 1_000_000 + b"{}]}]}]}", id="spans"),
    ],
)
def test_json_that_becomes_too_much(running, store: Store, body: bytes) -> None:
    """3 MB of JSON that would become millions of objects: 413 says why, and the next sender gets through."""
    url = running() + TRACES
    answered = call(url, gzip.compress(body), content_encoding="gzip")
    assert answered.status == 413
    assert "spans, attributes and values" in answered.json["message"]
    assert call(url, body_of(load())).status == 200


def test_memory_of_many_requests_at_once(tmp_path: Path) -> None:
    """Eight gzip bodies of 20 kB, each of ten million empty spans, take a receiver no further than its limit."""
    code = (
        "import gzip, resource, sys, threading, urllib.request, urllib.error\n"
        "from dbbtrace_exporters.receiver.server import serve\n"
        "def field(number, content):\n"
        "    length, size = b'', len(content)\n"
        "    while size > 127: length, size = length + bytes([size & 127 | 128]), size >> 7\n"
        "    return bytes([number << 3 | 2]) + length + bytes([size]) + content\n"
        "body = gzip.compress(field(1, field(2, b'\\x12\\x00' * 10_000_000)))\n"
        "headers = {'Content-Type': 'application/x-protobuf', 'Content-Encoding': 'gzip'}\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "answers = []\n"
        "def send(url):\n"
        "    try: urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=100)\n"
        "    except urllib.error.HTTPError as error: answers.append(error.code)\n"
        "stop = threading.Event()\n"
        "def attack(url):\n"
        "    senders = [threading.Thread(target=send, args=(url,)) for _ in range(8)]\n"
        "    for sender in senders: sender.start()\n"
        "    for sender in senders: sender.join()\n"
        "    send(url)\n"  # together each may have found no room; alone it is too large
        "    stop.set()\n"
        "serve('127.0.0.1:0', warehouse='sqlite:///w.db', stop=stop,\n"
        "      started=lambda url: threading.Thread(target=attack, args=(url,)).start())\n"
        "print(len(answers), set(answers) <= {413, 429}, answers[-1] == 413)\n"
        "print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path, timeout=200
    )
    *answers, megabytes = done.stdout.split()
    assert answers == ["9", "True", "True"]
    assert int(megabytes) < 600


def test_a_request_leaves_room_for_smaller_ones() -> None:
    """However many large requests there are, a small one finds room; what is released can be held again."""
    memory = Memory(1000)
    large = [memory.share() for _ in range(4)]
    held = 0
    for share in large:
        size = (1000 - held) // 2
        share.add(size)
        held += size
    refused = memory.share()
    with pytest.raises(BusyError):
        refused.add(100)
    refused.release()
    memory.share().add(30)
    large[0].release()
    memory.share().add(200)


# -- connections ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "said",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"POST /v1/traces HT", id="half a head"),
        pytest.param(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", id="kept alive"),
        pytest.param(
            b"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{",
            id="half a body",
        ),
    ],
)
def test_idle_connections_lock_nobody_out(running, said: bytes) -> None:
    """The one that has waited the longest is closed for a new one; honest senders get through at once."""
    base = running(limits=Limits(max_connections=20))
    connections = idle(base, 100, said)
    for number in range(1, 4):
        assert call(base + TRACES, body_of(load(number))).status == 200
    connections[0].settimeout(20)
    while connections[0].recv(1000):
        pass
    for connection in connections:
        connection.close()


def test_a_sender_that_waits_for_its_answer_is_never_closed(running, store: Store) -> None:
    """Others come and go meanwhile."""
    store.gate.clear()
    base = running(limits=Limits(max_connections=10))
    answers = []

    def then_idle() -> object:
        assert store.entered.wait(20)
        connections = idle(base, 60)
        answers.append(call(f"{base}/healthz").status)
        store.gate.set()
        return connections

    answered, connections = call_all([lambda: call(base + TRACES, body_of(load())), then_idle])  # type: ignore[list-item]
    assert answered is not None
    assert answered.status == 200
    assert answers == [200]
    del connections


def test_connections_that_never_finish_their_handshake(serving, tmp_path: Path, monkeypatch) -> None:
    """They count, though no server knows of them yet."""
    monkeypatch.setattr("dbbtrace_exporters.receiver.server.Limits", lambda: Limits(max_connections=20))
    command = (
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1"
    )
    files = ["-out", "cert.pem", "-keyout", "key.pem"]
    subprocess.run([*command.split(), *files], check=True, capture_output=True, cwd=tmp_path)
    url = "sqlite:///warehouse.db"
    base = serving(warehouse=url, certificate=tmp_path / "cert.pem", key=tmp_path / "key.pem")
    connections = idle(base, 60)
    context = ssl.create_default_context(cafile=str(tmp_path / "cert.pem"))
    assert urllib.request.urlopen(f"{base}/healthz", context=context, timeout=30).status == 200
    assert connections[0].recv(100) == b""


# -- log lines ------------------------------------------------------------------------------------------------


def test_log_lines_are_limited(running, caplog) -> None:
    """What senders do fills no disk: the first lines are written, the others counted in one."""
    caplog.set_level(logging.WARNING)
    base = running()
    for connection in idle(base, 50, b"nonsense\r\n\r\n"):
        assert connection.recv(100).startswith(b"HTTP/1.1 400")
    running.stop()
    lines = [record.getMessage() for record in caplog.records]
    assert lines.count("Invalid HTTP request received.") == 5
    assert lines[-1].startswith("45 more log lines left out, most of them: uvicorn.error: Invalid HTTP")
