"""The decoder pool on real processes: limits set low meet ordinary pictures."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from prometheus_client import CollectorRegistry

from creditline.errors import InvalidInput, ResourceExhausted
from creditline.gateway.decoding.jobs import DecodedPicture
from creditline.gateway.decoding.metrics import DecoderMetrics
from creditline.gateway.decoding.pool import DecoderPool, PoolPlan
from creditline.pictures.queries import query_pixels
from tests.gateway.pictures_made_up import as_file, noise, red_square

_SMALL = as_file(red_square(), "PNG")
# 9 million pixels in a few kilobytes: an ordinary picture that takes a while.
LARGE = as_file(Image.new("RGB", (3000, 3000), "red"), "PNG")
# Fewer pixels than the lane for large pictures takes, and still a while.
_SLOW = as_file(noise(2200), "WEBP", lossless=True, quality=0, method=0)
_SECONDS = 30.0


def _run(use: Callable[[DecoderPool, CollectorRegistry], Awaitable[None]], **plan: Any) -> None:
    async def run() -> None:
        registry = CollectorRegistry()
        async with asyncio.timeout(_SECONDS), DecoderPool(PoolPlan(**plan), DecoderMetrics(registry)) as pool:
            await use(pool, registry)

    asyncio.run(run())


async def _until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.005)


def _ends(registry: CollectorRegistry, reason: str) -> float:
    return registry.get_sample_value("creditline_gateway_decoder_ends_total", {"reason": reason}) or 0.0


def _is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_picture_is_decoded_as_in_this_process_and_its_file_shows_the_same_pixels() -> None:
    async def use(pool: DecoderPool, _: CollectorRegistry) -> None:
        for image in (_SMALL, LARGE, as_file(noise(700), "JPEG")):
            decoded = await pool.decode(image)
            assert decoded.pixels == query_pixels(image) == query_pixels(await decoded.file())

    _run(use)


def test_what_cannot_be_decoded_is_refused_with_the_decoders_sentence_and_the_next_is_decoded() -> None:
    async def use(pool: DecoderPool, _: CollectorRegistry) -> None:
        for image, sentence in (
            (b"%PDF", "is not in a known format"),
            (as_file(noise(64), "PNG")[:3000], "cut short"),
        ):
            with pytest.raises(InvalidInput, match=sentence) as refused:
                await pool.decode(image)
            assert refused.value.field == "image"
        assert (await pool.decode(_SMALL)).pixels.width == 64

    _run(use)


@pytest.mark.parametrize(
    ("plan", "sentence", "reason"),
    [
        ({"cpu_seconds": 0.02}, "more than 0.02 s of processor time to decode.*scale it down", "time"),
        ({"memory_mib": 16}, "more than 16 MiB of memory to decode.*scale it down", "memory"),
        ({"pixels": 8_000_000}, "3000 × 3000 pixels; at most 8,000,000 pixels are allowed", "invalid"),
    ],
)
def test_a_picture_that_passes_a_limit_is_refused_by_the_limits_name(
    plan: dict[str, Any], sentence: str, reason: str
) -> None:
    async def use(pool: DecoderPool, registry: CollectorRegistry) -> None:
        for _ in range(2):
            with pytest.raises(InvalidInput, match=sentence):
                await pool.decode(LARGE)
            assert (await pool.decode(_SMALL)).pixels.width == 64
        refusals = registry.get_sample_value("creditline_gateway_decode_refusals_total", {"reason": reason})
        assert refusals == 2.0
        await _until(lambda: _ends(registry, reason) == (0.0 if reason == "invalid" else 2.0))

    _run(use, **plan)


def test_killed_decoders_and_a_killed_nursery_are_replaced_and_readiness_follows() -> None:
    async def use(pool: DecoderPool, registry: CollectorRegistry) -> None:
        await _until(lambda: len(pool.pids) == 3 and not pool.problem())
        nursery, *decoders = pool.pids
        for pid in decoders:
            os.kill(pid, signal.SIGKILL)
        await _until(lambda: _ends(registry, "unexpected") == 2.0)
        await _until(lambda: len(pool.pids) == 3)
        assert not set(decoders) & set(pool.pids)
        os.kill(nursery, signal.SIGKILL)
        await _until(lambda: "does not run" in pool.problem())
        await _until(lambda: not pool.problem())
        assert (await pool.decode(_SMALL)).pixels.width == 64
        assert pool.pids[0] != nursery

    _run(use, decoders=1)


def test_a_picture_whose_decoder_is_killed_is_decoded_by_another() -> None:
    async def use(pool: DecoderPool, registry: CollectorRegistry) -> None:
        await _until(lambda: len(pool.pids) == 3)
        decoding = asyncio.create_task(pool.decode(LARGE))
        await _until(lambda: bool(_busy(registry, "large")))
        for pid in pool.pids[1:]:
            os.kill(pid, signal.SIGKILL)
        assert (await decoding).pixels.width == 512

    _run(use, decoders=1)


def _busy(registry: CollectorRegistry, lane: str) -> float:
    return registry.get_sample_value("creditline_gateway_decoders_busy", {"lane": lane}) or 0.0


def test_pictures_that_take_long_leave_the_ordinary_lane_to_others() -> None:
    async def use(pool: DecoderPool, registry: CollectorRegistry) -> None:
        slow = [asyncio.create_task(pool.decode(_SLOW, caller=f"slow {n}")) for n in range(4)]
        await asyncio.sleep(0)
        decoded = await pool.decode(_SMALL, caller="other")
        assert not any(task.done() for task in slow[1:])
        assert decoded.pixels.width == 64
        assert {(await task).pixels.width for task in slow} == {512}
        assert _ends(registry, "slow") >= 2.0

    _run(use, decoders=1)


def test_callers_take_turns_with_large_pictures() -> None:
    async def use(pool: DecoderPool, _: CollectorRegistry) -> None:
        order: list[str] = []

        async def decode(caller: str) -> None:
            await pool.decode(LARGE, caller=caller)
            order.append(caller)

        greedy = [asyncio.create_task(decode("greedy")) for _ in range(4)]
        await asyncio.sleep(0)
        await decode("other")
        assert len(order) <= 2
        await asyncio.gather(*greedy)

    _run(use)


def test_a_full_queue_refuses_with_a_hint_and_a_caller_that_leaves_makes_room() -> None:
    async def use(pool: DecoderPool, registry: CollectorRegistry) -> None:
        waiting = [asyncio.create_task(pool.decode(LARGE)) for _ in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(ResourceExhausted, match="retry in a few seconds"):
            await pool.decode(LARGE)
        waiting.pop().cancel()
        await asyncio.sleep(0)
        waiting.append(asyncio.create_task(pool.decode(LARGE)))
        decoded = await asyncio.gather(*waiting, return_exceptions=True)
        assert all(isinstance(each, DecodedPicture) for each in decoded)
        refusals = registry.get_sample_value("creditline_gateway_decode_refusals_total", {"reason": "queue"})
        assert refusals == 1.0

    _run(use, most_queued=3)


def test_a_picture_that_nobody_waits_for_is_not_decoded_to_its_end() -> None:
    async def use(pool: DecoderPool, registry: CollectorRegistry) -> None:
        await pool.decode(_SMALL)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await pool.decode(LARGE)
        await _until(lambda: _ends(registry, "abandoned") == 1.0)
        assert (await pool.decode(_SMALL)).pixels.width == 64

    _run(use)


def test_closing_ends_all_processes_at_once_whatever_they_decode() -> None:
    pids: list[int] = []
    closing = 0.0

    async def use(pool: DecoderPool, registry: CollectorRegistry) -> None:
        nonlocal closing
        decoding = asyncio.create_task(pool.decode(LARGE))
        await _until(lambda: bool(_busy(registry, "large")))
        pids.extend(pool.pids)
        decoding.cancel()
        closing = time.monotonic()

    _run(use)
    assert time.monotonic() - closing < 1.0
    assert len(pids) == 4
    assert not any(map(_is_running, pids))


def test_decoders_have_nothing_of_the_gateways_environment_and_cannot_write_or_start_anything(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CREDITLINE_API_KEYS", "secret")

    async def use(pool: DecoderPool, _: CollectorRegistry) -> None:
        await _until(lambda: len(pool.pids) == 4)
        for pid in pool.pids:
            assert b"secret" not in Path(f"/proc/{pid}/environ").read_bytes()
            modules = Path(f"/proc/{pid}/maps").read_text()
            assert not any(name in modules for name in ("grpc", "numpy", "torch"))
        # A decoder takes its limits between its start and its first picture.
        await _until(lambda: all(_can_do_nothing(pid) for pid in pool.pids[1:]))

    _run(use)


def _can_do_nothing(pid: int) -> bool:
    """Whether a process can neither write files nor start processes."""
    limits = Path(f"/proc/{pid}/limits").read_text()
    return all(_limit(limits, name) == "0" for name in ("Max file size", "Max processes"))


def _limit(limits: str, name: str) -> str:
    return next(line for line in limits.splitlines() if line.startswith(name)).removeprefix(name).split()[0]
