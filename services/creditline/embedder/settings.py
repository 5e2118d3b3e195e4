"""The embedder's settings, from `CREDITLINE_EMBEDDER_*` and `CREDITLINE_RELEASE_DIRECTORY`."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from creditline.device_setting import AUTO, DeviceSetting
from creditline.release import reference_release_directory
from creditline.settings import Port, ServiceSettings


class EmbedderSettings(ServiceSettings):
    """Where the embedder listens, what it loads, and how it batches; port 0 takes a free one.

    `device`: where towers and encoder run: `auto`, `cpu`, `cuda` or `cuda:N` (`creditline.devices`).
    `embedder_towers`: `embedded`, `NAME@CHECKPOINT` (an open_clip name and a local file) or a directory.
    `embedder_queue`: pictures that may wait; `embedder_max_wait_ms`: how long the first of a batch waits.
    `embedder_connection_age_seconds`: a client's connection is closed after it, give or take 10 %, when its
    calls have ended; the client then resolves the embedder's name again and finds added replicas.
    """

    device: DeviceSetting = AUTO
    embedder_host: str = "127.0.0.1"
    embedder_port: Port = 7200
    embedder_metrics_port: Port = 7290
    embedder_towers: str = "embedded"
    embedder_max_batch: int = Field(default=16, ge=1, le=1024)
    embedder_max_wait_ms: float = Field(default=2.0, ge=0, le=1000)
    embedder_queue: int = Field(default=256, ge=1, le=65536)
    embedder_stop_grace_seconds: float = Field(default=5.0, ge=0, le=600)
    embedder_connection_age_seconds: float = Field(default=30.0, gt=0, le=86_400)
    release_directory: Path = Field(default_factory=reference_release_directory)
