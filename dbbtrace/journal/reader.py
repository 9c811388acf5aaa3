"""Journals, read: whatever a process left, torn last lines and all.

Never writes, never trusts: a line that makes no sense is counted and passed by. Journals of a newer format are
recognised and left alone.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from opentelemetry.sdk.trace import ReadableSpan

from dbbtrace.journal import codec
from dbbtrace.journal.json_lines import loads
from dbbtrace.journal.writer import FORMAT, Position, SpanKey
from dbbtrace.model.times import to_unix_nanos

__all__ = ["Claim", "Header", "Record", "Records", "decode", "header_of", "last_write", "read", "segments"]

_NEWLINE = ord("\n")
_BUFFER = 128 * 1024


class Claim(NamedTuple):
    """A destination that a journal was written for."""

    key: str
    name: str
    rows: bool


class Header(NamedTuple):
    """What a segment says of itself."""

    version: int
    owner: str
    parent: int
    at: str
    claims: tuple[Claim, ...]

    @property
    def is_newer(self) -> bool:
        """Written by a dbbtrace that knows more than this one."""
        return self.version > FORMAT


class Record(NamedTuple):
    """A line that was read."""

    position: Position
    kind: str
    fields: Mapping[str, Any]


def segments(path: str) -> list[tuple[int, str]]:
    """Number and path of the segments of a journal, in order."""
    found = []
    with suppress(OSError):
        for name in os.listdir(path):
            stem, _, suffix = name.partition(".")
            if suffix == "jsonl" and stem.isdigit():
                found.append((int(stem), os.path.join(path, name)))
    return sorted(found)


def lines(path: str, offset: int = 0) -> Iterator[tuple[int, bytes]]:
    """Each line from the offset on, with the offset behind it; a last line without its end comes as it is."""
    with open(path, "rb", _BUFFER) as file:
        file.seek(offset)
        for line in file:
            offset += len(line)
            if line != b"\n":
                yield offset, line
            if line[-1] != _NEWLINE:  # it may be going on by now: what is next is no line
                return


def parse(line: bytes) -> dict[str, Any] | None:
    """The JSON object of a line; None where the line is torn or is none."""
    try:
        fields = loads(line)
    except (ValueError, RecursionError):
        return None
    return fields if isinstance(fields, dict) and fields else None


def header_of(path: str) -> Header | None:
    """The header of the journal in that directory; None while no segment has a whole one."""
    for _, segment in segments(path):
        with suppress(OSError):
            for _, line in lines(segment):
                header = _header(parse(line) or {})
                if header:
                    return header
                break
    return None


def _header(fields: Mapping[str, Any]) -> Header | None:
    version = fields.get("dbbtrace_journal")
    if not isinstance(version, int):
        return None
    claims: list[Claim] = []
    if version <= FORMAT:
        with suppress(KeyError, TypeError, AttributeError):
            claims = [
                Claim(str(each["key"]), str(each["name"]), bool(each.get("rows")))
                for each in fields.get("destinations", ())
            ]
    parent = fields.get("parent")
    return Header(
        version,
        str(fields.get("owner", "")),
        parent if isinstance(parent, int) else 0,
        str(fields.get("at", "")),
        tuple(claims),
    )


def read(path: str, position: Position = (0, 0), *, ends_only: bool = False) -> Iterator[Record]:
    """The lines of a journal behind the position, in order; those that make no sense are left out."""
    for number, segment in segments(path):
        if number < position[0]:
            continue
        offset = position[1] if number == position[0] else 0
        with suppress(FileNotFoundError):  # acknowledged by all meanwhile
            for behind, line in lines(segment, offset):
                if ends_only and not line.startswith(b'{"end"'):
                    continue
                fields = parse(line)
                if fields:
                    yield Record((number, behind), next(iter(fields)), fields)


def decode(record: Record, definitions: Mapping[int, Any]) -> ReadableSpan | None:
    """The span of a line; None where the line makes none after all."""
    try:
        resource, scope = record.fields["resource"], record.fields["scope"]
        return codec.decode(
            record.kind,
            record.fields,
            definitions.get(resource) if isinstance(resource, int) else codec.resource_of(resource),
            definitions.get(scope) if isinstance(scope, int) else codec.scope_of(scope),
        )
    except (KeyError, ValueError, TypeError, AttributeError, OverflowError):
        return None


@dataclass
class Records:
    """A journal that nobody writes any more, read from its beginning: what ended, then what had only started."""

    path: str
    definitions: dict[int, Any] = field(default_factory=dict)
    open: dict[SpanKey, Record] = field(default_factory=dict)
    """Last start line of each span without an end so far; complete once ``ended`` has run out."""
    last_sign: int = 0
    """Last sign of life so far; nanoseconds since the Unix epoch."""

    def ended(self) -> Iterator[tuple[Position, ReadableSpan]]:
        """Every ended span, with the position behind its line."""
        for record in read(self.path):
            fields = record.fields
            if record.kind == "end":
                self.open.pop(_key(record), None)
                span = decode(record, self.definitions)
                if span is not None:
                    self._sign(span.end_time)
                    yield record.position, span
            elif record.kind in ("start", "save"):
                self.open[_key(record)] = record
                self._sign(fields.get("began"))
            elif record.kind == "define":
                self._define(fields)
            elif record.kind == "moved":
                with suppress(TypeError, ValueError):
                    for span, trace in fields["moved"]:
                        self.open.pop((trace, span), None)
            elif record.kind in ("alive", "dbbtrace_journal"):
                self._sign(fields.get("at", fields.get("alive")))

    def started(self) -> Iterator[ReadableSpan]:
        """Every span that had only started, once ``ended`` has run out."""
        for record in self.open.values():
            span = decode(record, self.definitions)
            if span is not None:
                yield span

    def _define(self, fields: Mapping[str, Any]) -> None:
        with suppress(TypeError, ValueError, AttributeError):
            if "resource" in fields:
                self.definitions[fields["define"]] = codec.resource_of(fields["resource"])
            else:
                self.definitions[fields["define"]] = codec.scope_of(fields.get("scope"))

    def _sign(self, at: object) -> None:
        if type(at) is not int:
            try:
                at = to_unix_nanos(at)
            except ValueError:
                return
        if at > self.last_sign:
            self.last_sign = at


def _key(record: Record) -> Any:
    return (record.fields.get("trace"), record.fields[record.kind])


def last_write(path: str, *, segments_only: bool = False) -> float:
    """When a file of the journal was last written, by the clock of the file system; seconds since the Unix epoch.

    Without ``segments_only`` an adopter's acknowledgements count too, and the directory, which it touches.
    """
    newest = 0.0
    with suppress(OSError):
        if not segments_only:
            newest = os.stat(path).st_mtime
        with os.scandir(path) as entries:
            for entry in entries:
                if not segments_only or entry.name.endswith(".jsonl"):
                    with suppress(OSError):
                        newest = max(newest, entry.stat().st_mtime)
    return newest
