"""Answering of a call: every error ends it with the gRPC status of its class."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable
from typing import Any, TypeVar

import grpc

from creditline.embedder.metrics import CallMetrics
from creditline.errors import (
    CreditlineError,
    DeadlineExceeded,
    InvalidInput,
    NotFound,
    ResourceExhausted,
    Unavailable,
)

Answer = TypeVar("Answer")
_STATUS: dict[type[CreditlineError], grpc.StatusCode] = {
    InvalidInput: grpc.StatusCode.INVALID_ARGUMENT,
    NotFound: grpc.StatusCode.NOT_FOUND,
    ResourceExhausted: grpc.StatusCode.RESOURCE_EXHAUSTED,
    DeadlineExceeded: grpc.StatusCode.DEADLINE_EXCEEDED,
    Unavailable: grpc.StatusCode.UNAVAILABLE,
}
_LOGGER = logging.getLogger(__name__)


def refuse_other_release(requested: str, loaded: str) -> None:
    """Refuse a request for a release that is not the loaded one.

    Args:
        requested: Name of the requested release; empty for whichever is loaded.
        loaded: Name of the loaded release.

    Raises:
        NotFound: Another release is requested.
    """
    if requested and requested != loaded:
        raise NotFound(
            f"release {requested!r} is not loaded here, {loaded!r} is; request that one, or start an embedder"
            " with the other's CREDITLINE_RELEASE_DIRECTORY",
            field="release",
        )


async def answered(answer: Awaitable[Answer], context: Any, metrics: CallMetrics) -> Answer:
    """Await the answer; on an error, end the call with the status of its class.

    Args:
        answer: The answer.
        context: The call's context.
        metrics: Counts the call.
    """
    started, code = time.perf_counter(), grpc.StatusCode.OK
    try:
        with metrics.in_flight.track_inprogress():
            return await answer
    except asyncio.CancelledError:
        code = grpc.StatusCode.CANCELLED
        raise
    except CreditlineError as error:
        code = _STATUS.get(type(error), grpc.StatusCode.FAILED_PRECONDITION)
        message = error.message
    except Exception:
        _LOGGER.exception("unhandled error in a call")
        code, message = (
            grpc.StatusCode.INTERNAL,
            "the embedder failed on this request; see its log for the reason",
        )
    finally:
        metrics.finished(code.name, time.perf_counter() - started)
    await context.abort(code, message)
    raise AssertionError("abort raises")
