"""Calls on an event loop: of `AsyncCreditlineClient`."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc

from creditline.client.attempts import Attempts
from creditline.client.calls import Answer, Call, Listed, Page, Stream
from creditline.client.errors import is_transient, translated
from creditline.client.options import CallOptions, authorization
from creditline.credentials.channels import open_async_channel
from creditline.credentials.tls_files import TlsFiles

_PREFIX = "/creditline.v1."


class AsyncGateway:
    """A connection to the gateway, for the event loop that it was made on.

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
        self._channel = open_async_channel(target, tls, options.channel)
        self._random = random.Random()

    async def close(self) -> None:
        """Close the connection."""
        await self._channel.close()

    async def call(self, call: Call[Answer]) -> Answer:
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
                return call.read(await self._response(call, attempts))
            except grpc.RpcError as failure:
                delay = attempts.delay_after(failure)
            await asyncio.sleep(delay)

    async def listed(self, call: Call[Page[Listed]]) -> AsyncIterator[Listed]:
        """All items of a list, read page by page."""
        following: Call[Page[Listed]] | None = call
        while following is not None:
            page = await self.call(following)
            for item in page.items:
                yield item
            following = page.following

    async def streamed(self, stream: Stream[Answer], requests: AsyncIterator[Any]) -> AsyncIterator[Answer]:
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
            async for response in call:
                yield stream.read(response)
        except grpc.RpcError as failure:
            raise translated(failure, self._target) from failure
        finally:
            call.cancel()
        if errors:
            raise errors[0]

    async def _response(self, call: Call[Any], attempts: Attempts) -> Any:
        method = self._channel.unary_unary(
            _PREFIX + call.method,
            request_serializer=type(call.request).SerializeToString,
            response_deserializer=call.response.FromString,
        )

        async def answer() -> Any:
            return await method(call.request, timeout=attempts.remaining_seconds, metadata=self._metadata)

        hedge_after = self._options.hedge_after_seconds
        if hedge_after is None or not (call.repeatable and call.hedgeable):
            return await answer()
        return await first_answer(answer, hedge_after)


async def _until_error(requests: AsyncIterator[Any], errors: list[Exception]) -> AsyncIterator[Any]:
    try:
        async for request in requests:
            yield request
    except Exception as error:  # gRPC would log any, and end the call
        errors.append(error)


async def first_answer(answer: Callable[[], Awaitable[Any]], hedge_after_seconds: float) -> Any:
    """The answer of a call, which is begun a second time if it takes long; the slower one is cancelled.

    Args:
        answer: Begins the call.
        hedge_after_seconds: Time after which it is begun again.

    Raises:
        grpc.RpcError: Failure of the call: of both, if it may pass.
    """
    begun = [asyncio.ensure_future(answer())]
    try:
        ended, _ = await asyncio.wait(begun, timeout=hedge_after_seconds)
        if not ended:
            begun.append(asyncio.ensure_future(answer()))
            ended, waiting = await asyncio.wait(begun, return_when=asyncio.FIRST_COMPLETED)
            failures = [each.exception() for each in ended]
            if waiting and all(isinstance(one, grpc.RpcError) and is_transient(one) for one in failures):
                ended, _ = await asyncio.wait(waiting)
        return min(ended, key=lambda each: each.exception() is not None).result()
    finally:
        for each in begun:
            each.cancel()
