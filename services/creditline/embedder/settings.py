"""The embedder's settings, from `CREDITLINE_EMBEDDER_*` and `CREDITLINE_RELEASE_DIRECTORY`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from creditline.devices import AUTO, DeviceSetting
from creditline.errors import InvalidInput
from creditline.release import reference_release_directory

_Port = Annotated[int, Field(ge=0, le=65535)]


class EmbedderSettings(BaseSettings):
    """Where the embedder listens, what it loads, and how it batches; port 0 takes a free one.

    `device`: where towers and encoder run: `auto`, `cpu`, `cuda` or `cuda:N` (`creditline.devices`).
    `embedder_towers`: `embedded`, `NAME@CHECKPOINT` (an open_clip name and a local file) or a directory.
    `embedder_queue`: pictures that may wait; `embedder_max_wait_ms`: how long the first of a batch waits.
    """

    model_config = SettingsConfigDict(env_prefix="CREDITLINE_", env_ignore_empty=True)

    device: DeviceSetting = AUTO
    embedder_host: str = "127.0.0.1"
    embedder_port: _Port = 7200
    embedder_metrics_port: _Port = 7290
    embedder_towers: str = "embedded"
    embedder_max_batch: int = Field(default=16, ge=1, le=1024)
    embedder_max_wait_ms: float = Field(default=2.0, ge=0, le=1000)
    embedder_queue: int = Field(default=256, ge=1, le=65536)
    embedder_stop_grace_seconds: float = Field(default=5.0, ge=0, le=600)
    release_directory: Path = Field(default_factory=reference_release_directory)


def read_settings() -> EmbedderSettings:
    """Settings from the environment. Raises InvalidInput with one sentence per wrong value."""
    try:
        return EmbedderSettings()
    except ValidationError as error:
        sentences = [
            f"{_variable(wrong['loc'])} is {wrong['input']!r}: {wrong['msg']}" for wrong in error.errors()
        ]
        raise InvalidInput("; ".join(sentences), field="settings") from error


def _variable(location: tuple[int | str, ...]) -> str:
    return f"CREDITLINE_{location[0]}".upper() if location else "a setting"
