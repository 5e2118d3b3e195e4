"""Settings of the local stack, from environment variables with the prefix `CREDITLINE_`."""

from __future__ import annotations

from pathlib import Path

from creditline.device_setting import AUTO, DeviceSetting
from creditline.settings import ServiceSettings


class LocalSettings(ServiceSettings):
    """Settings of the local stack. Other variables for its services are passed on to them unchanged."""

    state_directory: Path = Path(".creditline/local")
    """Directory of the stack's state, logs and data."""
    release_directory: Path | None = None
    """The release to serve; empty: the release in the package."""
    generator_directory: Path | None = None
    """The generator's pipeline; empty: the one that the release names. The packaged release's reference
    generator is assembled in the state directory."""
    generator_adapters: str = ""
    """LoRA adapters merged into `generator_directory`, each FILE or FILE:strength, separated by commas; those
    of the release's generator are named by the release."""
    corpus_file: Path | None = None
    """Source of the corpus; empty: the one that the release names."""
    teacher_artifacts: Path | None = None
    """Directory of the teacher's statistics; empty: those that the release names."""
    api_keys: str = ""
    """API keys of the gateway, separated by commas; empty: one random key."""
    device: DeviceSetting = AUTO
    """Device of the embedder's and the teacher's models: `auto`, `cpu`, `cuda` or `cuda:N`."""
