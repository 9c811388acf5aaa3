"""What goes over the receiver's wire: request bodies → spans, and answers → bodies, in protobuf and in JSON.

No server, no warehouse. Bodies are never trusted: what they unpack to is limited while it is unpacked.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from dbbtrace.model.parts import gives_rows
from dbbtrace.sources.dbt.batches import Invocations
from dbbtrace.sources.otlp.decode import Decoded, spans_of_json
from dbbtrace_exporters.receiver.limits import TooLargeError
from dbbtrace_exporters.receiver.protobuf import Weigh, spans_of_protobuf

__all__ = ["JSON", "PROTOBUF", "accepted", "failed", "spans_in", "unpacked"]

PROTOBUF = "application/x-protobuf"
JSON = "application/json"
_CODES = {400: 3, 401: 16, 408: 4, 413: 8, 415: 3, 429: 8, 503: 14}
"""HTTP status → google.rpc.Code."""


_CHUNK = 1 << 20


def unpacked(body: bytes, encoding: str, max_bytes: int, hold: Callable[[int], None]) -> bytes:
    """The body without its gzip. A bomb is stopped at the limit, not unpacked and then measured.

    Args:
        hold: told of each piece that is unpacked; raises where too much is held already.

    Raises:
        TooLargeError: it is beyond the limit.
        ValueError: it is no gzip.
    """
    if encoding != "gzip":
        return body
    parts: list[bytes] = []
    size = 0
    while body:  # a gzip file may have several members
        member = zlib.decompressobj(wbits=31)
        packed = body
        while not member.eof:
            try:
                part = member.decompress(packed, _CHUNK)
            except zlib.error as error:
                raise ValueError(f"no gzip: {error}") from None
            packed = member.unconsumed_tail
            if not part and not member.eof:
                raise ValueError("no gzip: it is cut off")
            size += len(part)
            if size > max_bytes:
                raise TooLargeError(f"more than {max_bytes} bytes after gunzip")
            hold(len(part))
            parts.append(part)
        body = member.unused_data
    return b"".join(parts)


def spans_in(body: bytes, content_type: str, weigh: Weigh, dbt: Invocations) -> Decoded:
    """The spans of an ExportTraceServiceRequest that give rows, and what is wrong with those left out.

    Args:
        weigh: told of what the body becomes, before it does; raises where that is too much.
        dbt: what earlier requests told of dbt; learns from this one.

    Raises:
        ValueError: the body is none.
    """
    spans, faults = _spans_of_json(body, weigh) if content_type == JSON else spans_of_protobuf(body, weigh)
    return [span for span in dbt.nodes(spans) if gives_rows(span)], faults


def _spans_of_json(body: bytes, weigh: Weigh) -> Decoded:
    weigh(body.count(b",") + body.count(b"{") + body.count(b"["))  # no fewer than there are values in it
    try:
        document = json.loads(body) if body else {}
    except RecursionError:
        raise ValueError("JSON is nested too deeply") from None
    return spans_of_json(document)


def accepted(faults: Sequence[str], content_type: str) -> bytes:
    """The body of a 200: empty, or partial_success that says what could not be stored and why."""
    response = ExportTraceServiceResponse()
    fields: Mapping[str, Any] = {}
    if faults:
        said = "; ".join(faults[:5])[:1000] + (f"; and {len(faults) - 5} more" if len(faults) > 5 else "")
        response.partial_success.rejected_spans = len(faults)
        response.partial_success.error_message = said.encode("utf-8", "replace").decode()
        fields = {"partialSuccess": {"rejectedSpans": str(len(faults)), "errorMessage": said}}
    return json.dumps(fields).encode() if content_type == JSON else response.SerializeToString()


def failed(status: int, message: str, content_type: str) -> bytes:
    """The body of an error: a google.rpc.Status."""
    code = _CODES.get(status, 2)
    text = message.encode("utf-8", "replace").decode()
    if content_type == PROTOBUF:
        body: bytes = Status(code=code, message=text).SerializeToString()
        return body
    return json.dumps({"code": code, "message": text}).encode()
