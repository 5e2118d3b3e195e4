"""One version of the embedder's model behind its batcher, measured on request.

Run as `embed_worker.py ITEMS [eager]` by `embed.version_worker`, on the version that PYTHONPATH names: it
uses only what all versions have. ITEMS is a file by `embed.write_items`. A line `CALLERS PAIRS` on standard
input asks for one measurement: the callers submit one pair at a time until all pairs are embedded. The answer
is a line of JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Iterator

import numpy as np
from PIL import Image

from creditline.embedder.batcher import Batcher, BatchLimits
from creditline.embedder.settings import EmbedderSettings

try:
    from creditline.encoder.model import EmbedderModel, EmbedItem, Side, TowerSpec
except ImportError:
    # Earlier versions.
    from creditline.embedder.model import EmbedderModel, EmbedItem, Side, TowerSpec


def opened_model(settings: EmbedderSettings, eager: bool) -> EmbedderModel:
    """The reference release's model with the embedded towers."""
    options = {"compiled": False} if eager else {}
    return EmbedderModel.open(settings.release_directory, TowerSpec("embedded"), **options)


def read_items(path: str) -> list[EmbedItem]:
    """Pairs of a file by `embed.write_items`, as queries."""
    with np.load(path) as stored:
        pairs = zip(stored["pictures"], stored["captions"].tolist(), strict=True)
        return [EmbedItem(Image.fromarray(pixels), caption, Side.QUERY) for pixels, caption in pairs]


async def pairs_per_second(
    model: EmbedderModel, settings: EmbedderSettings, items: list[EmbedItem], waiting: int, pairs: int
) -> float:
    """Rate of `waiting` callers who submit one pair at a time."""
    limits = BatchLimits(
        settings.embedder_max_batch, settings.embedder_max_wait_ms / 1e3, settings.embedder_queue
    )
    left = iter([items[index % len(items)] for index in range(pairs)])

    async def call(batcher: Batcher, left: Iterator[EmbedItem]) -> None:
        for item in left:
            await batcher.submit([item])

    async with Batcher(model.forward, limits) as batcher:
        began = time.perf_counter()
        await asyncio.gather(*(call(batcher, left) for _ in range(waiting)))
        return pairs / (time.perf_counter() - began)


def main() -> None:
    """Serve measurements until standard input ends."""
    settings = EmbedderSettings()
    model = opened_model(settings, eager=sys.argv[2:] == ["eager"])
    items = read_items(sys.argv[1])
    vectors = [embedded.vector.tolist() for embedded in model.forward(items[:16])]
    print(json.dumps({"release": model.release.name, "vectors": vectors}), flush=True)
    for line in sys.stdin:
        waiting, pairs = map(int, line.split())
        rate = asyncio.run(pairs_per_second(model, settings, items, waiting, pairs))
        print(json.dumps({"per_second": rate}), flush=True)


if __name__ == "__main__":
    main()
