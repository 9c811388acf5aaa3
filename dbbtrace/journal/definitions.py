"""What spans share, their resource and scope, written once in a journal and referred to by number.

Knows lines, no files: the journal writes what ``write`` is given.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from dbbtrace.journal import codec
from dbbtrace.journal.json_lines import dumps

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
        self._numbers: dict[tuple[str, bytes], int] = dict(known._numbers) if known else {}
        self._known: dict[int, tuple[object, int]] = {}
        self._last: tuple[object, object, dict[str, Any]] | None = None

    def shared_of(self, span: ReadableSpan) -> Mapping[str, Any]:
        """What the span's line says of its resource and scope. Writes their definitions where they are new."""
        resource, scope = span._resource, span._instrumentation_scope
        last = self._last
        if last is not None and last[0] is resource and last[1] is scope:
            return last[2]
        shared = {"scope": self._reference("scope", scope), "resource": self._reference("resource", resource)}
        self._last = (resource, scope, shared)
        return shared

    def _reference(self, kind: str, shared: Resource | InstrumentationScope | None) -> Any:
        """The number of the definition; where there are too many, the definition itself."""
        known = self._known.get(id(shared))
        if known is not None:
            return known[1]
        definition = codec.definition_of(shared)
        text = (kind, dumps({"definition": definition}))
        number = self._numbers.get(text)
        if number is None:
            if len(self._numbers) >= _MOST:
                return definition
            number = len(self._numbers) + 1
            line = dumps({"define": number, kind: definition})
            self._write(line)
            self._numbers[text] = number
            self.lines.append(line)
            self.by_number[number] = shared
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        self._known[id(shared)] = (shared, number)  # held, so that the id can't be another's
        return number
