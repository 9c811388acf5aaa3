"""What spans share, their resource and scope, written once in a journal and referred to by number.

Knows lines, no files: the journal writes what ``write`` is given.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from dbbtrace.delivery import codec

__all__ = ["Definitions"]

_MOST = 1_000
"""Definitions in one journal; a job that makes a resource for each span gets them written with the span."""
_MOST_KNOWN = 64


class Definitions:
    """The definitions of one journal."""

    def __init__(self, write: Callable[[bytes], None], known: Definitions | None = None) -> None:
        self.lines: list[bytes] = list(known.lines) if known else []
        """All of them, as each segment repeats them."""
        self.by_number: dict[int, Any] = dict(known.by_number) if known else {}
        """For reading lines back."""
        self._write = write
        self._numbers: dict[str, int] = dict(known._numbers) if known else {}
        self._known: dict[int, tuple[object, str]] = {}
        self._last: tuple[object, object, str] | None = None

    def tail_of(self, span: ReadableSpan) -> str:
        """How the span's line ends: with its resource and scope. Writes their definitions where they are new."""
        resource, scope = span.resource, span.instrumentation_scope
        last = self._last
        if last is not None and last[0] is resource and last[1] is scope:
            return last[2]
        tail = codec.tail(self._reference("resource", resource), self._reference("scope", scope))
        self._last = (resource, scope, tail)
        return tail

    def _reference(self, kind: str, shared: Resource | InstrumentationScope | None) -> str:
        known = self._known.get(id(shared))
        if known is not None:
            return known[1]
        definition = codec.definition_of(shared)
        number = self._numbers.get(kind + definition)
        if number is None:
            if len(self._numbers) >= _MOST:
                return definition
            number = len(self._numbers) + 1
            line = f'{{"define":{number},"{kind}":{definition}}}\n'.encode("ascii")
            self._write(line)
            self._numbers[kind + definition] = number
            self.lines.append(line)
            self.by_number[number] = shared
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        self._known[id(shared)] = (shared, str(number))  # held, so that the id can't be another's
        return str(number)
