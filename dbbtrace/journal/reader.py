"""Journals, read: whatever a process left, torn last lines and all.

Never writes, never trusts: a line that makes no sense is given as such. Raises OSError where something can't be read:
that is never the same as nothing there. Journals of a newer format are recognised and left alone.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from opentelemetry.sdk.trace import ReadableSpan

from dbbtrace.journal import codec, files
from dbbtrace.journal.json_lines import loads
from dbbtrace.journal.position import BEGINNING, Position
from dbbtrace.journal.writer import FORMAT, claim_key, is_segment
from dbbtrace.model.times import LATEST, to_unix_nanos

__all__ = [
    "Claim",
    "Header",
    "Line",
    "Survey",
    "decode",
    "define",
    "header_of",
    "last_write",
    "lines",
    "makes_sense",
    "parse",
    "segments",
]


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


class Line(NamedTuple):
    """A line; the last of a segment may lack its end: it may be torn. Without any text: before this place a segment is
    missing."""

    position: Position
    """Behind it."""
    text: bytes


def segments(path: str) -> list[tuple[int, str]]:
    """Number and path of the segments of a journal, in order; what is named like one and is no file is none."""
    names = filter(is_segment, files.regular_files(path)[0])
    return sorted((int(name.partition(".")[0]), os.path.join(path, name)) for name in names)


def lines(path: str, position: Position = BEGINNING, end: Position | None = None) -> Iterator[Line]:
    """The lines of a journal behind the position, in order, to the end or to a position."""
    expected = position[0]
    for number, segment in segments(path):
        if number < position[0]:
            continue
        if end is not None and number > end[0]:
            return
        if expected not in (number, 0):  # those before the first may have been acknowledged and deleted
            yield Line((number, 0), b"")
        expected = number + 1
        offset = position[1] if number == position[0] else 0
        with files.open_to_read(segment) as file:
            file.seek(offset)
            for text in file:
                offset += len(text)
                if end is not None and (number, offset) > end:
                    break
                yield Line((number, offset), text)


def parse(line: bytes) -> dict[str, Any] | None:
    """The JSON object of a line; None where the line is torn or is none."""
    try:
        fields = loads(line)
    except (ValueError, RecursionError):
        return None
    return fields if isinstance(fields, dict) and fields else None


def makes_sense(fields: Mapping[str, Any]) -> bool:
    """Whether the fields are those of a line that tells of no ended span. Kinds that are not known may come to be."""
    kind = next(iter(fields), "end")
    return kind != "end" and (kind not in ("start", "save") or isinstance(fields[kind], str))


def header_of(path: str) -> Header | None:
    """The header of the journal in that directory; None where no segment has a whole one."""
    for number, _ in segments(path):
        first = next(lines(path, (number, 0), (number, 1 << 62)), None)
        header = _header(parse(first.text) or {}) if first is not None else None
        if header is not None:
            return header
    return None


def _header(fields: Mapping[str, Any]) -> Header | None:
    version = fields.get("dbbtrace_journal")
    if type(version) is not int:
        return None
    claims: list[Claim] = []
    if version <= FORMAT:
        with suppress(LookupError, ValueError, TypeError, AttributeError, RecursionError):
            claims = [
                # The key names a file: what a header says of it is not trusted.
                Claim(claim_key(str(each["name"])), str(each["name"]), bool(each.get("rows")))
                for each in fields.get("destinations", ())
            ]
        if not claims:  # there is none without a destination
            return None
    parent = fields.get("parent")
    return Header(
        version,
        str(fields.get("owner", "")),
        parent if isinstance(parent, int) else 0,
        str(fields.get("at", "")),
        tuple(claims),
    )


def define(fields: Mapping[str, Any], definitions: dict[int, Any]) -> None:
    """Take what a ``define`` line defines."""
    with suppress(LookupError, ValueError, TypeError, AttributeError, OverflowError, RecursionError):
        if "resource" in fields:
            definitions[fields["define"]] = codec.resource_of(fields["resource"])
        else:
            definitions[fields["define"]] = codec.scope_of(fields.get("scope"))


def decode(kind: str, fields: Mapping[str, Any], definitions: Mapping[int, Any]) -> ReadableSpan | None:
    """The span of a line of that kind; None where the line makes none after all."""
    try:
        resource, scope = fields["resource"], fields["scope"]
        return codec.decode(
            kind,
            fields,
            definitions.get(resource) if isinstance(resource, int) else codec.resource_of(resource),
            definitions.get(scope) if isinstance(scope, int) else codec.scope_of(scope),
        )
    except (LookupError, ValueError, TypeError, AttributeError, OverflowError, RecursionError):
        return None


@dataclass
class Survey:
    """A journal that nobody writes any more, looked at from its beginning: what ended, then what had only started."""

    path: str
    definitions: dict[int, Any] = field(default_factory=dict)
    last_sign: int = 0
    """Last sign of life so far; nanoseconds since the Unix epoch."""
    senseless: list[Line] = field(default_factory=list)
    """Start lines that make no span after all, once ``started`` was asked."""
    _open: dict[Any, tuple[str, Mapping[str, Any], Line]] = field(default_factory=dict)
    """The last start line of each span without an end so far, its kind and its fields."""

    def ended(self) -> Iterator[tuple[Position, Mapping[str, Any]]]:
        """Every end line, with the position behind it."""
        for line in lines(self.path):
            fields = parse(line.text)
            if fields is None:
                continue
            kind = next(iter(fields))
            if kind == "end":
                self._open.pop(_key(kind, fields), None)
                self._sign(fields.get("ended"))
                yield line.position, fields
            elif kind in ("start", "save") and isinstance(fields[kind], str):
                self._open[_key(kind, fields)] = (kind, fields, line)
                self._sign(fields.get("began"))
            elif kind == "define":
                define(fields, self.definitions)
            elif kind == "moved":
                with suppress(TypeError, ValueError):
                    for span, trace in fields["moved"]:
                        self._open.pop((str(trace), str(span)), None)
            elif kind in ("alive", "dbbtrace_journal"):
                self._sign(fields.get("at", fields.get("alive")))

    def started(self) -> list[ReadableSpan]:
        """Every span that had only started, once ``ended`` has run out."""
        found = [(decode(kind, fields, self.definitions), line) for kind, fields, line in self._open.values()]
        self.senseless = [line for span, line in found if span is None]
        return [span for span, _ in found if span is not None]

    def _sign(self, at: object) -> None:
        with suppress(ValueError, OverflowError):
            nanos = at if type(at) is int else to_unix_nanos(at)
            if nanos <= LATEST:
                self.last_sign = max(self.last_sign, nanos)


def _key(kind: str, fields: Mapping[str, Any]) -> tuple[str, str]:
    return (str(fields.get("trace")), str(fields[kind]))


def last_write(path: str, *, segments_only: bool = False) -> float:
    """When a file of the journal was last written, by the clock of the file system; seconds since the Unix epoch.

    Without ``segments_only`` an adopter's acknowledgements count too, and the directory, which it touches.
    """
    newest = 0.0 if segments_only else os.stat(path).st_mtime
    with os.scandir(path) as entries:
        for entry in entries:
            if not segments_only or entry.name.endswith(".jsonl"):
                with suppress(FileNotFoundError):
                    newest = max(newest, entry.stat(follow_symlinks=False).st_mtime)
    return newest
