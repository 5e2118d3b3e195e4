"""Text embeddings of our towers behind the embedder's batcher, measured on request by `infinity.py`.

Run as `text_worker.py TEXTS`; TEXTS is a JSON list. It follows the protocol of `infinity_worker.py`.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path

import torch
from numpy.typing import NDArray

from creditline.embedder.batcher import Batcher, BatchLimits
from creditline.embedder.settings import EmbedderSettings
from creditline.towers.compiled.opening import compile_towers
from creditline.towers.spec import TowerSpec
from creditline.towers.towers import Towers

_THREADS = 2


async def texts_per_second(towers: Towers, texts: list[str], callers: int, count: int) -> float:
    """Rate of callers who each submit one text at a time."""
    settings = EmbedderSettings()
    limits = BatchLimits(
        settings.embedder_max_batch, settings.embedder_max_wait_ms / 1e3, settings.embedder_queue
    )
    left = iter(texts[number % len(texts)] for number in range(count))

    def forward(batch: list[str]) -> list[NDArray]:
        return list(towers.text_features(batch).numpy())

    async def call(batcher: Batcher[str, NDArray]) -> None:
        for text in left:
            await batcher.submit([text])

    async with Batcher(forward, limits) as batcher:
        began = time.perf_counter()
        await asyncio.gather(*(call(batcher) for _ in range(callers)))
        return count / (time.perf_counter() - began)


def main() -> None:
    """Serve measurements until standard input ends."""
    texts = json.loads(Path(sys.argv[1]).read_text())
    torch.set_num_threads(1)
    settings = EmbedderSettings()
    opened = compile_towers(
        Towers.open(TowerSpec("embedded")), settings.embedder_towers_cache, threads=_THREADS
    )
    features = torch.nn.functional.normalize(opened.towers.text_features(texts[:16]), dim=1)
    backend = opened.eager.get("text", "ONNX Runtime")
    print(json.dumps({"backend": backend, "vectors": features.tolist()}), flush=True)
    for line in sys.stdin:
        callers, count = map(int, line.split())
        rate = asyncio.run(texts_per_second(opened.towers, texts, callers, count))
        print(json.dumps({"per_second": rate}), flush=True)


if __name__ == "__main__":
    main()
