"""``dbbtrace serve``: the warehouse receiver."""

from __future__ import annotations

import gc

import click

from dbbtrace.cli.common import chosen_warehouse, warehouse_option

__all__ = ["COMMANDS"]


@click.command()
@warehouse_option
@click.option(
    "--http",
    metavar="ADDRESS",
    default="127.0.0.1:4318",
    show_default=True,
    help="Address to listen on. Any but the loopback needs DBBTRACE_RECEIVER_TOKEN. Port 0 picks a free port.",
)
@click.option("--certificate", metavar="FILE", help="PEM file, for https; overrides DBBTRACE_RECEIVER_CERTIFICATE.")
@click.option("--key", metavar="FILE", help="Its key; overrides DBBTRACE_RECEIVER_KEY.")
def serve(http: str, certificate: str | None, key: str | None) -> None:
    """Receive spans over OTLP/HTTP and write their rows.

    POST /v1/traces takes protobuf and JSON, with or without gzip, and answers when the rows are committed. GET
    /healthz and /readyz are for probes. GET /metrics is for Prometheus and needs the senders' token. On SIGTERM or
    Ctrl-C it finishes the current requests and stops. The token is read only from DBBTRACE_RECEIVER_TOKEN, because
    other users can read a command line.

    \b
    Examples:
      dbbtrace serve
      dbbtrace serve --http 0.0.0.0:4318 --certificate cert.pem --key key.pem
    """
    from dbbtrace_exporters.receiver.server import serve as run

    def started(url: str) -> None:
        click.echo(f"Listening on {url}", err=True)
        _settle()

    run(http, warehouse=chosen_warehouse(), certificate=certificate, key=key, started=started)


def _settle() -> None:
    """Make the garbage collector skip existing objects and run less often. Objects of a request are freed with the
    request, and collecting after every few spans took a tenth of the time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000)


COMMANDS = (serve,)
