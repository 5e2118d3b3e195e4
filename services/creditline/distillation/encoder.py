"""The encoder: an MLP on joined features (towers and layout) whose cosine is high where influence is
(arXiv 2511.10721, § 3).

A linear path runs beside the MLP. It starts as the features' principal directions, which keep their
cosine, and the MLP's output starts at zero: before training the encoder ranks as the raw features do.
"""

from __future__ import annotations

import enum
import itertools
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from creditline.errors import FingerprintMismatch, NotReady

WIDTH = 256
_FEATURES_PER_FORWARD = 4096


class Side(enum.Enum):
    """Which of the two is encoded: a generated picture with its prompt, or a work with its caption."""

    QUERY = "query"
    WORK = "work"


@dataclass(frozen=True)
class EncoderShape:
    """Sizes of the encoder; `hidden` units in each of `layers` hidden layers (the paper's 768 × 3)."""

    features: int
    width: int = WIDTH
    hidden: int = 768
    layers: int = 3
    dropout: float = 0.1


@dataclass(frozen=True, eq=False)
class Projection:
    """What the linear path starts as: features @ weight.T + bias. weight: (width, F); bias.

    (width,), float32.
    """

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]

    @classmethod
    def principal(
        cls, features: NDArray[np.float32], width: int, *, scales: NDArray[np.float32], centred: bool
    ) -> Projection:
        """The directions that keep the dot products of scaled features best.

        features: (M, F); scales: (F,), how much each feature counts; centred: whether their mean is taken
        off first. Where there are fewer than `width` directions the rest is zero.
        """
        scaled = features * scales
        mean = scaled.mean(axis=0) if centred else np.zeros_like(scaled[0])
        directions = _principal_directions((scaled - mean).astype(np.float64))[:width]
        weight = np.zeros((width, features.shape[1]))
        weight[: len(directions)] = directions
        return cls((weight * scales).astype(np.float32), -(weight @ mean).astype(np.float32))


def _principal_directions(features: NDArray[np.float64]) -> NDArray[np.float64]:
    """Orthogonal directions by falling variance, as rows: (min(M, F), F) of features (M, F)."""
    if len(features) < features.shape[1]:
        return np.linalg.svd(features, full_matrices=False)[2]
    # Cheaper than the decomposition of many rows, and exact enough for a start.
    return np.linalg.eigh(features.T @ features)[1][:, ::-1].T


class Encoder(nn.Module):
    """(image, text) features → unit vector. Query and work share all weights.

    The side is told all the same.
    """

    def __init__(self, shape: EncoderShape) -> None:
        super().__init__()
        self.shape = shape
        self.normalise = nn.LayerNorm(shape.features)
        sizes = [shape.features, *[shape.hidden] * shape.layers]
        blocks: list[nn.Module] = []
        for size_in, size_out in itertools.pairwise(sizes):
            blocks += [nn.Linear(size_in, size_out), nn.ReLU(), nn.Dropout(shape.dropout)]
        self.hidden = nn.Sequential(*blocks)
        self.output = nn.Linear(shape.hidden, shape.width)
        self.linear = nn.Linear(shape.features, shape.width)

    @classmethod
    def initial(cls, shape: EncoderShape, projection: Projection, *, seed: int) -> Encoder:
        """Fresh weights.

        Xavier in the hidden layers, zero in the MLP's output, the projection in the linear path.
        """
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            encoder = cls(shape)
            for module in encoder.hidden:
                if isinstance(module, nn.Linear):
                    nn.init.xavier_uniform_(module.weight)
                    nn.init.zeros_(module.bias)
        with torch.no_grad():
            encoder.output.weight.zero_()
            encoder.output.bias.zero_()
            encoder.linear.weight.copy_(torch.from_numpy(projection.weight))
            encoder.linear.bias.copy_(torch.from_numpy(projection.bias))
        return encoder

    def forward(self, features: Tensor, side: Side) -> Tensor:
        """features: (B, F) float32; returns (B, width) float32, rows of length 1."""
        del side  # In this form query and work are encoded alike.
        encoded = self.linear(features) + self.output(self.hidden(self.normalise(features)))
        return nn.functional.normalize(encoded, dim=-1)

    @torch.inference_mode()
    def encode_features(self, features: NDArray[np.float32], side: Side) -> NDArray[np.float32]:
        """As `forward`, from numpy to numpy, without dropout."""
        was_training = self.training
        self.eval()
        parts = torch.from_numpy(np.ascontiguousarray(features, dtype=np.float32)).split(
            _FEATURES_PER_FORWARD
        )
        vectors: NDArray[np.float32] = torch.cat([self(part, side) for part in parts]).numpy()
        self.train(was_training)
        return vectors

    def rounded(self) -> Encoder:
        """The same encoder with the weights of a saved one: float16 numbers, computed in float32."""
        return self.half().float().eval()

    def save(self, path: Path) -> None:
        """Write weights (float16) and shape to one safetensors file."""
        # One entry: safetensors writes several in another order each time, which would change the hash.
        metadata = {"shape": json.dumps(asdict(self.shape))}
        save_file(
            {name: value.half().contiguous() for name, value in self.state_dict().items()}, path, metadata
        )
        path.chmod(0o644)  # safetensors would keep it from every other user

    @classmethod
    def load(cls, path: Path) -> Encoder:
        """Read what `save` wrote. Raises NotReady, FingerprintMismatch."""
        if not path.is_file():
            raise NotReady(
                f"no encoder at {path}; build a release with `creditline release build`", field="encoder"
            )
        with safe_open(path, framework="pt") as opened:
            metadata = opened.metadata() or {}
            state = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        try:
            encoder = cls(EncoderShape(**json.loads(metadata["shape"])))
            encoder.load_state_dict(state)
        except (KeyError, ValueError, TypeError, RuntimeError) as error:
            raise FingerprintMismatch(
                f"{path} does not hold an encoder's weights ({error})", field="encoder"
            ) from error
        return encoder.eval()
