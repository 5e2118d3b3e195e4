"""What a run's release needs beside its encoder, and the places under which its manifest names that."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from creditline.distillation.run_config import RunConfig
from creditline.release import CORPUS_FILE, TEACHER_DIRECTORY
from creditline.release.parts import CORPUS, GENERATOR, TEACHER, TOWERS, adapter_place, place_in, tower_place


@dataclass(frozen=True)
class ReleaseNeeds:
    """The needs of the release of one configuration, in the directory that it is written to."""

    config: RunConfig
    """The configuration."""
    directory: Path
    """Directory of the release."""

    @property
    def has_own_corpus(self) -> bool:
        """Whether the works are published with the release: all but the reference corpus."""
        return bool(self.config.corpus or self.config.work_features)

    @property
    def has_own_teacher(self) -> bool:
        """Whether the run prepares the teacher's statistics; those of the reference are in the package."""
        return self.config.generator is not None

    def places(self) -> dict[str, str]:
        """Place of each part by name; empty for a release of the reference corpus, generator and towers."""
        if self.config.is_of_reference:
            return {}
        places = {TOWERS: tower_place(self.directory, self.config.towers)}
        if self.has_own_corpus:
            places[CORPUS] = CORPUS_FILE
        if self.config.generator is not None:
            places[GENERATOR] = place_in(self.directory, self.config.generator)
        if self.has_own_teacher:
            places[TEACHER] = TEACHER_DIRECTORY
        return places

    def adapters(self) -> tuple[str, ...]:
        """The generator's adapters, `FILE` or `FILE:strength`, with places like those of `places`."""
        return tuple(adapter_place(self.directory, adapter) for adapter in self.config.adapters)
