"""Text embeddings of infinity's engine, measured on request by `infinity.py`.

Run as `infinity_worker.py TEXTS MODEL ENGINE` by the Python of infinity's own environment. MODEL is a
directory in Hugging Face's layout, with an exported network in `onnx/` for the engine `optimum`; TEXTS is a
JSON list. It prints a line of JSON with the vectors of the first texts. A line `CALLERS COUNT` on standard
input asks for one measurement, whose answer is a line of JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path

from infinity_emb import AsyncEmbeddingEngine, EngineArgs
from infinity_emb.transformer.embedder import optimum as onnx_backend

_BATCH = 32
# Infinity 0.0.78 asks optimum 2 for the file by its path, where optimum compares names and finds none. It
# then says that its own optimisation of the network failed; ONNX Runtime optimises it when it is opened.
onnx_backend.get_onnx_files = lambda **_: Path("model.onnx")


async def texts_per_second(engine: AsyncEmbeddingEngine, texts: list[str], callers: int, count: int) -> float:
    """Rate of callers who each submit one text at a time."""
    left = iter(texts[number % len(texts)] for number in range(count))

    async def call() -> None:
        for text in left:
            await engine.embed(sentences=[text])

    began = time.perf_counter()
    await asyncio.gather(*(call() for _ in range(callers)))
    return count / (time.perf_counter() - began)


async def serve(texts: list[str], model: str, name: str) -> None:
    """Serve measurements until standard input ends."""
    arguments = EngineArgs(
        model_name_or_path=model,
        engine=name,
        device="cpu",
        batch_size=_BATCH,
        bettertransformer=False,
        model_warmup=False,
        pooling_method="mean",
    )
    engine = AsyncEmbeddingEngine.from_args(arguments)
    async with engine:
        vectors, _ = await engine.embed(sentences=texts[:16])
        answer(json.dumps({"backend": name, "vectors": [list(map(float, vector)) for vector in vectors]}))
        while line := await asyncio.to_thread(sys.stdin.readline):
            callers, count = map(int, line.split())
            answer(json.dumps({"per_second": await texts_per_second(engine, texts, callers, count)}))


def answer(line: str) -> None:
    """Write a line to the standard output that infinity's own messages do not use."""
    print(line, file=_ANSWERS, flush=True)


_ANSWERS = sys.stdout
if __name__ == "__main__":
    sys.stdout = sys.stderr
    asyncio.run(serve(json.loads(Path(sys.argv[1]).read_text()), sys.argv[2], sys.argv[3]))
