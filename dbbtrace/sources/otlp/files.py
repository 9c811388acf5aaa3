"""OTLP files → finished spans on the common road.

As the Collector's file exporter writes them, and as people save them: JSON, a document a line, pretty-printed, one
after another or in a list, or protobuf; plain, gzipped, or compressed with zstd, either as a whole or message by
message. Constant memory whatever the file's size. A document that makes no sense is reported with its number and left
out. Metrics and logs are ignored.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import re
import stat
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import IO, Any

from opentelemetry.sdk.trace import ReadableSpan

from dbbtrace.errors import ConfigurationError, UsageError
from dbbtrace.model.attributes import OPERATION, ROW_OPERATIONS
from dbbtrace.model.parts import lacking
from dbbtrace.sources.otlp.decode import Decoded, is_other_signal, spans_of_json
from dbbtrace.sources.otlp.forms import (
    HEAD_BYTES,
    Document,
    Form,
    form_of,
    is_binary,
    json_documents,
    lines,
    packed_as,
    protobuf_messages,
)
from dbbtrace.sources.otlp.wide_text import as_utf8

__all__ = ["Fault", "Imported", "OtlpFile", "import_otlp"]

MAX_LINE_BYTES = 64 << 20
"""Bytes of a document that is still read: several times what a Collector writes as one batch."""

_BATCH = 1000
_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"
_BOM = b"\xef\xbb\xbf"
_BETWEEN = re.compile(r"[\s,\x1e]*(?:\[\s*(?=\{|$)|\](?=[\s,\x1e]*$))?[\s,\x1e]*")
"""What may be around documents: nothing, a list's brackets and commas, RFC 7464's record separator."""
_PROTOBUF = frozenset({Form.MESSAGE, Form.BY_FOUR_BYTES, Form.BY_VARINT})


@dataclass(frozen=True)
class Fault:
    """A document, or a span in it, that was left out, or whose rows were."""

    path: str
    line: int
    """Of its first line, from 1; in a file of messages the number of the message."""
    reason: str
    is_read: bool = False
    """The span itself was read: only its rows are left out."""

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.reason}"


@dataclass
class Imported:
    """What ``import_otlp`` did."""

    spans: int = 0
    operations: int = 0
    """Of these, the ones that give rows: table loads, dbt nodes and model refreshes."""
    faults: int = 0
    without_rows: int = 0
    """Spans that claim an operation and give no row of it: they lack a run id, or what the row needs."""
    others: int = 0
    """Documents that hold metrics, logs or profiles; they are ignored."""
    first_faults: list[Fault] = field(default_factory=list)
    """The first hundred, those of spans without rows among them; ``on_fault`` gets all."""

    def add(self, fault: Fault, tell: Callable[[Fault], None] | None) -> None:
        """Count a fault, and tell of it."""
        self.faults += not fault.is_read
        self.without_rows += fault.is_read
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
        on_fault: told of each document or span that is left out, or whose rows are.
        on_progress: told path, bytes read so far, and bytes in all, after each document.

    Raises:
        UsageError: a file can't be opened, or is a pipe; none has been read then.
        ConfigurationError: a file is compressed with zstd, or is protobuf, and the package for it is missing.
    """
    from dbbtrace.job.finished import emit
    from dbbtrace.sources.dbt.batches import Arriving

    done = Imported()
    arriving = Arriving()
    waiting: list[ReadableSpan] = []

    def take(spans: list[ReadableSpan]) -> None:
        done.spans += len(spans)
        done.operations += sum(
            (span.attributes or {}).get(OPERATION) in ROW_OPERATIONS and not lacking(span.attributes or {})
            for span in spans
        )
        waiting.extend(spans)

    for file in [OtlpFile(path) for path in paths]:
        for number, (spans, reasons) in file:
            take(arriving.take(spans))
            for reason in reasons:
                done.add(Fault(file.path, number, reason), on_fault)
            for span in spans:
                if missing := lacking(span.attributes or {}):
                    text = f"span {span.name!r} claims an operation but gives no row: it lacks {', '.join(missing)}"
                    done.add(Fault(file.path, number, text, is_read=True), on_fault)
            if len(waiting) >= _BATCH:
                emit(waiting)
                waiting.clear()
            if on_progress:
                on_progress(file.path, file.position, file.size)
        done.others += file.others
    take(arriving.rest())
    emit(waiting)
    return done


class OtlpFile:
    """One file: iterating gives each document's number with its spans and what is wrong with it.

    Raises:
        UsageError: it can't be opened, or is a pipe.
        ConfigurationError: it is zstd or protobuf, and the package for that is missing.
    """

    def __init__(self, path: str | os.PathLike[str], *, max_line_bytes: int = MAX_LINE_BYTES) -> None:
        self.path = os.fspath(path)
        self.position = 0
        """Bytes of the file read so far."""
        self.others = 0
        """Documents that hold metrics, logs or profiles."""
        self._max = max_line_bytes
        try:
            status = os.stat(self.path)
            if not stat.S_ISREG(status.st_mode):  # it is read more than once; to open a pipe may wait for ever
                raise UsageError(f"{self.path} is a pipe, a device or the like: write it to a file, and import that")
            self.size = status.st_size
            with open(self.path, "rb") as file, ExitStack() as stack:
                self._head = file.read(8)
                self._form = self._form_of(file, stack)
        except OSError as error:
            raise UsageError(f"{self.path} can't be read: {error.strerror or error}") from error
        if self._form in _PROTOBUF:  # a missing package is said before anything is read
            _protobuf()

    def _form_of(self, file: io.BufferedReader, stack: ExitStack) -> Form:
        file.seek(0)
        if self._compressed_by_message():
            first = next(_zstd_messages(file, self._max), None)
            return Form.MESSAGE if first and is_binary(first.content) else Form.JSON
        with suppress(EOFError, zlib.error):
            return form_of(self._uncompressed(file, stack).read(HEAD_BYTES))
        return Form.JSON  # damaged at its very start, as reading it will say

    def _compressed_by_message(self) -> bool:
        return self._head[4:] == _ZSTD

    def _uncompressed(self, file: io.BufferedReader, stack: ExitStack) -> io.BufferedReader:
        return as_utf8(self._unpacked(file, stack))

    def _unpacked(self, file: io.BufferedReader, stack: ExitStack) -> io.BufferedReader:
        if self._head[:4] == _ZSTD:
            reader = _zstd().ZstdDecompressor().stream_reader(file, read_across_frames=True)
            return stack.enter_context(io.BufferedReader(_Damaged(reader)))
        if self._head[:2] == _GZIP:
            return stack.enter_context(io.BufferedReader(gzip.GzipFile(fileobj=file)))
        return file

    def __iter__(self) -> Iterator[tuple[int, Decoded]]:
        number = 0
        with ExitStack() as stack:
            file = stack.enter_context(open(self.path, "rb"))
            try:
                for number, content, fault in self._documents(file, stack):
                    self.position = file.tell()
                    yield number, ([], [fault]) if fault else self._decoded(content)
            except (EOFError, OSError, zlib.error) as error:  # the end of a compressed file is torn or damaged
                yield number + 1, ([], [f"the file can't be read any further: {error}"])
        self.position = self.size

    def _documents(self, file: io.BufferedReader, stack: ExitStack) -> Iterator[Document]:
        if self._compressed_by_message():
            return _zstd_messages(file, self._max)
        plain = self._uncompressed(file, stack)
        if self._form is Form.UNKNOWN:
            packed = packed_as(plain.peek(8))
            unpack = f": unpack it first, it is {packed}" if packed else ""
            return iter([Document(1, b"", f"neither OTLP JSON nor OTLP protobuf{unpack}")])
        if self._form in _PROTOBUF:
            return protobuf_messages(plain, self._form, self._max)
        return json_documents(lines(plain, self._max), self._max)

    def _decoded(self, content: bytes) -> Decoded:
        spans: list[ReadableSpan] = []
        faults: list[str] = []
        try:
            if self._form in _PROTOBUF:
                decoded: Decoded = _protobuf().spans_of_message(content)
                return decoded
            for document in _parsed(content):
                if is_other_signal(document):
                    self.others += 1
                    continue
                more, wrong = spans_of_json(document)
                spans += more
                faults += wrong
        except (ValueError, TypeError, AttributeError) as error:
            faults.append(str(error))
        return spans, faults


def _parsed(content: bytes) -> Iterator[object]:
    """The JSON values, one after another: mostly there is one."""
    try:
        text = content.removeprefix(_BOM).decode("utf-8", "surrogatepass")
        at = _next_at(text, 0)
        while at < len(text):
            value, end = _decoder.raw_decode(text, at)
            yield value
            at = _next_at(text, end)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not JSON: {error}") from None


_decoder = json.JSONDecoder()


def _next_at(text: str, at: int) -> int:
    match = _BETWEEN.match(text, at)
    return match.end() if match else at


def _zstd_messages(file: IO[bytes], max_bytes: int) -> Iterator[Document]:
    """The messages of the file exporter's own compression: length in four bytes, then one zstd frame."""
    zstd = _zstd()
    for number, frame, fault in protobuf_messages(file, Form.BY_FOUR_BYTES, max_bytes):
        if fault is not None:
            yield Document(number, frame, fault)
            continue
        with zstd.ZstdDecompressor().stream_reader(frame) as reader:
            try:
                message = reader.read(max_bytes + 1)
            except zstd.ZstdError as error:
                yield Document(number, b"", f"damaged: {error}")
                continue
        yield Document(number, message, f"longer than {max_bytes} bytes" if len(message) > max_bytes else None)


class _Damaged(io.RawIOBase):
    """A zstd stream whose damage is an error like any other file's."""

    def __init__(self, reader: Any) -> None:
        self._reader = reader

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """As of any file."""
        try:
            return int(self._reader.readinto(buffer))
        except _zstd().ZstdError as error:
            raise EOFError(str(error)) from error


def _zstd() -> Any:
    try:
        import zstandard
    except ImportError as error:
        raise ConfigurationError("Reading zstd needs the package zstandard: pip install zstandard") from error
    return zstandard


def _protobuf() -> Any:
    try:
        from dbbtrace.sources.otlp import protobuf
    except ImportError as error:
        raise ConfigurationError(
            'Reading protobuf needs opentelemetry-proto: pip install "dbbtrace[receiver]"'
        ) from error
    return protobuf
