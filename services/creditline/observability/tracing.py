"""OpenTelemetry traces of a service; off unless an endpoint is set. Everything here does nothing while off.

One trace follows a query through gateway, embedder, Qdrant and ledger, and its audit through the outbox to
the worker. Spans hold names from fixed sets, ids, statuses, and SQL without its values: no prompt, picture
or key.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal, TypeVar

from creditline import __version__
from creditline.errors import InvalidInput
from creditline.observability.settings import ObservedSettings

Engine = TypeVar("Engine")
Kind = Literal["internal", "server", "client", "producer"]
_STANDARD_VARIABLES = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
# A collector that does not answer delays the end of a process no longer than this.
_FLUSH_SECONDS = 2.0
TRACE_PARENT = "traceparent"
"""Name of the W3C header that a trace is continued by."""
_tracer: Any = None


@contextmanager
def tracing(service: str, settings: ObservedSettings) -> Iterator[None]:
    """Export the process's spans while the block runs, if the settings or OTEL_… variables name an endpoint.

    Enter it before channels and database engines are made, once in a process.

    Args:
        service: Name of the service.
        settings: Its settings.

    Raises:
        InvalidInput: Traces are wanted, and OpenTelemetry is not installed.
    """
    global _tracer
    if not _wanted(settings):
        yield
        return
    try:
        from creditline.observability import _instrumentation
    except ImportError as error:
        raise InvalidInput(
            f"CREDITLINE_TRACES is set, but {error.name} is not installed; install creditline[traces]",
            field="traces",
        ) from error
    provider = _instrumentation.exporting_provider(
        settings.traces or None,
        {"service.name": f"creditline-{service}", "service.version": __version__, "vcs.ref": settings.commit},
    )
    _instrumentation.trace_channels()
    _tracer = provider.get_tracer("creditline", __version__)
    try:
        yield
    finally:
        _tracer = None
        _instrumentation.end(provider, _FLUSH_SECONDS)


def _wanted(settings: ObservedSettings) -> bool:
    if os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return False
    if os.environ.get("OTEL_TRACES_EXPORTER", "").lower() == "none":
        return False
    return bool(settings.traces or any(os.environ.get(name) for name in _STANDARD_VARIABLES))


@contextmanager
def span(
    name: str, kind: Kind = "internal", *, parent: str | None = None, **attributes: str | int
) -> Iterator[Any]:
    """Record the block as a span, also when it fails: then with the error's class, without its message.

    Args:
        name: Name of the span; one of a fixed set.
        kind: Its part in a call.
        parent: `traceparent` of the span that caused it; None: the running one.
        attributes: Attributes.

    Yields:
        The span of OpenTelemetry; None while traces are off.
    """
    if _tracer is None:
        yield None
        return
    from creditline.observability._instrumentation import context_of, kind_of

    with _tracer.start_as_current_span(
        name,
        context_of(parent) if parent is not None else None,
        kind=kind_of(kind),
        attributes=attributes,
        record_exception=False,
        set_status_on_exception=False,
    ) as started:
        try:
            yield started
        except BaseException as error:
            started.set_attribute("error.type", type(error).__name__)
            raise


@contextmanager
def http_server_span(parent: str) -> Iterator[Any]:
    """Record the answer to an HTTP request as a span that `describe_http` completes.

    Args:
        parent: The request's `traceparent` header; empty where it has none.
    """
    with span("HTTP", "server", parent=parent) as started:
        yield started


def describe_http(started: Any, label: str, status: int) -> None:
    """Name the span of an HTTP request.

    Args:
        started: What `http_server_span` gave.
        label: Method and route pattern, one of a fixed set.
        status: HTTP status.
    """
    if started is None:
        return
    from creditline.observability._instrumentation import mark_failed

    method, _, route = label.partition(" ")
    started.update_name(label)
    started.set_attributes(
        {"http.request.method": method, "http.route": route, "http.response.status_code": status}
    )
    if status >= 500:
        mark_failed(started)


def trace_parent() -> str:
    """The running span as a W3C `traceparent`; empty where there is none."""
    if _tracer is None:
        return ""
    from opentelemetry.propagate import inject

    carrier: dict[str, str] = {}
    inject(carrier)
    return carrier.get(TRACE_PARENT, "")


def trace_headers() -> Mapping[str, str]:
    """Headers by which a message continues the running trace; empty where there is none."""
    parent = trace_parent()
    return {TRACE_PARENT: parent} if parent else {}


def grpc_server_interceptors() -> tuple[Any, ...]:
    """Interceptors of a grpc.aio server, to be placed before all others; none while traces are off."""
    if _tracer is None:
        return ()
    from creditline.observability.grpc_tracing import ServerTracing

    return (ServerTracing(_tracer),)


def traced_engine(engine: Engine) -> Engine:
    """A database engine of SQLAlchemy whose statements are recorded, without their values.

    Args:
        engine: The engine, which is returned.
    """
    if _tracer is not None:
        from creditline.observability._instrumentation import trace_statements

        trace_statements(engine, _tracer)
    return engine


def trace_tasks() -> None:
    """Record the tasks that this process's Celery worker runs, each in the trace that it was sent in."""
    if _tracer is not None:
        from opentelemetry.instrumentation.celery import CeleryInstrumentor

        CeleryInstrumentor().instrument()  # type: ignore[no-untyped-call]
