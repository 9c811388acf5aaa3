"""Who the nodes of one dbt invocation are: identity and span id, the same whichever source tells of them.

An artifact, dbt's events, its own spans and Fusion's telemetry file all come here with the same invocation id and
unique_id, so that what they tell of one node is one span and one set of rows. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cached_property

from dbbtrace.model.identity import dbt_identity, span_ids
from dbbtrace.model.times import iso_utc

__all__ = ["Identities"]

_SPAN_ID = re.compile(r"(?!0{16})[0-9a-f]{16}")


class Identities:
    """Of the nodes of one invocation, in the trace of its run.

    Args:
        trace_id: of the run.
        invocation_id: dbt's own; None where it is unknown.
        generated_at: when the artifact was written; nanoseconds since the Unix epoch.
        span: what dbbtrace told its child: the span id of the invocation, in hex digits.
        joined_to: what somebody told Fusion: the span id that its invocation hangs on. For a child of ours the same.
    """

    def __init__(
        self,
        trace_id: int,
        invocation_id: str | None,
        generated_at: int,
        *,
        span: str | None = None,
        joined_to: str | None = None,
    ) -> None:
        self.trace_id = trace_id
        self.invocation_id = invocation_id
        self._generated_at = generated_at
        self._span = span
        self._joined_to = span or joined_to

    @cached_property
    def _distinction(self) -> str:
        """What tells invocations apart whose id doesn't: Fusion, joined to our trace, has the trace's id in each."""
        if self.invocation_id and self.invocation_id.replace("-", "").lower() != f"{self.trace_id:032x}":
            return ""
        return self._joined_to or iso_utc(self._generated_at)

    def identity_of(self, unique_id: str) -> str:
        """Identity of a node; of the invocation itself for ''."""
        return dbt_identity(self.invocation_id or "", unique_id, self._distinction)

    def span_id_of(self, unique_id: str) -> int:
        """Span id of a node."""
        return self._span_id(f"{unique_id}\n{self._distinction}")

    @cached_property
    def invocation_span_id(self) -> int:
        """Span id of the invocation itself."""
        if self._span and _SPAN_ID.fullmatch(self._span):
            return int(self._span, 16)
        return self.span_id_of("")

    @cached_property
    def _beginning(self) -> str:
        return dbt_identity(self.invocation_id or "", "", "").removesuffix("\n")

    @cached_property
    def _span_id(self) -> Callable[[str], int]:
        return span_ids(self.trace_id, self._beginning)
