"""A dbt that can't be imported, run as a child: dbt-core of another environment, or Fusion.

It is handed the trace, and watched through the file that it writes anyway: dbt-core through its log, as JSON, Fusion
through its telemetry. What it prints, its signals and its exit code are its own.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from dbbtrace.diagnostics import guard
from dbbtrace.job.runs import child_environment
from dbbtrace.job.shell import BY_SIGNAL, NOT_EXECUTABLE, NOT_FOUND, run_command
from dbbtrace.model.identity import new_span_id
from dbbtrace.sources.dbt.arguments import Arguments
from dbbtrace.sources.dbt.artifacts import INVOCATION_VARIABLE, NodeResult
from dbbtrace.sources.dbt.events import Events, Record
from dbbtrace.sources.dbt.fusion import Telemetry
from dbbtrace.sources.dbt.outcome import DbtRun, begin_with_artifact, conclude
from dbbtrace.tracing.provider import now

if TYPE_CHECKING:
    from dbbtrace.sources.dbt.live import Watch

__all__ = ["not_found", "run_child"]

_PAUSE = 0.05
"""Seconds between two looks at what dbt has written."""
_NATIVE = (b"\x7fELF", b"MZ", b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe")
"""How programs begin that are no scripts: Fusion is one, dbt-core none."""


def run_child(
    executable: str | os.PathLike[str] | None, words: Sequence[str], watched: Callable[..., Watch]
) -> tuple[DbtRun, list[int]]:
    """Run it and record what it does; how it ended, and the signals that came meanwhile.

    Args:
        executable: default the ``dbt`` on the PATH.
        watched: makes the watch of the arguments.
    """
    began, heard = now(), list[int]()
    program = shutil.which(os.fspath(executable) if executable is not None else "dbt")
    child = None
    with guard("watch dbt"):
        arguments = Arguments(words)
        child = _Child(watched(arguments, began=began, in_process=False), arguments, began)
    environment = dict(os.environ)
    with guard("hand the trace to dbt"):
        environment = child_environment()
        if child is not None:
            environment |= child.environment(environment, is_native=program is not None and _is_native(program))
    message, code = None, NOT_FOUND
    if program is None:
        message = not_found(executable)
    else:
        with child.followed() if child is not None else _nothing():
            try:
                started = child.started if child is not None else None
                code = run_command([program, *words], environment, heard=heard, started=started)
            except OSError as error:
                message, code = f"{program}: {error.strerror or error}", NOT_EXECUTABLE
    if code < 0 and message is None:
        message = f"dbt was ended by signal {-code}"
    code = code if code >= 0 else BY_SIGNAL - code
    kind = "KeyboardInterrupt" if signal.SIGINT in heard else "dbt.error"
    if signal.SIGINT in heard:
        message = message or "dbt was interrupted"
    return child.conclude(code, message, kind) if child is not None else DbtRun(code, message), heard


def not_found(executable: str | os.PathLike[str] | None) -> str:
    """What is wrong where there is no such program."""
    if executable is not None:
        return f"{os.fspath(executable)} is not a program that can be run: name the dbt program of an environment"
    return (
        "there is no dbt on the PATH: install dbt, or name its program (executable=, on the command line --executable)"
    )


@contextmanager
def _nothing() -> Iterator[None]:
    yield


def _is_native(program: str) -> bool:
    try:
        with open(program, "rb") as file:
            return file.read(4).startswith(_NATIVE)
    except OSError:
        return False


class _Child:
    """What is known of the child, and read of its files."""

    def __init__(self, watch: Watch, arguments: Arguments, began: int) -> None:
        self._watch = watch
        self._arguments = arguments
        self._began = began
        self._span = f"{new_span_id():016x}"
        self._events = Events(watch)
        self._telemetry = Telemetry(_Joined(watch, self._span))
        self._files: list[_Tail] = []
        self._scratch: str | None = None
        self._pid = 0
        self._is_of_us: str | None = None
        """Invocation id of the lines in a log that are the child's: other dbts may write there too."""
        self._over = threading.Event()

    def environment(self, given: Mapping[str, str], *, is_native: bool) -> dict[str, str]:
        """What is added to the child's environment; what the user has set stays."""
        trace_id = self._watch.scope.trace_id
        named = self._arguments.flag("--otel-file-name") or given.get("DBT_OTEL_FILE_NAME")
        logs = self._arguments.logs
        if named:
            telemetry = logs / named
        else:
            self._scratch = tempfile.mkdtemp(prefix="dbbtrace-dbt-")
            telemetry = Path(self._scratch) / "otel.jsonl"
        self._files.append(_Tail(telemetry, self._telemetry.take))
        added = {
            "TRACEPARENT": f"00-{trace_id:032x}-{self._span}-01",
            "DBT_PARENT_SPAN_ID": self._span,
            "DBT_INVOCATION_ID": _guid(trace_id),
            f"DBT_ENV_CUSTOM_ENV_{INVOCATION_VARIABLE}": self._span,
            "DBT_OTEL_FILE_NAME": str(telemetry),
        }
        if not is_native:
            self._files.append(_Tail(logs / "dbt.log", self._log_line))
            wanted = {"DBT_LOG_FORMAT_FILE": "json", "DBT_LOG_LEVEL_FILE": "debug", "DBT_LOG_FILE_MAX_BYTES": "0"}
            added |= {name: value for name, value in wanted.items() if name not in given}
        return added

    def started(self, pid: int) -> None:
        """It runs."""
        self._pid = pid

    def _log_line(self, line: bytes) -> None:
        try:
            event = json.loads(line, object_hook=Record)
        except (ValueError, RecursionError):
            return  # text, where the user has chosen it; or a torn line
        info = event.info if isinstance(event, Record) else None
        if not info:
            return
        if info.name == "MainReportVersion" and self._is_of_us is None and info.pid == self._pid:
            self._is_of_us = info.invocation_id
            self._watch.begin(info.invocation_id, event.data.version.lstrip("="), span=self._span)
        if info.invocation_id == self._is_of_us:
            self._events(event)

    @contextmanager
    def followed(self) -> Iterator[None]:
        """While the block runs, what the child writes is read as it comes; after it, to the end."""
        follower = threading.Thread(target=self._follow, name="dbbtrace-dbt", daemon=True)
        follower.start()
        try:
            yield
        finally:
            self._over.set()
            follower.join(30)

    def _follow(self) -> None:
        over = False
        while not over:
            over = self._over.wait(_PAUSE)
            with guard("read what dbt writes"):
                for file in self._files:
                    file.read()

    def conclude(self, code: int, message: str | None, kind: str) -> DbtRun:
        """Record what there is to record.

        Args:
            message: why dbt could not run to its end.
            kind: error.type of that.
        """
        try:
            if self._watch.invocation_id is None:  # its log says nothing to us; its artifact may
                begin_with_artifact(self._watch, self._arguments, self._began, self._span)
            self._watch.message = self._watch.message or self._telemetry.message
            error = (kind, message) if message else None
            invocation = conclude(self._watch, self._arguments, code, error, self._began, self._events.artifacts)
            if message is None and code != 0 and not (invocation and invocation.failed):
                message = self._watch.message
            return DbtRun(code, message, invocation=invocation)
        finally:
            if self._scratch is not None:
                shutil.rmtree(self._scratch, ignore_errors=True)


class _Joined:
    """Fusion's telemetry → the watch: its invocation has the span that it was told of."""

    def __init__(self, watch: Watch, span: str) -> None:
        self._watch = watch
        self._span = span

    def begin(self, invocation_id: str, version: str) -> None:
        self._watch.begin(invocation_id, version, span=self._span)

    def node_started(self, unique_id: str, started_at: str) -> None:
        self._watch.node_started(unique_id, started_at)

    def node_ended(self, started_at: str, result: NodeResult) -> None:
        self._watch.node_ended(started_at, result)


class _Tail:
    """The lines that are added to a file from now on."""

    def __init__(self, path: Path, take: Callable[[bytes], None]) -> None:
        self._path = path
        self._take = take
        self._rest = b""
        self._position = 0
        with suppress(OSError):
            self._position = path.stat().st_size

    def read(self) -> None:
        """Take the whole lines that came since."""
        with suppress(FileNotFoundError), self._path.open("rb") as file:
            file.seek(0, os.SEEK_END)
            if file.tell() < self._position:  # it was begun anew
                self._position, self._rest = 0, b""
            file.seek(self._position)
            while data := file.read(1 << 20):
                self._position += len(data)
                *lines, self._rest = (self._rest + data).split(b"\n")
                for line in lines:
                    self._take(line)


def _guid(trace_id: int) -> str:
    digits = f"{trace_id:032x}"
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
