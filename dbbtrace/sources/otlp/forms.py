"""The forms that OTLP files have → their documents, one by one, in constant memory.

JSON: a document a line, over many lines (pretty-printed), or several in a line; also as the items of a list. Protobuf:
a single message, or messages with their length before each, as four bytes (the Collector's file exporter) or as a
varint (protobuf's own tools). Knows no spans: a document is bytes, with a number for whoever looks for it in the file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from enum import Enum
from typing import IO, NamedTuple

__all__ = ["Document", "Form", "form_of", "is_binary", "json_documents", "lines", "packed_as", "protobuf_messages"]

HEAD_BYTES = 64 << 10
"""Bytes of a file by which its form is known."""
_BOM = b"\xef\xbb\xbf"
_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1d\x1f]")  # \x1e separates records of JSON (RFC 7464)
_BEFORE = b"[, \t\x1e"
"""What may be before a document that is an item of a list."""
_BEGINS = re.compile(rb'\{\s*"resource(?:Spans|Metrics|Logs|Profiles)"')
_STRINGS = re.compile(rb'"(?:[^"\\]|\\.)*"')
_RESOURCE_SPANS = 0x0A
"""The tag that a message begins with; then one of a ResourceSpans: resource, scopes (also of old), schema URL."""
_IN_RESOURCE_SPANS = frozenset({0x0A, 0x12, 0x1A, 0xC2})
_CHUNK = 1 << 20


_PACKED = {
    b"\x1f\x8b": "gzip, twice",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"PK\x03\x04": "a zip file",
    b"7z\xbc\xaf": "a 7z file",
}


class Form(Enum):
    """What a file's bytes are, once they are decompressed."""

    JSON = "JSON"
    MESSAGE = "one protobuf message"
    BY_FOUR_BYTES = "protobuf messages, each after its length in four bytes"
    BY_VARINT = "protobuf messages, each after its length as a varint"
    UNKNOWN = "neither JSON nor protobuf"


class Document(NamedTuple):
    """One document of a file."""

    number: int
    """Of its first line, or of the message; from 1."""
    content: bytes
    """As it is in the file; where it can't be read, as much of it as says what it was."""
    fault: str | None = None
    """Why it can't be read."""


def is_binary(content: bytes) -> bool:
    """Whether this is no text: JSON holds no control characters but tabs and ends of lines."""
    return _CONTROL.search(content, 0, 512) is not None


def packed_as(head: bytes) -> str | None:
    """How a file is packed that begins like this, where that is nothing we unpack."""
    return next((name for magic, name in _PACKED.items() if head.startswith(magic)), None)


def form_of(head: bytes) -> Form:
    """What form a file has that begins like this."""
    if not is_binary(head):
        return Form.JSON
    for form, lengths in ((Form.BY_FOUR_BYTES, _after_four_bytes), (Form.MESSAGE, _fields), (Form.BY_VARINT, _varints)):
        if lengths(head):
            return form
    return Form.JSON if re.search(rb"\n" + _BEGINS.pattern, head) else Form.UNKNOWN


def _after_four_bytes(head: bytes) -> bool:
    return _is_chain(head, lambda at: (int.from_bytes(head[at : at + 4], "big"), at + 4), _looks_like_message(head))


def _varints(head: bytes) -> bool:
    return _is_chain(head, lambda at: _varint(head, at), _looks_like_message(head))


def _fields(head: bytes) -> bool:
    def next_length(at: int) -> tuple[int, int]:
        return _varint(head, at + 1) if head[at] == _RESOURCE_SPANS else (-1, at)

    return _is_chain(head, next_length, lambda at: head[at] in _IN_RESOURCE_SPANS)


def _looks_like_message(head: bytes) -> Callable[[int], bool]:
    return lambda at: head[at] == _RESOURCE_SPANS


def _is_chain(head: bytes, next_length: Callable[[int], tuple[int, int]], fits: Callable[[int], bool]) -> bool:
    """Whether the bytes are lengths, each with what fits after it; as far as they go."""
    at, found = 0, 0
    try:
        while at < len(head):
            length, content = next_length(at)
            if length < 0 or length > 1 << 31 or (length and not fits(content)):
                return False
            found += length > 0
            at = content + length
    except IndexError:  # the head ends here
        pass
    return found > 0


def _varint(raw: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while raw[at] > 127 and shift < 63:
        value |= (raw[at] & 127) << shift
        at, shift = at + 1, shift + 7
    return value | raw[at] << shift, at + 1


# -- JSON -----------------------------------------------------------------------------------------------------


def lines(file: IO[bytes], max_bytes: int) -> Iterator[bytes | None]:
    """The lines; of one that is too long nothing is kept: None."""
    while line := file.readline(max_bytes + 1):
        if len(line) <= max_bytes or line.endswith(b"\n"):
            yield line
            continue
        while line and not line.endswith(b"\n"):
            line = file.readline(_CHUNK)
        yield None


def json_documents(of: Iterable[bytes | None], max_bytes: int) -> Iterator[Document]:
    """The documents of these lines: each a line, or as many lines as it takes until its braces are closed.

    A line that is torn costs only itself: where the next document begins, the one before has ended.
    """
    unfinished: _Unfinished | None = None
    for number, line in enumerate(of, 1):
        if line is None:
            yield from unfinished.given_up() if unfinished else ()
            unfinished = None
            yield Document(number, b"", f"longer than {max_bytes} bytes")
            continue
        text = line.strip().removeprefix(_BOM)
        if unfinished is not None and not _BEGINS.match(text):
            if unfinished.takes(text):
                yield unfinished.document()
                unfinished = None
        elif text := _item(text):
            yield from unfinished.given_up() if unfinished else ()
            unfinished = _Unfinished(number, text, max_bytes) if _is_begin(text) else None
            if unfinished is None:
                yield Document(number, text)
    if unfinished is not None:
        yield from unfinished.given_up()


def _item(text: bytes) -> bytes:
    """The line without the bracket or comma before an item of a list."""
    item = text.lstrip(_BEFORE)
    return item if item.startswith(b"{") else text


def _is_begin(text: bytes) -> bool:
    """Whether a document begins here and does not end."""
    return text.startswith(b"{") and text.count(b"{") != text.count(b"}") and _opened(text) > 0


def _opened(text: bytes) -> int:
    """How many braces and brackets are opened here and not closed."""
    bare = _STRINGS.sub(b"", text)
    return bare.count(b"{") + bare.count(b"[") - bare.count(b"}") - bare.count(b"]")


class _Unfinished:
    """A document of which more lines are to come."""

    def __init__(self, number: int, text: bytes, max_bytes: int) -> None:
        self._number, self._max = number, max_bytes
        self._lines, self._size, self._open = [text], len(text), _opened(text)

    def takes(self, text: bytes) -> bool:
        """One more line; True: it is the last. Of what gets too long nothing is kept."""
        self._open += _opened(text)
        self._size += len(text) + 1
        if self._size > self._max:
            self._lines.clear()
        else:
            self._lines.append(text)
        return self._open <= 0

    def document(self) -> Document:
        """What the lines are together."""
        if self._size > self._max:
            return Document(
                self._number,
                b"",
                f"a document longer than {self._max} bytes: write it as one line a resource, with "
                "jq -c '.resourceSpans[] | {resourceSpans: [.]}'",
            )
        return Document(self._number, b"\n".join(self._lines))

    def given_up(self) -> Iterator[Document]:
        """It did not end."""
        if self._size > self._max:
            yield self.document()
        else:
            yield Document(self._number, b"", "not JSON: the document that begins here does not end")


# -- protobuf -------------------------------------------------------------------------------------------------


def protobuf_messages(file: IO[bytes], form: Form, max_bytes: int) -> Iterator[Document]:
    """The messages, each a whole TracesData. A single message is given resource by resource.

    Raises:
        EOFError: the file ends within one.
    """
    number = 0
    while head := file.read(4 if form is Form.BY_FOUR_BYTES else 1):
        number += 1
        prefix = b""
        if form is Form.BY_FOUR_BYTES:
            length = int.from_bytes(head, "big") if len(head) == 4 else -1
        elif form is Form.BY_VARINT:
            length, _ = _read_varint(file, head)
        elif head[0] == _RESOURCE_SPANS:
            length, written = _read_varint(file, file.read(1))
            prefix = head + written
        else:
            raise EOFError(f"a field other than resource_spans, after {number - 1} of these")
        if length < 0:
            raise EOFError("the last message is cut off")
        if length > max_bytes:
            _skip(file, length)
            yield Document(number, b"", f"longer than {max_bytes} bytes")
            continue
        content = file.read(length)
        if len(content) < length:
            raise EOFError("the last message is cut off")
        yield Document(number, prefix + content)


def _read_varint(file: IO[bytes], first: bytes) -> tuple[int, bytes]:
    """A number, -1 where the file ends within it, and its bytes."""
    written = first
    while written and written[-1] > 127 and len(written) < 10:
        more = file.read(1)
        if not more:
            return -1, written
        written += more
    return (_varint(written, 0)[0] if written else -1), written


def _skip(file: IO[bytes], length: int) -> None:
    while length > 0 and (part := file.read(min(length, _CHUNK))):
        length -= len(part)
