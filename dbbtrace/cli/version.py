"""``dbbtrace version``: what to put in a bug report."""

from __future__ import annotations

import click

__all__ = ["COMMANDS"]


@click.command()
def version() -> None:
    """Print versions for a bug report.

    \b
    Examples:
      dbbtrace version
      dbbtrace version > versions.txt
    """
    import platform

    from dbbtrace.version import __version__

    click.echo(f"dbbtrace {__version__}")
    click.echo(f"Python {platform.python_version()} on {platform.system()} {platform.machine()}")
    for package in ("opentelemetry-sdk", "opentelemetry-exporter-otlp", "pyodbc", "mssql-python", "dbt-core"):
        click.echo(f"{package} {_installed(package)}")


def _installed(package: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


COMMANDS = (version,)
