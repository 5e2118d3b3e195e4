"""The ids of the span that the running code belongs to, for exemplars and logs."""

from __future__ import annotations

import sys
from typing import NamedTuple


class SpanIds(NamedTuple):
    """Ids of a recorded span."""

    trace_id: str
    """32 hexadecimal digits."""
    span_id: str
    """16 hexadecimal digits."""


def current_span_ids() -> SpanIds | None:
    """Ids of the running span; None where traces are off, or this one is not sampled."""
    # OpenTelemetry is imported only where traces are on (see `tracing`).
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None:
        return None
    context = trace.get_current_span().get_span_context()
    if not context.is_valid or not context.trace_flags.sampled:
        return None
    return SpanIds(trace.format_trace_id(context.trace_id), trace.format_span_id(context.span_id))
