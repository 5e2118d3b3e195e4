"""A tiny OpenTelemetry collector on a loopback port: keeps the spans that it receives over OTLP."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

_LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class ReceivedSpan:
    """A span as a collector sees it; ids are hexadecimal."""

    service: str
    name: str
    kind: int
    trace_id: str
    span_id: str
    parent_id: str
    status: int
    attributes: dict[str, Any]


@dataclass
class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """What was received so far."""

    port: int = 0
    _spans: list[ReceivedSpan] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def endpoint(self) -> str:
        return f"http://{_LOOPBACK}:{self.port}"

    def Export(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Keep the spans of a batch."""
        received = [
            _span(_values(resource.resource.attributes).get("service.name", ""), span)
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]
        with self._lock:
            self._spans += received
        return trace_service_pb2.ExportTraceServiceResponse()

    def spans(self, **having: Any) -> list[ReceivedSpan]:
        """All spans so far whose fields have these values."""
        with self._lock:
            return [
                span
                for span in self._spans
                if all(getattr(span, name) == value for name, value in having.items())
            ]


def _span(service: str, span: Any) -> ReceivedSpan:
    return ReceivedSpan(
        service=service.removeprefix("creditline-"),
        name=span.name,
        kind=span.kind,
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        status=span.status.code,
        attributes=_values(span.attributes),
    )


def _values(attributes: Any) -> dict[str, Any]:
    return {
        each.key: getattr(each.value, each.value.WhichOneof("value") or "string_value") for each in attributes
    }


@contextmanager
def running_collector() -> Iterator[Collector]:
    """A collector that receives while the block runs."""
    collector, server = Collector(), grpc.server(ThreadPoolExecutor(4))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(collector, server)
    collector.port = server.add_insecure_port(f"{_LOOPBACK}:0")
    server.start()
    try:
        yield collector
    finally:
        server.stop(0).wait()
