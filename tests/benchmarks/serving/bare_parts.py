"""What one answer must do at the least, with nothing around it: the bare limit of the gateway's speed."""

from __future__ import annotations

import io
import json
import sqlite3
import time
from pathlib import Path

import torch
from PIL import Image
from qdrant_client import QdrantClient

from creditline.encoder.model import EmbedderModel, EmbedItem, Side
from creditline.release import reference_release_directory
from creditline.towers.spec import TowerSpec

_TOP = 10
_SEARCHED = 2 * _TOP + 10
_EMBEDDER_PIXELS = (512, 512)


class BareParts:
    """Decode and resize, forward pass, index query and one durable insert, called in turn.

    Args:
        qdrant: Address of Qdrant's gRPC.
        collection: The collection to search.
        ledger: File of a database that is made here.
        threads: Threads of the forward pass, as many as the embedder has.
    """

    def __init__(self, qdrant: str, collection: str, ledger: Path, threads: int) -> None:
        torch.set_num_threads(threads)
        self._model = EmbedderModel.open(reference_release_directory(), TowerSpec("embedded"))
        torch.set_num_threads(1)
        host, _, port = qdrant.rpartition(":")
        self._qdrant = QdrantClient(host=host, grpc_port=int(port), prefer_grpc=True)
        self._collection = collection
        self._ledger = sqlite3.connect(ledger, isolation_level=None)
        self._ledger.execute("PRAGMA journal_mode = WAL")
        self._ledger.execute("PRAGMA synchronous = FULL")
        self._ledger.execute("CREATE TABLE answers (id INTEGER PRIMARY KEY, picture BLOB, answer TEXT)")

    def __call__(self, picture: bytes, prompt: str) -> float:
        """Make one answer. Returns the time that it took, in milliseconds."""
        began = time.perf_counter()
        with Image.open(io.BytesIO(picture)) as opened:
            decoded = opened.convert("RGB")
            decoded.thumbnail(_EMBEDDER_PIXELS)
        item = self._model.prepared(EmbedItem(decoded, prompt, Side.QUERY))
        vector = self._model.forward([item])[0].vector.tolist()
        found = self._qdrant.query_points(self._collection, query=vector, limit=_SEARCHED).points
        answer = json.dumps([[point.payload, point.score] for point in found], default=str)
        self._ledger.execute("INSERT INTO answers (picture, answer) VALUES (?, ?)", (picture, answer))
        return (time.perf_counter() - began) * 1e3

    def rate(self, queries: list[tuple[bytes, str]], batch: int) -> float:
        """Pairs per second of forward passes alone, in batches of pictures that are decoded before."""
        items = [self._model.prepared(self._item(*query)) for query in queries]
        began = time.perf_counter()
        for start in range(0, len(items), batch):
            self._model.forward(items[start : start + batch])
        return len(items) / (time.perf_counter() - began)

    @staticmethod
    def _item(picture: bytes, prompt: str) -> EmbedItem:
        return EmbedItem(Image.open(io.BytesIO(picture)).convert("RGB"), prompt, Side.QUERY)

    def close(self) -> None:
        """Close the connections."""
        self._qdrant.close()
        self._ledger.close()
