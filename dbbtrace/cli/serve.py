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
    help="Where to listen. Any address but the loopback needs DBBTRACE_RECEIVER_TOKEN; port 0 takes a free one.",
)
@click.option("--certificate", metavar="FILE", help="PEM file, for https; beats DBBTRACE_RECEIVER_CERTIFICATE.")
@click.option("--key", metavar="FILE", help="Its key; beats DBBTRACE_RECEIVER_KEY.")
def serve(http: str, certificate: str | None, key: str | None) -> None:
    """Take spans over OTLP/HTTP and write their rows.

    POST /v1/traces takes protobuf and JSON, with or without gzip, and answers when the rows stand in the warehouse.
    GET /healthz and /readyz are for probes. SIGTERM and Ctrl-C stop it when what is under way is done. The token that
    senders must show is read from DBBTRACE_RECEIVER_TOKEN only: a command line can be read by others.
    """
    from dbbtrace_exporters.receiver.server import serve as run

    def started(url: str) -> None:
        click.echo(f"Listening on {url}", err=True)
        _settle()

    run(http, warehouse=chosen_warehouse(), certificate=certificate, key=key, started=started)


def _settle() -> None:
    """Have the garbage collector pass by what stands, and come less often: what requests make goes with them, and
    looking through it all after every few spans took a tenth of the time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000)


COMMANDS = (serve,)
