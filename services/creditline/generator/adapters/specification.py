"""Which adapters are merged into a generator, as options and configurations state it: `FILE[:strength]`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from creditline.errors import InvalidInput


@dataclass(frozen=True)
class AdapterSpec:
    """One adapter and its strength."""

    path: Path
    """A `.safetensors` or `.bin` file, or a directory that peft or diffusers saved."""
    strength: float = 1.0
    """Factor of the adapter's change of the weights; negative: the change is subtracted."""

    def __str__(self) -> str:
        return str(self.path) if self.strength == 1.0 else f"{self.path}:{self.strength!r}"

    def absolute(self) -> AdapterSpec:
        """The same adapter with an absolute path."""
        return AdapterSpec(self.path.resolve(), self.strength)

    @classmethod
    def parse(cls, text: str) -> AdapterSpec:
        """Read `FILE` or `FILE:strength`.

        Args:
            text: The specification; a file whose own name ends in a colon and a number is found as a file.

        Raises:
            InvalidInput: The strength is 0 or not finite: at 0 the generator would be the base under another
                fingerprint.
        """
        place, colon, suffix = text.rpartition(":")
        strength = _number(suffix) if colon and not Path(text).exists() else None
        if strength is None:
            return cls(Path(text))
        if strength == 0.0 or not math.isfinite(strength):
            raise InvalidInput(
                f"strength {suffix} of adapter {place} changes no weight or every weight beyond use; give a"
                " finite number other than 0, or leave the adapter out",
                field="adapters",
            )
        return cls(Path(place), strength)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
