"""Who may start a receiver where: loopback freely, anywhere else with a token."""

from __future__ import annotations

import ssl
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from dbbtrace_exporters.receiver.server import serve

from dbbtrace.errors import ConfigurationError, UsageError
from tests.exporters.receiver.conftest import body_of, call, load

URL = "sqlite:///warehouse.db"
TOKEN = "a-token-that-is-long-enough"


@pytest.mark.parametrize("address", ["0.0.0.0:0", "[::]:0"])
def test_other_addresses_need_a_token(address: str) -> None:
    """On an address that others reach it refuses to start without a token, and says what to set."""
    with pytest.raises(UsageError, match="DBBTRACE_RECEIVER_TOKEN"):
        serve(address, warehouse=URL)


def test_other_address_with_a_token(serving, monkeypatch, caplog) -> None:
    """With a token it starts, says that the token goes in clear, and asks for it."""
    monkeypatch.setenv("DBBTRACE_RECEIVER_TOKEN", TOKEN)
    base = serving(http="0.0.0.0:0", warehouse=URL).replace("0.0.0.0", "127.0.0.1")
    assert "in clear" in caplog.text
    assert TOKEN not in caplog.text
    assert call(f"{base}/v1/traces", body_of(load())).status == 401
    assert call(f"{base}/v1/traces", body_of(load()), authorization=f"Bearer {TOKEN}").status == 200


@pytest.mark.parametrize("address", ["localhost:0", "127.0.0.1:0"])
def test_loopback_needs_none(serving, address: str) -> None:
    """On the loopback it starts without."""
    assert call(f"{serving(http=address, warehouse=URL)}/healthz").status == 200


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"token": "short"}, "16 or more"),
        ({"token": "with\nnewline in it, long enough"}, "ASCII"),
        ({"http": "nonsense"}, "127.0.0.1:4318"),
        ({"http": "4318"}, "127.0.0.1:4318"),
        ({"http": "127.0.0.1:99999"}, "127.0.0.1:4318"),
        ({"http": "192.0.2.1:0"}, "can't listen"),
        ({"warehouse": "none"}, "DBBTRACE_WAREHOUSE"),
        ({"certificate": "cert.pem"}, "DBBTRACE_RECEIVER_KEY"),
        ({"certificate": "cert.pem", "key": "key.pem"}, "no certificate"),
    ],
)
def test_what_makes_no_sense_is_said(options: dict[str, str], words: str) -> None:
    """One line that says what to do, before anything listens."""
    with pytest.raises(UsageError, match=words):
        serve(**({"http": "127.0.0.1:0", "warehouse": URL} | options))


def test_tls(serving, tmp_path: Path) -> None:
    """With certificate and key it speaks https."""
    command = (
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1"
    )
    files = ["-out", "cert.pem", "-keyout", "key.pem"]
    subprocess.run([*command.split(), *files], check=True, capture_output=True, cwd=tmp_path)
    base = serving(warehouse=URL, certificate=tmp_path / "cert.pem", key=str(tmp_path / "key.pem"))
    assert base.startswith("https://")
    request = urllib.request.Request(f"{base}/v1/traces", body_of(load()), {"Content-Type": "application/json"})
    context = ssl.create_default_context(cafile=str(tmp_path / "cert.pem"))
    assert urllib.request.urlopen(request, context=context, timeout=30).status == 200


@pytest.mark.parametrize("name", ["starlette.applications", "uvicorn", "opentelemetry.proto.collector.trace.v1"])
def test_missing_extra(name: str) -> None:
    """Without the extra the error says what to install, word for word."""
    code = (
        f"import sys; sys.modules[{name!r}] = None\n"
        "from dbbtrace.errors import ConfigurationError\n"
        "from dbbtrace_exporters.receiver.server import serve\n"
        f"try: serve('127.0.0.1:0', warehouse={URL!r})\n"
        "except ConfigurationError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 'pip install "dbbtrace[receiver]"' in done.stdout
    assert ConfigurationError.__name__ not in done.stdout


def test_importing_it_imports_no_server() -> None:
    """The CLI may import the module for its help without paying for a web server."""
    code = (
        "import sys, dbbtrace_exporters.receiver.server\n"
        "print([name for name in ('starlette', 'uvicorn', 'google.protobuf') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_token_is_never_shown() -> None:
    """Neither settings as text nor an error shows it."""
    from dbbtrace.settings import resolve

    assert TOKEN not in repr(resolve(receiver_token=TOKEN))
    with pytest.raises(UsageError) as caught:
        serve("127.0.0.1:0", warehouse=URL, token=f"{TOKEN}é")
    assert TOKEN not in str(caught.value)
