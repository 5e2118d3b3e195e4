"""The part of tracing that needs OpenTelemetry's packages; imported only where traces are on."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from opentelemetry import metrics, propagate, trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.sqlalchemy.engine import EngineTracer
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider, sampling
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from creditline.observability.grpc_tracing import ClientTracing

_KINDS = {
    "internal": SpanKind.INTERNAL,
    "server": SpanKind.SERVER,
    "client": SpanKind.CLIENT,
    "producer": SpanKind.PRODUCER,
}


class WithoutLoneCalls(sampling.Sampler):
    """Samples as another sampler does, but no outgoing call that belongs to no request.

    The services ask their database and each other for changes several times a second; as traces of one span
    each, these polls would outnumber all else.

    Args:
        sampler: The other sampler.
    """

    def __init__(self, sampler: sampling.Sampler) -> None:
        self._sampler = sampler

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Any = None,
        links: Sequence[trace.Link] | None = None,
        trace_state: trace.TraceState | None = None,
    ) -> sampling.SamplingResult:
        """Whether to record a span that is about to start."""
        parent = trace.get_current_span(parent_context).get_span_context()
        if kind is SpanKind.CLIENT and not parent.is_valid:
            return sampling.SamplingResult(sampling.Decision.DROP)
        return self._sampler.should_sample(
            parent_context, trace_id, name, kind, attributes, links, trace_state
        )

    def get_description(self) -> str:
        """What it is, for logs."""
        return f"WithoutLoneCalls({self._sampler.get_description()})"


def exporting_provider(endpoint: str | None, resource: Mapping[str, str]) -> TracerProvider:
    """A provider that exports to an OTLP collector over gRPC, made the process's own.

    Args:
        endpoint: URL of the collector; None: from OTEL_… variables.
        resource: What the process is; empty values are left out.
    """
    # Made by the SDK from OTEL_TRACES_SAMPLER; there is no public function for that.
    provider = TracerProvider(
        resource=Resource.create({name: value for name, value in resource.items() if value}),
        shutdown_on_exit=False,
    )
    provider.sampler = WithoutLoneCalls(provider.sampler)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint)))
    trace.set_tracer_provider(provider)
    if "OTEL_PROPAGATORS" not in os.environ:
        # The standard's default forwards callers' baggage too, which anybody can fill.
        propagate.set_global_textmap(TraceContextTextMapPropagator())
    return provider


def trace_statements(engine: Any, tracer: trace.Tracer) -> None:
    """Record the statements of a database engine.

    The instrumentor itself (0.66b2) refuses SQLAlchemy 2.1 by a line in the log; told not to, it imports
    SQLAlchemy's asyncio part, which needs greenlet.
    """
    usage = metrics.get_meter("creditline").create_up_down_counter("db.client.connections.usage")
    EngineTracer(tracer, engine, usage)  # type: ignore[no-untyped-call]


def trace_channels() -> None:
    """Record the calls of grpc.aio channels that are made from now on."""
    ClientTracing().instrument()  # type: ignore[no-untyped-call]


def end(provider: TracerProvider, seconds: float) -> None:
    """Export what is left and end, but wait no longer than `seconds` for a collector that does not answer.

    The SDK's own time limits (1.45.2) do not end an export that is being retried.
    """
    ending = threading.Thread(target=provider.shutdown, name="end of traces", daemon=True)
    ending.start()
    ending.join(seconds)


def context_of(parent: str) -> Context:
    """The context that a `traceparent` stands for; one without a span if it is empty or malformed."""
    return TraceContextTextMapPropagator().extract({"traceparent": parent}, Context())


def kind_of(kind: str) -> SpanKind:
    """OpenTelemetry's kind of a span."""
    return _KINDS[kind]


def mark_failed(started: trace.Span) -> None:
    """Set the status of a span to failed."""
    started.set_status(StatusCode.ERROR)
