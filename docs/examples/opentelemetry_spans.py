"""A span of OpenTelemetry for each connection, from the first step of opening to its end."""

import sys
import time
from collections.abc import Mapping

import trio
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer

from trio_wsclient import (
    ClientStatistics,
    ConnectionClosed,
    ConnectionClosedError,
    Observer,
    open_websocket_client,
)


class Spans(Observer):
    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer
        self._spans: dict[int, Span] = {}

    def opened(self, connection_id: int, url: str, phases: Mapping[str, float]) -> None:
        self._spans[connection_id] = self._start(connection_id, url, phases)

    def opening_failed(
        self, connection_id: int, url: str, error: BaseException, phases: Mapping[str, float]
    ) -> None:
        span = self._start(connection_id, url, phases)
        span.record_exception(error)
        span.set_status(StatusCode.ERROR, str(error))
        span.end()

    def _start(self, connection_id: int, url: str, phases: Mapping[str, float]) -> Span:
        began = time.time_ns() - round(sum(phases.values()) * 1e9)
        span = self._tracer.start_span("websocket", kind=SpanKind.CLIENT, start_time=began)
        span.set_attribute("websocket.connection_id", connection_id)
        span.set_attribute("url.full", url)
        for phase, seconds in phases.items():
            span.set_attribute(f"websocket.open.{phase}", seconds)
        return span

    def closed(
        self, connection_id: int, outcome: ConnectionClosed, statistics: ClientStatistics
    ) -> None:
        span = self._spans.pop(connection_id)
        span.set_attribute("websocket.close.code", outcome.code)
        span.set_attribute("websocket.messages.received", statistics.messages_received)
        span.set_attribute("websocket.bytes.received", statistics.bytes_received)
        if isinstance(outcome, ConnectionClosedError):
            span.record_exception(outcome)
            span.set_status(StatusCode.ERROR, str(outcome))
        span.end()


def show(span: ReadableSpan) -> str:
    code = (span.attributes or {}).get("websocket.close.code")
    end = "not open" if code is None else f"closed with {code!r}"
    return f"{span.name}: {span.status.status_code.name}, {end}\n"


async def main() -> None:
    provider = TracerProvider()
    exporter = ConsoleSpanExporter(out=sys.stdout, formatter=show)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    observer = Spans(provider.get_tracer("feed"))
    async with open_websocket_client("wss://example.org/feed", observer=observer) as ws:
        await ws.send("subscribe")
        async for message in ws:
            print(message)


trio.run(main)
