"""The receiver's HTTP: POST /v1/traces, /metrics, /healthz and /readyz, as an ASGI application.

200 is said only when the rows are committed. Until then the sender's queue keeps the spans, so whatever goes wrong here
or in the warehouse is answered so that the sender keeps them: 429 or 503 with Retry-After. What can never be stored is
named in partial_success. Bodies are limited in time, in size before and after gunzip, and in what they decode to.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from opentelemetry.sdk.trace import ReadableSpan
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from dbbtrace.diagnostics import log
from dbbtrace.errors import DbbtraceError, TransientError
from dbbtrace.model.parts import lacking
from dbbtrace.sources.dbt.batches import Invocations
from dbbtrace_exporters.receiver.commit import GroupCommit, Store
from dbbtrace_exporters.receiver.exposition import CONTENT_TYPE, Family, text_of
from dbbtrace_exporters.receiver.limits import ELEMENT_BYTES, BusyError, Limits, Memory, Share, TooLargeError
from dbbtrace_exporters.receiver.messages import JSON, PROTOBUF, accepted, failed, spans_in, unpacked
from dbbtrace_exporters.receiver.metrics import Metrics

__all__ = ["make_app"]

_NEEDS_TOKEN = "a bearer token is needed: the receiver's DBBTRACE_RECEIVER_TOKEN"
_ANSWER_HEADERS = {401: {"WWW-Authenticate": "Bearer"}, 408: {"Connection": "close"}}


class _Answer(Exception):  # noqa: N818 - no fault: the way out of a request
    def __init__(self, status: int, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.retry_after = status, message, retry_after


def make_app(
    store: Store,
    *,
    token: str | None = None,
    ready: Callable[[], None] = lambda: None,
    gauges: Callable[[], list[Family]] = list,
    on_stop: Callable[[], None] = lambda: None,
    limits: Limits | None = None,
) -> Starlette:
    """The receiver as an ASGI application.

    Args:
        store: stores spans, as ``WarehouseSpanExporter.deliver`` does.
        token: bearer token that senders, and those who read /metrics, must show; None: none is asked for.
        ready: raises DbbtraceError while the store can't take spans; asked by /readyz.
        gauges: what /metrics says besides the receiver's own counters; called in a thread.
        on_stop: called last, when all that waited is stored.
    """
    limits = limits or Limits()
    receiver = _Receiver(store, token, ready, gauges, limits)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        receiver.stopping = True
        await run_in_threadpool(receiver.commit.close, limits.commit_seconds)
        await run_in_threadpool(on_stop)

    routes = [
        Route("/v1/traces", receiver.traces, methods=["POST"]),
        Route("/metrics", receiver.metrics),
        Route("/healthz", receiver.healthz),
        Route("/readyz", receiver.readyz),
    ]
    app = Starlette(routes=routes, lifespan=lifespan)
    app.state.commit = receiver.commit
    return app


class _Receiver:
    def __init__(
        self,
        store: Store,
        token: str | None,
        ready: Callable[[], None],
        gauges: Callable[[], list[Family]],
        limits: Limits,
    ) -> None:
        self._metrics = Metrics()
        self.commit = GroupCommit(store, committed=self._metrics.committed)
        self.limits, self.stopping = limits, False
        self._authorization = f"Bearer {token}".encode() if token else None
        self._ready, self._gauges = ready, gauges
        self._memory = Memory(limits.max_memory)
        self._dbt = Invocations()

    async def healthz(self, _: Request) -> Response:
        """The process lives."""
        return PlainTextResponse("ok\n")

    async def readyz(self, _: Request) -> Response:
        """The warehouse answers, and takes rows."""
        if self.stopping:
            return PlainTextResponse("stopping\n", 503)
        try:
            await run_in_threadpool(self._ready)
        except DbbtraceError as error:
            log.debug("not ready: %s", error)
            return PlainTextResponse("the warehouse can't be written to; see the receiver's log\n", 503)
        return PlainTextResponse("ok\n")

    async def metrics(self, request: Request) -> Response:
        """What Prometheus reads. It names data products, so it takes the token too."""
        if not self._may_enter(request):
            return PlainTextResponse(f"{_NEEDS_TOKEN}\n", 401, _ANSWER_HEADERS[401])
        of_others = await run_in_threadpool(self._gauges)
        own = self._metrics.families(self.commit.spans_waiting)
        return Response(text_of([*own, *of_others]), headers={"Content-Type": CONTENT_TYPE})

    async def traces(self, request: Request) -> Response:
        """Take spans; answer when they are stored."""
        content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        answers_in = content_type if content_type in (PROTOBUF, JSON) else JSON
        held = self._memory.share()
        wanted: list[ReadableSpan] = []
        try:
            self._check(request, content_type)
            body = await self._body(request, held)
            encoding = request.headers.get("content-encoding", "identity").strip().lower()
            wanted, faults = await run_in_threadpool(self._decoded, body, encoding, content_type, held)
            refused = await self._committed(wanted)
            faults += refused
            self._metrics.answered(200, stored=len(wanted) - len(refused), refused=len(faults))
            return Response(accepted(faults, answers_in), media_type=answers_in)
        except BusyError as error:
            answer = _Answer(429, str(error), error.retry_after)
        except _Answer as error:
            answer = error
        finally:
            held.release()
        self._metrics.answered(answer.status, later=len(wanted))
        headers = {} if answer.retry_after is None else {"Retry-After": f"{max(1, round(answer.retry_after))}"}
        headers |= _ANSWER_HEADERS.get(answer.status, {})
        return Response(failed(answer.status, answer.message, answers_in), answer.status, headers, answers_in)

    def _may_enter(self, request: Request) -> bool:
        said = request.headers.get("authorization", "").encode()
        return self._authorization is None or hmac.compare_digest(said, self._authorization)

    def _check(self, request: Request, content_type: str) -> None:
        """Refuse what can be refused before its body is read."""
        if not self._may_enter(request):
            raise _Answer(401, _NEEDS_TOKEN)
        if content_type not in (PROTOBUF, JSON):
            raise _Answer(415, f"send {PROTOBUF} or {JSON}")
        if request.headers.get("content-encoding", "identity").strip().lower() not in ("gzip", "identity"):
            raise _Answer(415, "send gzip, or no content-encoding")
        if int(request.headers.get("content-length", "0")) > self.limits.max_bytes:
            raise _Answer(413, f"more than {self.limits.max_bytes} bytes")

    async def _body(self, request: Request, held: Share) -> bytes:
        try:
            return await asyncio.wait_for(self._read(request, held), self.limits.body_seconds)
        except asyncio.TimeoutError:
            raise _Answer(408, f"the body did not come within {self.limits.body_seconds:g} s") from None
        except ClientDisconnect:
            raise _Answer(400, "the body ended early") from None

    async def _read(self, request: Request, held: Share) -> bytes:
        parts: list[bytes] = []
        size = 0
        async for part in request.stream():
            size += len(part)
            if size > self.limits.max_bytes:
                raise _Answer(413, f"more than {self.limits.max_bytes} bytes")
            held.add(len(part))
            parts.append(part)
        return b"".join(parts)

    def _decoded(
        self, body: bytes, encoding: str, content_type: str, held: Share
    ) -> tuple[list[ReadableSpan], list[str]]:
        """The spans that give rows, and what is wrong with those that should and can't."""
        try:
            plain = unpacked(body, encoding, self.limits.max_bytes, held.add)
            held.add(len(plain) if plain.isascii() or content_type == PROTOBUF else 4 * len(plain))  # its texts
            spans, faults = spans_in(plain, content_type, _scales(self.limits, held), self._dbt)
        except TooLargeError as error:
            raise _Answer(413, str(error)) from None
        except (ValueError, TypeError, AttributeError) as error:
            raise _Answer(400, str(error)) from None
        wanted = []
        for span in spans:
            if missing := lacking(span.attributes or {}):
                faults.append(f"span {span.name[:80]!r} lacks {', '.join(missing)}")
            else:
                wanted.append(span)
        return wanted, faults

    async def _committed(self, spans: list[ReadableSpan]) -> list[str]:
        """Wait until the spans are stored; answers what was refused."""
        if not spans:
            return []
        try:
            waiting = asyncio.wrap_future(self.commit.submit(spans))
            return await asyncio.wait_for(waiting, self.limits.commit_seconds)
        except asyncio.TimeoutError:
            raise _Answer(503, "the warehouse did not answer in time", 5) from None
        except BusyError:
            raise
        except TransientError as error:
            retry_after = 5.0 if error.retry_after is None else error.retry_after
            raise _Answer(503, "the warehouse can't take rows now", retry_after) from None


def _scales(limits: Limits, held: Share) -> Callable[[int], None]:
    """Weighs what one body is decoded to: its elements are held, and limited."""
    elements = 0

    def weigh(more: int) -> None:
        nonlocal elements
        elements += more
        if elements > limits.max_elements:
            raise TooLargeError(f"more than {limits.max_elements} spans, attributes and values")
        held.add(more * ELEMENT_BYTES)

    return weigh
