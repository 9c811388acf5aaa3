"""Where situations are played: a warehouse, a journal, and what happens to them. On SQLite, and on a live server.

Statements name their tables with the schema, ``meta.monitoring_...``, in the words that both understand.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import dbbtrace
from dbbtrace.warehouse import Warehouse, views
from dbbtrace.warehouse.schema import ALL_TABLES, VALIDATIONS, Kind, Table

RUN = "0f8fad5b-d9cb-469f-a165-70867728950e"

_OF_THE_PLATFORM = ("data_product_models", "environments", "kpi_reconciliation_history", VALIDATIONS.name)


@dataclass
class Stage:
    """An embedded warehouse and a journal."""

    path: Path
    journal: Path
    patience: int = 30
    """Seconds that a job waits for its rows."""
    children: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"sqlite:///{self.path}"

    def configure(self, *, journal: Path | None = None) -> None:
        dbbtrace.configure(warehouse=self.url, journal_dir=journal or self.journal, rows_timeout=self.patience)

    def sql(self, statement: str, *values: object) -> None:
        with sqlite3.connect(":memory:", isolation_level=None) as connection:
            connection.execute("ATTACH ? AS meta", (str(self.path),))
            connection.execute(statement, values)

    def allow_doubles(self, table: Table) -> None:
        self.sql(f"DROP INDEX meta.ux_{table.name}_record_id")

    def drop(self, table: Table) -> None:
        self.sql(f"DROP TABLE meta.{table.name}")

    def age(self, hours: float) -> None:
        """Everything in the warehouse happened so many hours earlier."""
        for table in ALL_TABLES:
            times = [column.name for column in table.columns if column.kind is Kind.TIME]
            self.sql(f"UPDATE meta.{table.name} SET {', '.join(self._earlier(name, hours) for name in times)}")

    def _earlier(self, column: str, hours: float) -> str:
        return f"[{column}] = STRFTIME('%Y-%m-%d %H:%M:%f', [{column}], '-{hours} hours')"

    def kill(self, body: str) -> None:
        """A job of its own that is killed where it prints."""
        child = self.start(f"{body}\nprint('now', flush=True)\nimport time; time.sleep(60)\n")
        assert child.stdout is not None
        assert child.stdout.readline() == "now\n"
        child.send_signal(signal.SIGKILL)
        child.wait()

    def run(self, body: str, *, name: str) -> None:
        """A job of its own that joins the run and does this, indented by four; it may fail."""
        self.start(f"with dbbtrace.join_run(RUN, data_product='Shop', environment='PRD'):\n{body}", name).wait()

    def start(self, body: str, name: str = "job.py", *arguments: str) -> subprocess.Popen[str]:
        """A job of its own: dbbtrace is imported, and RUN is the run's id."""
        (self.path.parent / name).write_text(f"import dbbtrace\nRUN = {RUN!r}\n{body}")
        environment = {
            **os.environ,
            "DBBTRACE_WAREHOUSE": self.url,
            "DBBTRACE_JOURNAL_DIR": str(self.journal),
            "DBBTRACE_ROWS_TIMEOUT": str(self.patience),
        }
        child = subprocess.Popen(
            [sys.executable, name, *arguments], cwd=self.path.parent, env=environment, stdout=subprocess.PIPE, text=True
        )
        self.children.append(child)
        return child

    def end(self) -> None:
        for child in self.children:
            child.kill()
            child.wait()


@dataclass
class ServerStage(Stage):
    """The live server, whose one schema meta the stages share, one after another.

    Args:
        server: open.
        address: its connection string.
    """

    server: Warehouse = field(kw_only=True)
    address: str = field(kw_only=True)

    @property
    def url(self) -> str:
        return self.address

    def clear(self) -> None:
        """All tables and views are there, as dbbtrace makes them, and empty; the platform's own are not."""
        for name in _OF_THE_PLATFORM:
            self.sql(f"DROP TABLE IF EXISTS meta.{name}")
        if {table.name for table in ALL_TABLES} - self.server.shapes().keys() or not self._has_views():
            self.server.migrate(views=True)
        for table in ALL_TABLES:
            self.sql(f"DELETE FROM meta.{table.name}")
        self.server.migrate()  # an index that was dropped

    def _has_views(self) -> bool:
        """Whether they are there already: to make them takes a server minutes."""
        return len(views.current(self.server, views.look(self.server))) == len(views.VIEWS) - 1

    def sql(self, statement: str, *values: object) -> None:
        self.server.query(statement, values)

    def allow_doubles(self, table: Table) -> None:
        self.sql(f"DROP INDEX ux_{table.name}_record_id ON meta.{table.name}")

    def drop(self, table: Table) -> None:
        for name in reversed(views.VIEWS):  # some servers keep a table that a view reads
            self.sql(f"DROP VIEW IF EXISTS meta.{name}")
        super().drop(table)

    def _earlier(self, column: str, hours: float) -> str:
        return f"[{column}] = DATEADD(second, {round(-hours * 3600)}, [{column}])"
