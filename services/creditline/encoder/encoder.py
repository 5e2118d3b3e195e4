"""The encoder: an MLP on joined features (towers and layout) whose cosine is high where influence is
(arXiv 2511.10721, § 3).

A linear path runs beside the MLP. It starts as the features' principal directions, which keep their
cosine, and the MLP's output starts at zero: before training the encoder ranks as the raw features do.
"""

from __future__ import annotations

import enum
import itertools
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from torch import Tensor, nn

from creditline.devices import device_of
from creditline.errors import FingerprintMismatch, NotReady
from creditline.tensor_files import write_tensors

WIDTH = 256
_FEATURES_PER_FORWARD = 4096


class Side(enum.Enum):
    """Which of the two is encoded: a generated picture with its prompt, or a work with its caption."""

    QUERY = "query"
    WORK = "work"


@dataclass(frozen=True)
class EncoderShape:
    """Sizes of the encoder; `hidden` units in each of `layers` hidden layers (the paper's 768 × 3).

    reduced: to how many fixed directions the features are reduced first, 0 for none; separate: whether query
    and work have heads of their own.
    """

    features: int
    width: int = WIDTH
    hidden: int = 768
    layers: int = 3
    dropout: float = 0.1
    reduced: int = 0
    separate: bool = False


@dataclass(frozen=True, eq=False)
class Projection:
    """What the linear path starts as: features @ weight.T + bias. weight: (width, F); bias.

    (width,), float32.
    """

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]

    @classmethod
    def first(cls, features: int, width: int) -> Projection:
        """Keeps the first `width` of so many features."""
        return cls(np.eye(width, features, dtype=np.float32), np.zeros(width, dtype=np.float32))

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


class SeededDropout(nn.Module):
    """Dropout whose mask is drawn on the processor, by torch's global generator there.

    The same seed then drops the same units on every device; on the processor it is `nn.Dropout`, number by
    number.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, values: Tensor) -> Tensor:
        """(…) -> (…): each number is 0 with the rate's probability, or divided by what is left of 1."""
        if not self.training or self.rate == 0.0:
            return values
        kept = torch.empty(values.shape, dtype=values.dtype).bernoulli_(1.0 - self.rate)
        return values * kept.div_(1.0 - self.rate).to(values.device)


class Head(nn.Module):
    """An MLP beside a linear path: (B, F) → (B, width), of any length."""

    def __init__(self, shape: EncoderShape) -> None:
        super().__init__()
        features = shape.reduced or shape.features
        self.normalise = nn.LayerNorm(features)
        sizes = [features, *[shape.hidden] * shape.layers]
        blocks: list[nn.Module] = []
        for size_in, size_out in itertools.pairwise(sizes):
            blocks += [nn.Linear(size_in, size_out), nn.ReLU(), SeededDropout(shape.dropout)]
        self.hidden = nn.Sequential(*blocks)
        self.output = nn.Linear(shape.hidden, shape.width)
        self.linear = nn.Linear(features, shape.width)

    def start(self, linear: Projection) -> None:
        """Xavier in the hidden layers, zero in the MLP's output, a projection in the linear path."""
        for module in self.hidden:
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        with torch.no_grad():
            self.output.weight.zero_()
            self.output.bias.zero_()
            self.linear.weight.copy_(torch.from_numpy(linear.weight))
            self.linear.bias.copy_(torch.from_numpy(linear.bias))

    def forward(self, features: Tensor) -> Tensor:
        encoded: Tensor = self.linear(features) + self.output(self.hidden(self.normalise(features)))
        return encoded


class Encoder(nn.Module):
    """(image, text) features → unit vector. Query and work share all weights unless they are separate."""

    def __init__(self, shape: EncoderShape) -> None:
        super().__init__()
        self.shape = shape
        self.reduce = (
            nn.Linear(shape.features, shape.reduced).requires_grad_(False) if shape.reduced else None
        )
        self.head = Head(shape)
        self.work_head = Head(shape) if shape.separate else None

    @classmethod
    def initial(cls, shape: EncoderShape, projection: Projection, *, seed: int) -> Encoder:
        """Fresh weights.

        projection: the linear path's start, or, where features are reduced, the fixed directions; the linear
        path then keeps the first of them.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            encoder = cls(shape)
            linear = projection
            if encoder.reduce is not None:
                with torch.no_grad():
                    encoder.reduce.weight.copy_(torch.from_numpy(projection.weight))
                    encoder.reduce.bias.copy_(torch.from_numpy(projection.bias))
                linear = Projection.first(shape.reduced, shape.width)
            encoder.head.start(linear)
            if encoder.work_head is not None:
                encoder.work_head.load_state_dict(encoder.head.state_dict())
        return encoder

    def directions(self, features: Tensor, side: Side) -> Tensor:
        """features: (B, F) float32; returns (B, width) float32, rows of any length."""
        reduced = features if self.reduce is None else self.reduce(features)
        head = self.work_head if side is Side.WORK and self.work_head is not None else self.head
        encoded: Tensor = head(reduced)
        return encoded

    def forward(self, features: Tensor, side: Side) -> Tensor:
        """features: (B, F) float32; returns (B, width) float32, rows of length 1."""
        return nn.functional.normalize(self.directions(features, side), dim=-1)

    def narrowed(self, width: int) -> Encoder:
        """The encoder of this one's first `width` numbers (which count most after a nested training)."""
        narrow = Encoder(replace(self.shape, width=width)).to(device_of(self))
        last = ("output.weight", "output.bias", "linear.weight", "linear.bias")
        state = self.state_dict()
        narrow.load_state_dict(
            {name: value[:width] if name.endswith(last) else value for name, value in state.items()}
        )
        return narrow.train(self.training)

    @torch.inference_mode()
    def encode_features(self, features: NDArray[np.float32], side: Side) -> NDArray[np.float32]:
        """As `forward`, from numpy to numpy, without dropout."""
        was_training, device = self.training, device_of(self)
        self.eval()
        parts = torch.from_numpy(np.ascontiguousarray(features, dtype=np.float32)).split(
            _FEATURES_PER_FORWARD
        )
        encoded = torch.cat([self(part.to(device), side) for part in parts])
        vectors: NDArray[np.float32] = encoded.cpu().numpy()
        self.train(was_training)
        return vectors

    def rounded(self) -> Encoder:
        """The same encoder with the weights of a saved one: float16 numbers, computed in float32."""
        return self.half().float().eval()

    def save(self, path: Path) -> None:
        """Write weights (float16) and shape to one safetensors file."""
        # One entry: safetensors writes several in another order each time, which would change the hash.
        metadata = {"shape": json.dumps(asdict(self.shape))}
        write_tensors(path, {name: value.half() for name, value in self.state_dict().items()}, metadata)

    @classmethod
    def load(cls, path: Path) -> Encoder:
        """Read what `save` wrote, on the processor. Raises NotReady, FingerprintMismatch."""
        if not path.is_file():
            raise NotReady(
                f"no encoder at {path}; make a release with `creditline distill run`", field="encoder"
            )
        with safe_open(path, framework="pt") as opened:
            metadata = opened.metadata() or {}
            state = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        try:
            encoder = cls(EncoderShape(**json.loads(metadata["shape"])))
            if not any(name.startswith("head.") for name in state):
                # As releases up to openclipart-reference-5 were written.
                state = {f"head.{name}": value for name, value in state.items()}
            encoder.load_state_dict(state)
        except (KeyError, ValueError, TypeError, RuntimeError) as error:
            raise FingerprintMismatch(
                f"{path} does not hold an encoder's weights ({error})", field="encoder"
            ) from error
        return encoder.eval()
