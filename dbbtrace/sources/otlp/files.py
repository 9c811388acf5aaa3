"""OTLP files, as the Collector's file exporter writes them → finished spans on the common road.

One JSON document a line; the file plain, gzipped, or compressed with zstd, either as a whole or, as the file exporter
does it, message by message with four bytes of length before each. Constant memory whatever the file's size. A line
that makes no sense is reported with its number and passed by. Metrics and logs are passed by in silence.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import IO, Any

from opentelemetry.sdk.trace import ReadableSpan

from dbbtrace.errors import ConfigurationError, UsageError
from dbbtrace.model.attributes import OPERATION, ROW_OPERATIONS
from dbbtrace.sources.otlp.decode import Decoded, is_other_signal, spans_of_json

__all__ = ["Fault", "Imported", "OtlpFile", "import_otlp"]

MAX_LINE_BYTES = 64 << 20
"""Bytes of a line that is still read: several times what a Collector writes as one batch."""

_BATCH = 1000
_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Fault:
    """A line, or a span in it, that was passed by."""

    path: str
    line: int
    """From 1; in a file of compressed messages the number of the message."""
    reason: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.reason}"


@dataclass
class Imported:
    """What ``import_otlp`` did."""

    spans: int = 0
    operations: int = 0
    """Of these, the ones that give rows: table loads, dbt nodes and model refreshes."""
    faults: int = 0
    first_faults: list[Fault] = field(default_factory=list)
    """The first hundred; ``on_fault`` gets all."""

    def add(self, fault: Fault, tell: Callable[[Fault], None] | None) -> None:
        """Count a fault, and tell of it."""
        self.faults += 1
        if len(self.first_faults) < 100:
            self.first_faults.append(fault)
        if tell:
            tell(fault)


def import_otlp(
    *paths: str | os.PathLike[str],
    on_fault: Callable[[Fault], None] | None = None,
    on_progress: Callable[[str, int, int], None] | None = None,
) -> Imported:
    """Send the spans of OTLP files down the common road: journal, warehouse, backend. Imported twice, they are one.

    Args:
        on_fault: told of each line or span that is passed by.
        on_progress: told path, bytes read so far, and bytes in all, after each line.

    Raises:
        UsageError: a file can't be opened; none has been read then.
        ConfigurationError: a file is compressed with zstd, and the package for it is missing.
    """
    from dbbtrace.job.finished import emit

    done = Imported()
    waiting: list[ReadableSpan] = []
    for file in [OtlpFile(path) for path in paths]:
        for number, (spans, reasons) in file:
            done.spans += len(spans)
            done.operations += sum((span.attributes or {}).get(OPERATION) in ROW_OPERATIONS for span in spans)
            for reason in reasons:
                done.add(Fault(file.path, number, reason), on_fault)
            waiting += spans
            if len(waiting) >= _BATCH:
                emit(waiting)
                waiting = []
            if on_progress:
                on_progress(file.path, file.position, file.size)
    emit(waiting)
    return done


class OtlpFile:
    """One file: iterating gives each line's number with its spans and what is wrong with it.

    Raises:
        UsageError: it can't be opened.
    """

    def __init__(self, path: str | os.PathLike[str], *, max_line_bytes: int = MAX_LINE_BYTES) -> None:
        self.path = os.fspath(path)
        self.position = 0
        """Bytes of the file read so far."""
        try:
            with open(self.path, "rb") as file:
                self._head = file.read(8)
            self.size = os.path.getsize(self.path)
        except OSError as error:
            raise UsageError(f"{self.path} can't be read: {error.strerror or error}") from error
        self._max = max_line_bytes
        if _ZSTD in (self._head[:4], self._head[4:]):
            _zstd()  # missing, it is said before anything is read

    def __iter__(self) -> Iterator[tuple[int, Decoded]]:
        number = 0
        with ExitStack() as stack:
            file = stack.enter_context(open(self.path, "rb"))
            try:
                for number, line in enumerate(self._lines(file, stack), 1):
                    self.position = file.tell()
                    if line is None:
                        yield number, ([], [f"longer than {self._max} bytes"])
                    elif text := line.strip():
                        yield number, _decoded(text.removeprefix(_BOM))
            except (EOFError, OSError, zlib.error) as error:  # the end of a compressed file is torn or damaged
                yield number + 1, ([], [f"the file can't be read any further: {error}"])
        self.position = self.size

    def _lines(self, file: IO[bytes], stack: ExitStack) -> Iterator[bytes | None]:
        """The documents, undecoded; None for one that is too long."""
        if self._head[4:] == _ZSTD:
            return _messages(file, self._max)
        if self._head[:4] == _ZSTD:
            reader = _zstd().ZstdDecompressor().stream_reader(file, read_across_frames=True)
            return _limited(stack.enter_context(io.BufferedReader(reader)), self._max, _zstd().ZstdError)
        if self._head[:2] == _GZIP:
            return _limited(stack.enter_context(gzip.GzipFile(fileobj=file)), self._max)
        return _limited(file, self._max)


def _decoded(line: bytes) -> Decoded:
    try:
        document = json.loads(line)
    except (ValueError, RecursionError) as error:
        return [], [f"no JSON: {error}"]
    if is_other_signal(document):
        return [], []
    try:
        return spans_of_json(document)
    except (ValueError, TypeError, AttributeError) as error:
        return [], [str(error)]


def _limited(file: Any, max_bytes: int, *damage: type[Exception]) -> Iterator[bytes | None]:
    """The lines; of one that is too long nothing is kept."""
    try:
        while line := file.readline(max_bytes + 1):
            if len(line) <= max_bytes or line.endswith(b"\n"):
                yield line
                continue
            while line and not line.endswith(b"\n"):
                line = file.readline(1 << 20)
            yield None
    except damage as error:
        raise EOFError(str(error)) from error


def _messages(file: IO[bytes], max_bytes: int) -> Iterator[bytes | None]:
    """The messages of the file exporter's own compression: length in four bytes, then one zstd frame."""
    zstd = _zstd()
    while head := file.read(4):
        length = int.from_bytes(head, "big")
        if len(head) == 4 and length > max_bytes:
            file.seek(length, os.SEEK_CUR)
            yield None
            continue
        frame = file.read(length)
        if len(head) < 4 or len(frame) < length:
            raise EOFError("the last message is torn")
        with zstd.ZstdDecompressor().stream_reader(frame) as reader:
            try:
                message = reader.read(max_bytes + 1)
            except zstd.ZstdError as error:
                yield b"zstd " + str(error).encode()  # no JSON: reported like any other bad line
                continue
        yield message if len(message) <= max_bytes else None


def _zstd() -> Any:
    try:
        import zstandard
    except ImportError as error:
        raise ConfigurationError("Reading zstd needs the package zstandard: pip install zstandard") from error
    return zstandard
