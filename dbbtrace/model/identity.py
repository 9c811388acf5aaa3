"""Who is who: run id → trace id, a fact → its span id, a row → its record id.

Pure functions of their arguments, so that processes which never meet agree. All hashes are SHA-256, cut to the
length needed, over UTF-8 text: any language can compute them. Knows nothing of spans or warehouses.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from hashlib import sha256
else:
    try:  # the same without OpenSSL, whose loading would be a good part of the start of a job
        from _sha2 import sha256
    except ImportError:
        try:
            from _sha256 import sha256
        except ImportError:
            from hashlib import sha256

__all__ = [
    "activity_identity",
    "dbt_identity",
    "identity_of_span",
    "load_identity",
    "new_run_id",
    "new_span_id",
    "new_trace_id",
    "normalise_guid",
    "normalise_run_id",
    "record_id",
    "record_ids",
    "refresh_identity",
    "root_span_id",
    "sha256",
    "span_id_of",
    "span_ids",
    "trace_id_of",
]

_SPAN_BITS = (1 << 64) - 1


def _hash(bits: int, *parts: str) -> int:
    """The first ``bits`` of the SHA-256 of the parts, one a line; never 0, which OpenTelemetry holds invalid."""
    text = "\n".join(parts).encode("utf-8", "surrogatepass")
    return int.from_bytes(sha256(text).digest()[: bits // 8], "big") or 1


def _guid_digits(text: str) -> str:
    """The 32 digits of a GUID in lower case, written with its dashes or without; '' where the text is none."""
    digits = text.replace("-", "")
    if len(digits) != 32 or digits.strip("0123456789abcdef"):
        return ""
    return digits if text == digits or (len(text) == 36 and text[8:24:5] == "----") else ""


def normalise_guid(text: str) -> str:
    """A GUID in lower case without surrounding space or braces; any other text only without surrounding space."""
    text = text.strip()
    bare = (text[1:-1] if text[:1] == "{" and text[-1:] == "}" else text).lower()
    return bare if _guid_digits(bare) else text


def normalise_run_id(value: object) -> str:
    """The run id as rows hold it: a lower-case GUID, or the text as given; '' when there is none.

    Accepts str and ``uuid.UUID``. Readers join run ids by equality, so every writer must go through here.
    """
    if isinstance(value, uuid.UUID):
        return str(value)
    return normalise_guid(value) if isinstance(value, str) else ""


def new_run_id() -> str:
    """A fresh GUID, for a run that nobody named."""
    return str(uuid.uuid4())


def new_trace_id() -> int:
    """128 random bits that a job which seeds ``random`` can't make repeat."""
    return int.from_bytes(os.urandom(16), "big") or 1


def new_span_id() -> int:
    """64 random bits that a job which seeds ``random`` can't make repeat."""
    return int.from_bytes(os.urandom(8), "big") or 1


def trace_id_of(run_id: str) -> int:
    """Trace id of a run: the GUID's own 128 bits (dashes or not), otherwise a hash of the text."""
    run_id = normalise_guid(run_id)
    digits = _guid_digits(run_id)
    return (int(digits, 16) if digits else 0) or _hash(128, "dbbtrace.trace", run_id)


def root_span_id(trace_id: int) -> int:
    """Span id of the run's root, which every process can name as parent without having seen it."""
    return _hash(64, "dbbtrace.root", f"{trace_id:032x}")


def span_id_of(trace_id: int, identity: str) -> int:
    """Span id of a fact with an identity of its own: recorded twice, it is one span."""
    return _hash(64, "dbbtrace.span", f"{trace_id:032x}", identity)


def span_ids(trace_id: int, beginning: str) -> Callable[[str], int]:
    """``span_id_of`` for many identities that begin alike, given what follows: the beginning is hashed once."""
    shared = sha256(f"dbbtrace.span\n{trace_id:032x}\n{beginning}".encode("utf-8", "surrogatepass"))

    def span_id(rest: str) -> int:
        hash_ = shared.copy()
        hash_.update(rest.encode("utf-8", "surrogatepass"))
        return int.from_bytes(hash_.digest()[:8], "big") or 1

    return span_id


def identity_of_span(span_id: int) -> str:
    """Identity of live work, which has no other than its span."""
    return f"span:{span_id & _SPAN_BITS:016x}"


def load_identity(source_run_id: str, source: str, schema: str, table: str, started_at: str) -> str:
    """Identity of a load that was reported after the fact: what it loaded, for which pipeline run, and when."""
    return "\n".join(("load", source_run_id, source, schema, table, started_at))


def activity_identity(activity_run_id: str) -> str:
    """Identity of a pipeline's activity run, whoever reports it."""
    return "\n".join(("activity", activity_run_id.strip().lower()))


def dbt_identity(invocation_id: str, unique_id: str, generated_at: str = "") -> str:
    """Identity of a dbt node in an invocation; ``generated_at`` only where the invocation id is the trace's own."""
    return "\n".join(("dbt", invocation_id.lower(), unique_id, generated_at))


def refresh_identity(request_id: str) -> str:
    """Identity of a refresh whose request id is known."""
    return "\n".join(("refresh", request_id.strip().lower()))


def record_id(run_id: str, identity: str, stage: str = "") -> str:
    """Identity of a row: 32 hex digits from run id, the fact's identity and, for dbt, the process_stage."""
    return record_ids((run_id,), (identity,), stage)[0]


def record_ids(run_ids: Sequence[str], identities: Sequence[str], stage: str = "") -> list[str]:
    """``record_id`` of many rows of one stage."""
    return [
        sha256(f"dbbtrace.record\n{run_id}\n{identity}\n{stage}".encode("utf-8", "surrogatepass")).hexdigest()[:32]
        for run_id, identity in zip(run_ids, identities, strict=True)
    ]
