"""Every standard variable, against a real server that shows what came of it: HTTP, HTTPS and gRPC."""

from __future__ import annotations

import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from dbbtrace_exporters.otlp.exporter import ForwardingSpanExporter

from dbbtrace.errors import ConfigurationError, TransientError
from tests.exporters.otlp.conftest import make_span
from tests.support.otlp import GrpcReceiver, HttpReceiver, Receiver, black_hole

Exporter = Callable[..., ForwardingSpanExporter]


@pytest.fixture
def deliver(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Deliver one span with these variables, the endpoint being one of them."""
    made: list[ForwardingSpanExporter] = []

    def deliver(**variables: str) -> None:
        variables = {"PROTOCOL": receiver.protocol, "ENDPOINT": receiver.endpoint} | variables
        for name, value in variables.items():
            monkeypatch.setenv(f"OTEL_EXPORTER_OTLP_{name}", value)
        made.append(ForwardingSpanExporter())
        made[-1].deliver([make_span()])

    yield deliver
    for exporter in made:
        exporter.shutdown()


def test_endpoint(receiver: Receiver, deliver) -> None:
    """The general endpoint is a base: over HTTP the path for traces follows."""
    deliver()
    assert len(receiver.spans) == 1
    if receiver.protocol != "grpc":
        assert receiver.requests[0].path == "/v1/traces"


def test_traces_endpoint(receiver: Receiver, deliver) -> None:
    """The endpoint for traces wins, and is taken as it is."""
    path = "" if receiver.protocol == "grpc" else "/v1/traces"
    with black_hole() as nobody:
        deliver(ENDPOINT=nobody, TRACES_ENDPOINT=receiver.endpoint + path)
    assert len(receiver.spans) == 1


def test_traces_endpoint_gets_no_path(otlp_http: HttpReceiver, monkeypatch) -> None:
    """Nothing is appended to the endpoint for traces."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", otlp_http.endpoint)
    with pytest.raises(ConfigurationError, match="404"):
        ForwardingSpanExporter().deliver([make_span()])


def test_headers(receiver: Receiver, deliver) -> None:
    """Headers are sent, decoded, over gRPC as metadata; those for traces win."""
    deliver(HEADERS="authorization=Bearer%20abc, X-Team = data=1")
    deliver(TRACES_HEADERS="authorization=Basic eA==")
    first, second = (request.headers for request in receiver.requests)
    assert (first["authorization"], first["x-team"]) == ("Bearer abc", "data=1")
    assert second["authorization"] == "Basic eA=="
    assert "x-team" not in second


def test_headers_with_an_odd_part(receiver: Receiver, deliver, caplog) -> None:
    """A part that is no header is left out and never shown; the others are sent."""
    deliver(HEADERS="s3cret,x-team=data")
    assert receiver.requests[0].headers["x-team"] == "data"
    assert "OTEL_EXPORTER_OTLP_HEADERS" in caplog.text
    assert "s3cret" not in caplog.text


@pytest.mark.parametrize("compression", ["gzip", "deflate"])
def test_compression(receiver: Receiver, deliver, compression: str) -> None:
    """What is sent is packed as the variable says, and arrives whole."""
    deliver(COMPRESSION=compression)
    deliver(TRACES_COMPRESSION="none")
    assert len(receiver.spans) == 2
    if receiver.protocol != "grpc":  # which shows no server how a message came; see below
        assert [request.headers.get("content-encoding") for request in receiver.requests] == [compression, None]


@pytest.mark.parametrize("compression", ["gzip", "deflate"])
def test_compression_over_grpc(monkeypatch, compression: str) -> None:
    """Over gRPC a span of a megabyte of one letter takes a few kilobytes on the wire."""
    receiver = GrpcReceiver()
    with counting_proxy(receiver.port) as (endpoint, count):
        sizes = []
        for variable in (compression, "none"):
            monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", variable)
            exporter = ForwardingSpanExporter(endpoint, protocol="grpc")
            before = count()
            exporter.deliver([make_span(attributes={"text": "x" * 1_000_000})])
            sizes.append(count() - before)
            exporter.shutdown()
    receiver.close()
    assert len(receiver.spans) == 2
    assert sizes[0] < 100_000 < 1_000_000 < sizes[1]


def counting_proxy(port: int):
    """A relay to the port that counts what clients send."""
    import socket
    import threading
    from contextlib import contextmanager, suppress

    total = [0]

    def pump(source: socket.socket, target: socket.socket, counted: bool) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if counted:
                    total[0] += len(data)
                target.sendall(data)
        with suppress(OSError):
            target.shutdown(socket.SHUT_RDWR)

    def accept(listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                client = listener.accept()[0]
                server = socket.create_connection(("127.0.0.1", port))
                for pair in ((client, server, True), (server, client, False)):
                    threading.Thread(target=pump, args=pair, daemon=True).start()

    @contextmanager
    def proxy():
        with socket.create_server(("127.0.0.1", 0)) as listener:
            threading.Thread(target=accept, args=(listener,), daemon=True).start()
            yield f"http://127.0.0.1:{listener.getsockname()[1]}", lambda: total[0]

    return proxy()


@pytest.mark.parametrize("variable", ["TIMEOUT", "TRACES_TIMEOUT"])
def test_timeout(receiver: Receiver, deliver, variable: str) -> None:
    """Seconds that a request may take in all."""
    with black_hole() as nobody:
        path = "" if receiver.protocol == "grpc" else "/v1/traces"
        with pytest.raises(TransientError) as caught:
            deliver(**{"TIMEOUT": "50", "TRACES_ENDPOINT": nobody + path, variable: "0.2"})
    assert caught.value.ambiguous


@pytest.mark.parametrize(
    ("variable", "value", "fix"),
    [
        ("TIMEOUT", "soon", "seconds"),
        ("TRACES_TIMEOUT", "10s", "seconds"),
        ("COMPRESSION", "brotli", "gzip, deflate or none"),
        ("CERTIFICATE", "/no/such/file", "No such file"),
        ("TRACES_CLIENT_CERTIFICATE", "/no/such/file", "No such file"),
        ("CLIENT_KEY", "/no/such/file", "No such file"),
        ("CLIENT_KEY", __file__, "CLIENT_CERTIFICATE"),
    ],
)
def test_value_that_makes_no_sense(receiver: Receiver, deliver, variable: str, value: str, fix: str) -> None:
    """It is said with the variable and the fix; the spans wait, and nothing is sent."""
    with pytest.raises(ConfigurationError, match=f"OTEL_EXPORTER_OTLP_{variable}.*{fix}"):
        deliver(**{variable: value})
    assert receiver.requests == []


def test_empty_is_not_set(receiver: Receiver, deliver) -> None:
    """As the specification says."""
    names = ("TIMEOUT", "HEADERS", "COMPRESSION", "CERTIFICATE", "CLIENT_KEY", "CLIENT_CERTIFICATE", "INSECURE")
    deliver(**{f"{traces}{name}": "" for name in names for traces in ("", "TRACES_")})
    assert len(receiver.spans) == 1


class Certificates(NamedTuple):
    """Paths: one authority; a server's and a client's certificate that it signed, with their keys."""

    authority: Path
    server: Path
    server_key: Path
    client: Path
    client_key: Path


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Certificates that nobody else trusts."""
    folder = tmp_path_factory.mktemp("tls")

    def openssl(command: str) -> None:
        subprocess.run(["openssl", *command.split()], cwd=folder, check=True, capture_output=True)

    openssl("req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=authority -keyout ca.key -out ca.pem")
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1")
    for name in ("server", "client"):
        openssl(f"req -newkey rsa:2048 -nodes -subj /CN={name} -keyout {name}.key -out {name}.csr")
        openssl(
            f"x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out {name}.pem"
        )
    (folder / "both.pem").write_text((folder / "client.pem").read_text() + (folder / "client.key").read_text())
    return Certificates(*(folder / name for name in ("ca.pem", "server.pem", "server.key", "client.pem", "client.key")))


def _https(certificates: Certificates, *, asks: bool) -> HttpReceiver:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.server, certificates.server_key)
    if asks:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(certificates.authority)
    return HttpReceiver(ssl=context)


def _grpcs(certificates: Certificates, *, asks: bool) -> GrpcReceiver:
    import grpc

    pair = certificates.server_key.read_bytes(), certificates.server.read_bytes()
    authority = certificates.authority.read_bytes() if asks else None
    return GrpcReceiver(credentials=grpc.ssl_server_credentials([pair], authority, asks))


SECURE = {"http/protobuf": _https, "http/json": _https, "grpc": _grpcs}


@pytest.fixture(params=list(SECURE))
def secure(request: pytest.FixtureRequest, certificates: Certificates) -> Iterator[Callable[..., Receiver]]:
    """Make a receiver with TLS, which asks for a client's certificate or does not."""
    made: list[Receiver] = []

    def make(*, asks: bool) -> Receiver:
        made.append(SECURE[request.param](certificates, asks=asks))
        made[-1].protocol = request.param
        return made[-1]

    yield make
    for receiver in made:
        receiver.close()


@pytest.mark.parametrize("variable", ["CERTIFICATE", "TRACES_CERTIFICATE"])
def test_certificate(secure, certificates: Certificates, exporter_to: Exporter, monkeypatch, variable: str) -> None:
    """A certificate nobody vouches for is a fault of configuration, cured by naming who does."""
    receiver = secure(asks=False)
    with pytest.raises(ConfigurationError, match="OTEL_EXPORTER_OTLP_CERTIFICATE"):
        exporter_to(receiver).deliver([make_span()])
    monkeypatch.setenv(f"OTEL_EXPORTER_OTLP_{variable}", str(certificates.authority))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificates.client))  # the standard variable wins
    exporter_to(receiver).deliver([make_span()])
    assert len(receiver.spans) == 1


@pytest.mark.parametrize("traces", ["", "TRACES_"])
def test_client_certificate(secure, certificates: Certificates, exporter_to: Exporter, monkeypatch, traces) -> None:
    """A server that asks for a client's certificate gets it, and refuses who has none."""
    receiver = secure(asks=True)
    monkeypatch.setenv(f"OTEL_EXPORTER_OTLP_{traces}CERTIFICATE", str(certificates.authority))
    with pytest.raises((ConfigurationError, TransientError)):
        exporter_to(receiver).deliver([make_span()])
    assert receiver.requests == []
    monkeypatch.setenv(f"OTEL_EXPORTER_OTLP_{traces}CLIENT_CERTIFICATE", str(certificates.client))
    monkeypatch.setenv(f"OTEL_EXPORTER_OTLP_{traces}CLIENT_KEY", str(certificates.client_key))
    exporter_to(receiver).deliver([make_span()])
    assert len(receiver.spans) == 1


def test_client_certificate_with_its_key(
    secure, certificates: Certificates, exporter_to: Exporter, monkeypatch
) -> None:
    """One file may hold both."""
    receiver = secure(asks=True)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", str(certificates.authority))
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", str(certificates.client.with_name("both.pem")))
    exporter_to(receiver).deliver([make_span()])
    assert len(receiver.spans) == 1


@pytest.mark.parametrize("variable", ["INSECURE", "TRACES_INSECURE"])
def test_insecure(otlp_grpc: GrpcReceiver, exporter_to: Exporter, monkeypatch, variable: str) -> None:
    """gRPC to a bare host:port is encrypted, unless this says that it isn't."""
    address = f"127.0.0.1:{otlp_grpc.port}"
    with pytest.raises((ConfigurationError, TransientError)):
        exporter_to(address, "grpc").deliver([make_span()])
    monkeypatch.setenv(f"OTEL_EXPORTER_OTLP_{variable}", "true")
    exporter_to(address, "grpc").deliver([make_span()])
    assert len(otlp_grpc.spans) == 1


def test_https_is_never_insecure(certificates: Certificates, exporter_to: Exporter, monkeypatch) -> None:
    """The scheme decides, where there is one."""
    receiver = _grpcs(certificates, asks=False)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", str(certificates.authority))
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_INSECURE", "true")
    exporter_to(receiver).deliver([make_span()])
    assert len(receiver.spans) == 1
    receiver.close()


PROVIDERS = """
import os

answers = []

def session():
    import requests
    session = requests.Session()
    session.headers["authorization"] = "Bearer provided"
    session.hooks["response"].append(lambda response, **_: answers.append(response.status_code))
    return session

def credentials():
    import grpc
    with open(os.environ["AUTHORITY"], "rb") as file:
        return grpc.ssl_channel_credentials(file.read())

def nothing():
    return None

def broken():
    raise RuntimeError("s3cret")
"""


@pytest.fixture
def providers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed distribution with credential providers."""
    (tmp_path / "providers_of_a_test.py").write_text(PROVIDERS)
    information = tmp_path / "providers_of_a_test-1.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: providers-of-a-test\nVersion: 1\n")
    names = ("session", "credentials", "nothing", "broken")
    lines = [f"{name} = providers_of_a_test:{name}" for name in names]
    (information / "entry_points.txt").write_text("\n".join(["[opentelemetry_otlp_credential_provider]", *lines]))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "providers_of_a_test", raising=False)


@pytest.mark.parametrize("traces", ["", "TRACES_"])
@pytest.mark.usefixtures("providers")
def test_http_credential_provider(otlp_http: HttpReceiver, exporter_to: Exporter, monkeypatch, traces: str) -> None:
    """The session that sends is the provider's, with all it does."""
    monkeypatch.setenv(f"OTEL_PYTHON_EXPORTER_OTLP_HTTP_{traces}CREDENTIAL_PROVIDER", "session")
    exporter_to(otlp_http).deliver([make_span()])
    assert otlp_http.requests[0].headers["authorization"] == "Bearer provided"
    assert sys.modules["providers_of_a_test"].answers == [200]  # its own hooks are kept


@pytest.mark.parametrize("traces", ["", "TRACES_"])
@pytest.mark.usefixtures("providers")
def test_grpc_credential_provider(certificates: Certificates, exporter_to: Exporter, monkeypatch, traces: str) -> None:
    """The channel's credentials are the provider's."""
    receiver = _grpcs(certificates, asks=False)
    monkeypatch.setenv("AUTHORITY", str(certificates.authority))
    monkeypatch.setenv(f"OTEL_PYTHON_EXPORTER_OTLP_GRPC_{traces}CREDENTIAL_PROVIDER", "credentials")
    exporter_to(receiver).deliver([make_span()])
    assert len(receiver.spans) == 1
    receiver.close()


@pytest.mark.parametrize(
    ("name", "said"), [("missing", "no OTLP credential provider"), ("nothing", "NoneType"), ("broken", "RuntimeError")]
)
@pytest.mark.usefixtures("providers")
def test_odd_credential_provider(otlp_http: HttpReceiver, exporter_to: Exporter, monkeypatch, name, said) -> None:
    """One that is not installed, fails or makes something else is said; what it said itself may be a secret."""
    monkeypatch.setenv("OTEL_PYTHON_EXPORTER_OTLP_HTTP_CREDENTIAL_PROVIDER", name)
    with pytest.raises(ConfigurationError, match=f"HTTP_CREDENTIAL_PROVIDER.*{said}") as caught:
        exporter_to(otlp_http).deliver([make_span()])
    assert "s3cret" not in str(caught.value)
    assert otlp_http.requests == []


def test_another_token_counts_at_once(receiver: Receiver, exporter_to: Exporter, monkeypatch) -> None:
    """After an answer that a person must act on, the variables are read again."""
    from tests.support.otlp import unauthorised

    exporter = exporter_to(receiver)
    receiver.answer(unauthorised())
    with pytest.raises(ConfigurationError):
        exporter.deliver([make_span()])
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=new")
    exporter.deliver([make_span()])
    assert receiver.requests[-1].headers["authorization"] == "new"
