"""What the local stack is told by the environment: prefix `CREDITLINE_`."""

from __future__ import annotations

from pathlib import Path

from creditline.device_setting import AUTO, DeviceSetting
from creditline.settings import ServiceSettings


class LocalSettings(ServiceSettings):
    """All defaults work on one machine. What is set for a service is passed on to it unchanged.

    An empty `release_directory` means the release in the package, an empty `generator_directory` that the
    reference generator is put together in the state directory, an empty `corpus_file` the embedded corpus,
    empty `api_keys` that one is made up. `device`: where the embedder's and the teacher's models run.
    """

    state_directory: Path = Path(".creditline/local")
    release_directory: Path | None = None
    generator_directory: Path | None = None
    corpus_file: Path | None = None
    api_keys: str = ""
    device: DeviceSetting = AUTO
