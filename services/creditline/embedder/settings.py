"""The embedder's settings, from `CREDITLINE_EMBEDDER_*` and `CREDITLINE_RELEASE_DIRECTORY`."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from creditline.credentials.settings import EmbedderTlsSettings
from creditline.device_setting import AUTO, DeviceSetting
from creditline.observability.settings import ObservedSettings
from creditline.release import reference_release_directory
from creditline.settings import Port, user_cache_directory


class EmbedderSettings(EmbedderTlsSettings, ObservedSettings):
    """Addresses, TLS, model and batch limits of the embedder."""

    device: DeviceSetting = AUTO
    """Device of towers and encoder: `auto`, `cpu`, `cuda` or `cuda:N` (see `creditline.devices`)."""
    embedder_host: str = "127.0.0.1"
    """Address on which gRPC and metrics are served."""
    embedder_port: Port = 7200
    """Port of gRPC; 0 picks a free one."""
    embedder_metrics_port: Port = 7290
    """Port of the metrics; 0 picks a free one."""
    embedder_towers: str = ""
    """The towers: `embedded`, `NAME@CHECKPOINT` (an open_clip name and a local file) or a directory; empty:
    those that the release names."""
    embedder_compiled: bool = True
    """Whether the towers run compiled on a CPU, as far as their check allows it; else by eager torch."""
    embedder_towers_cache: Path = Field(default_factory=lambda: user_cache_directory() / "towers")
    """Directory in which compiled towers are kept, about 100 MB for each pair of towers and each version; of
    those the last eight, as long as they are used every 30 days."""
    embedder_max_batch: int = Field(default=16, ge=1, le=1024)
    """Largest number of pictures in one forward pass."""
    embedder_max_wait_ms: float = Field(default=2.0, ge=0, le=1000)
    """Longest time that a batch with pictures of several calls waits for more, in milliseconds; a batch with
    those of only one call never waits."""
    embedder_queue: int = Field(default=256, ge=1, le=65536)
    """Largest number of queued pictures; more are refused."""
    embedder_stop_grace_seconds: float = Field(default=5.0, ge=0, le=600)
    """Time that running calls have to finish after a stop."""
    embedder_connection_age_seconds: float = Field(default=30.0, gt=0, le=86_400)
    """Age, give or take 10 %, at which a client's connection is closed once its calls have ended. The client
    then resolves the embedder's name again and finds new replicas."""
    release_directory: Path = Field(default_factory=reference_release_directory)
    """Directory of the release to serve."""
    embedder_reranks: bool = False
    """Whether the embedder also re-ranks works by a gradient of the release's generator, which is then
    loaded at the start; the release needs gradient rows."""
    embedder_rerank_queue: int = Field(default=8, ge=1, le=1024)
    """Largest number of queries that wait to be re-ranked, one at a time; more are refused."""
    generator_directory: Path | None = None
    """Pipeline of the generator for re-ranking; empty: the one that the release names (of the packaged
    release, the reference generator, assembled in the user's state directory)."""
    generator_adapters: str = ""
    """LoRA adapters merged into `generator_directory`, each FILE or FILE:strength, separated by commas; those
    of the release's generator are named by the release."""
