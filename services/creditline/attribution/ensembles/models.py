"""Ensembles of models: one method over checkpoints of a training run (TracIn) or over seeds (D-TRAK)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from safetensors.torch import load_file

from creditline.attribution.attributor import Attributor, Gallery
from creditline.errors import InvalidInput, NotReady
from creditline.generator.pipeline import Generator

Used = TypeVar("Used")


@dataclass(frozen=True)
class Member:
    """One model of an ensemble."""

    weights: Path | None
    """Safetensors file of the UNet's weights; None: the weights that the generator was opened with."""
    factor: float = 1.0
    """Weight of the model's scores in the ensemble's mean."""


@contextmanager
def loaded_weights(generator: Generator, weights: Path | None) -> Iterator[None]:
    """Context in which the generator has other UNet weights and a fingerprint that names them.

    Args:
        generator: The generator, restored afterwards.
        weights: Safetensors file of the UNet's weights; None: no change.

    Raises:
        NotReady: There is no such file.
    """
    if weights is None:
        yield
        return
    if not weights.is_file():
        raise NotReady(f"there are no weights at {weights}; train that model first", field="weights")
    before = {name: value.clone() for name, value in generator.unet.state_dict().items()}
    fingerprint = generator.fingerprint
    try:
        generator.unet.load_state_dict({name: value.float() for name, value in load_file(weights).items()})
        digest = hashlib.sha256(weights.read_bytes()).hexdigest()
        generator.fingerprint = f"{fingerprint} with unet {digest[:16]}"
        yield
    finally:
        generator.unet.load_state_dict(before)
        generator.fingerprint = fingerprint


class Ensemble(Attributor):
    """Weighted mean of a method's scores over several models, each with a subdirectory for its artifacts.

    Args:
        name: Name of the ensemble.
        generator: The generator that the models' weights are loaded into.
        members: The models by name, which also names the subdirectory.
        make: Creates the method for the weights that are loaded when it is called.

    Raises:
        InvalidInput: The factors of the members sum to 0.
    """

    def __init__(
        self,
        name: str,
        generator: Generator,
        members: Mapping[str, Member],
        make: Callable[[], Attributor],
    ) -> None:
        if not sum(member.factor for member in members.values()):
            raise InvalidInput(
                f"the factors of the models of {name} sum to 0, so that its mean is not defined; give a model"
                " with a learning rate above 0",
                field="factor",
            )
        self.name = name
        self._generator = generator
        self._members = dict(members)
        self._make = make
        self._prepared: dict[str, Attributor] = {}

    def prepare(self, works: Gallery, directory: Path) -> None:
        for name, member in self._members.items():
            with loaded_weights(self._generator, member.weights):
                method = self._prepared.get(name) or self._make()
                method.prepare(works, directory / name)
                self._prepared[name] = method
        self.bytes_per_work = sum(method.bytes_per_work for method in self._prepared.values())

    def each(self, use: Callable[[Attributor], Used]) -> dict[str, Used]:
        """What a function returns for the method of each model, called with that model's weights loaded.

        Args:
            use: Receives a prepared method.

        Raises:
            NotReady: `prepare` was not called.
        """
        if not self._prepared:
            raise NotReady(f"{self.name} is not prepared; call prepare with the works first")
        found = {}
        for name, method in self._prepared.items():
            with loaded_weights(self._generator, self._members[name].weights):
                found[name] = use(method)
        return found

    def scores(self, queries: Gallery) -> NDArray[np.float64]:
        parts = self.each(lambda method: method.scores(queries))
        self.passes_per_query = sum(method.passes_per_query for method in self._prepared.values())
        weighted = [self._members[name].factor * values for name, values in parts.items()]
        total: NDArray[np.float64] = np.sum(weighted, axis=0)
        return total / sum(member.factor for member in self._members.values())
