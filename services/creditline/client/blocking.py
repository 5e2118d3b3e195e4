"""Calls that block: of `CreditlineClient`."""

from __future__ import annotations

import queue
import random
import time
from collections.abc import Callable, Iterator
from typing import Any

import grpc

from creditline.client.attempts import Attempts
from creditline.client.calls import Answer, Call, Listed, Page, Stream
from creditline.client.errors import is_transient, translated
from creditline.client.options import CallOptions, authorization
from creditline.credentials.channels import open_channel
from creditline.credentials.tls_files import TlsFiles

_PREFIX = "/creditline.v1."


class BlockingGateway:
    """A connection to the gateway, safe to use from several threads.

    Args:
        target: `host:port` of the gateway.
        options: How calls are sent.
        api_key: Key that is sent with every call; None sends none.
        tls: Files of this end; None: no TLS.

    Raises:
        InvalidInput: The key has characters that cannot be sent.
        CreditlineError: The files cannot be used; see `TlsFiles.read`.
    """

    def __init__(
        self, target: str, options: CallOptions, api_key: str | None, tls: TlsFiles | None = None
    ) -> None:
        self._target = target
        self._options = options
        self._metadata = authorization(api_key)
        self._channel = open_channel(target, tls, options.channel)
        self._random = random.Random()

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()

    def call(self, call: Call[Answer]) -> Answer:
        """Send a call, again where its failure may pass, and read the answer.

        Raises:
            CreditlineError: The error that the gateway raised, or Unavailable, or DeadlineExceeded.
        """
        options = self._options
        attempts = Attempts(
            self._target,
            call.seconds or options.timeout_seconds,
            options.retries,
            repeatable=call.repeatable,
            rng=self._random,
        )
        while True:
            try:
                return call.read(self._response(call, attempts))
            except grpc.RpcError as failure:
                delay = attempts.delay_after(failure)
            time.sleep(delay)

    def listed(self, call: Call[Page[Listed]]) -> Iterator[Listed]:
        """All items of a list, read page by page."""
        following: Call[Page[Listed]] | None = call
        while following is not None:
            page = self.call(following)
            yield from page.items
            following = page.following

    def streamed(self, stream: Stream[Answer], requests: Iterator[Any]) -> Iterator[Answer]:
        """Send requests as they come, and read the answers as they come; nothing is sent again.

        An error of `requests` ends them; it is raised when those before it are answered.

        Raises:
            CreditlineError: The error that the gateway raised, or Unavailable, or DeadlineExceeded.
        """
        method = self._channel.stream_stream(
            _PREFIX + stream.method,
            request_serializer=stream.request.SerializeToString,
            response_deserializer=stream.response.FromString,
        )
        errors: list[Exception] = []
        call = method(_until_error(requests, errors), timeout=stream.seconds, metadata=self._metadata)
        try:
            for response in call:
                yield stream.read(response)
        except grpc.RpcError as failure:
            raise translated(failure, self._target) from failure
        finally:
            call.cancel()
        if errors:
            raise errors[0]

    def _response(self, call: Call[Any], attempts: Attempts) -> Any:
        method = self._channel.unary_unary(
            _PREFIX + call.method,
            request_serializer=type(call.request).SerializeToString,
            response_deserializer=call.response.FromString,
        )

        def begin() -> grpc.Future:
            return method.future(call.request, timeout=attempts.remaining_seconds, metadata=self._metadata)

        hedge_after = self._options.hedge_after_seconds
        if hedge_after is None or not (call.repeatable and call.hedgeable):
            return method(call.request, timeout=attempts.remaining_seconds, metadata=self._metadata)
        return first_answer(begin, hedge_after)


def _until_error(requests: Iterator[Any], errors: list[Exception]) -> Iterator[Any]:
    try:
        yield from requests
    except Exception as error:  # gRPC's thread would log any, and end the call with UNKNOWN
        errors.append(error)


def first_answer(begin: Callable[[], grpc.Future], hedge_after_seconds: float) -> Any:
    """The answer of a call, which is begun a second time if it takes long; the slower one is cancelled.

    Args:
        begin: Begins the call.
        hedge_after_seconds: Time after which it is begun again.

    Raises:
        grpc.RpcError: Failure of the call: of both, if it may pass.
    """
    ended: queue.SimpleQueue[Any] = queue.SimpleQueue()
    begun: list[Any] = []

    def begin_one() -> None:
        begun.append(begin())
        begun[-1].add_done_callback(ended.put)

    try:
        begin_one()
        try:
            return ended.get(timeout=hedge_after_seconds).result()
        except queue.Empty:
            begin_one()
        first = ended.get()
        failure = first.exception()
        return (ended.get() if failure is not None and is_transient(failure) else first).result()
    finally:
        for each in begun:
            each.cancel()
