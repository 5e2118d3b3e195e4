"""The encoder: an MLP on joined features, trained so that cosine is high where influence is.

The features are those of the towers and of the layout (arXiv 2511.10721, § 3). A linear path runs in parallel
with the MLP. It is initialised with the features' principal directions, which preserve their cosine, and the
MLP's output layer is initialised to zero: before training, the encoder ranks as the raw features do.
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
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from creditline.devices import device_of
from creditline.errors import FingerprintMismatch, NotReady
from creditline.tensor_files import write_tensors

WIDTH = 256
_FEATURES_PER_FORWARD = 4096


class Side(enum.Enum):
    """The kind of item that is encoded: a generated picture with its prompt, or a work with its caption."""

    QUERY = "query"
    WORK = "work"


@dataclass(frozen=True)
class EncoderShape:
    """Architecture of the encoder; the defaults of the MLP are the paper's."""

    features: int
    """Dimension of the joined features."""
    width: int = WIDTH
    """Dimension of the vectors."""
    hidden: int = 768
    """Units in each hidden layer."""
    layers: int = 3
    """Number of hidden layers."""
    dropout: float = 0.1
    """Dropout probability."""
    reduced: int = 0
    """Dimension of a fixed linear projection applied to the features first; 0: no projection."""
    separate: bool = False
    """Whether queries and works have separate heads."""


@dataclass(frozen=True, eq=False)
class Projection:
    """An affine projection, features @ weight.T + bias, that the linear path is initialised with."""

    weight: NDArray[np.float32]
    """(width, F) float32."""
    bias: NDArray[np.float32]
    """(width,) float32."""

    @classmethod
    def first(cls, features: int, width: int) -> Projection:
        """The projection onto the first `width` of `features` dimensions."""
        return cls(np.eye(width, features, dtype=np.float32), np.zeros(width, dtype=np.float32))

    @classmethod
    def principal(
        cls, features: NDArray[np.float32], width: int, *, scales: NDArray[np.float32], centred: bool
    ) -> Projection:
        """The principal directions, which preserve the dot products of scaled features best.

        Args:
            features: (M, F) float32.
            width: Number of directions; where there are fewer, the remaining rows are zero.
            scales: (F,) float32, the factor of each feature.
            centred: Whether the mean is subtracted first.
        """
        scaled = features * scales
        mean = scaled.mean(axis=0) if centred else np.zeros_like(scaled[0])
        directions = _principal_directions((scaled - mean).astype(np.float64))[:width]
        weight = np.zeros((width, features.shape[1]))
        weight[: len(directions)] = directions
        return cls((weight * scales).astype(np.float32), -(weight @ mean).astype(np.float32))


def _principal_directions(features: NDArray[np.float64]) -> NDArray[np.float64]:
    """Orthonormal directions as rows, by decreasing variance: features (M, F) -> (min(M, F), F)."""
    if len(features) < features.shape[1]:
        return np.linalg.svd(features, full_matrices=False)[2]
    # Cheaper than the SVD of many rows, and accurate enough for an initialisation.
    return np.linalg.eigh(features.T @ features)[1][:, ::-1].T


class SeededDropout(nn.Module):
    """Dropout whose mask is drawn on the CPU, by torch's global CPU generator.

    The same seed therefore drops the same units on every device; on the CPU the results equal those of
    `nn.Dropout`.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, values: Tensor) -> Tensor:
        """Set each value to 0 with probability `rate`, and divide the others by 1 - rate: (…) -> (…)."""
        if not self.training or self.rate == 0.0:
            return values
        kept = torch.empty(values.shape, dtype=values.dtype).bernoulli_(1.0 - self.rate)
        return values * kept.div_(1.0 - self.rate).to(values.device)


class Head(nn.Module):
    """An MLP in parallel with a linear path: (B, F) -> (B, width) float32, not normalised."""

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
        """Initialise the weights: Xavier in hidden layers, zero in the MLP's output, `linear` as given."""
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
        """The sum of both paths: (B, F) float32 -> (B, width) float32."""
        encoded: Tensor = self.linear(features) + self.output(self.hidden(self.normalise(features)))
        return encoded


class Encoder(nn.Module):
    """The distilled model: joined (image, layout, text) features -> unit vector.

    Queries and works share all weights unless the shape asks for separate heads.
    """

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
        """An encoder with initial weights.

        Args:
            shape: Architecture.
            projection: Initial linear path; where the features are reduced, the fixed projection, whose first
                `width` directions the linear path then keeps.
            seed: Seed of the hidden layers' weights.
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
        """Vectors before normalisation: features (B, F) float32 -> (B, width) float32."""
        reduced = features if self.reduce is None else self.reduce(features)
        head = self.work_head if side is Side.WORK and self.work_head is not None else self.head
        encoded: Tensor = head(reduced)
        return encoded

    def forward(self, features: Tensor, side: Side) -> Tensor:
        """L2-normalised vectors: features (B, F) float32 -> (B, width) float32."""
        return nn.functional.normalize(self.directions(features, side), dim=-1)

    def truncated(self, width: int) -> Encoder:
        """An encoder that gives the first `width` components of this one's vectors.

        After nested training these components carry most of the information.
        """
        narrow = Encoder(replace(self.shape, width=width)).to(device_of(self))
        last = ("output.weight", "output.bias", "linear.weight", "linear.bias")
        state = self.state_dict()
        narrow.load_state_dict(
            {name: value[:width] if name.endswith(last) else value for name, value in state.items()}
        )
        return narrow.train(self.training)

    @torch.inference_mode()
    def encode_features(self, features: NDArray[np.float32], side: Side) -> NDArray[np.float32]:
        """Encode numpy features in batches, without dropout.

        Args:
            features: (B, F) float32.
            side: Whether the features are of queries or of works.

        Returns:
            (B, width) float32, L2-normalised rows.
        """
        was_training, device = self.training, device_of(self)
        if was_training:
            # Setting the mode of each module costs as much as a small product, so never without need.
            self.eval()
        rows = np.ascontiguousarray(features, dtype=np.float32)
        encoded = [
            self(torch.from_numpy(rows[start : start + _FEATURES_PER_FORWARD]).to(device), side).cpu().numpy()
            for start in range(0, max(len(rows), 1), _FEATURES_PER_FORWARD)
        ]
        if was_training:
            self.train()
        return encoded[0] if len(encoded) == 1 else np.concatenate(encoded)

    def rounded(self) -> Encoder:
        """This encoder with weights rounded to float16, as saved ones have, and computed in float32."""
        return self.half().float().eval()

    def save(self, path: Path) -> None:
        """Write the weights (float16) and the shape to one safetensors file."""
        # One entry: safetensors writes several entries in varying order, which would change the hash.
        metadata = {"shape": json.dumps(asdict(self.shape))}
        write_tensors(path, {name: value.half() for name, value in self.state_dict().items()}, metadata)

    @classmethod
    def load(cls, path: Path) -> Encoder:
        """Read an encoder that `save` wrote, onto the CPU.

        Raises:
            NotReady: There is no file at the path.
            FingerprintMismatch: The file does not hold an encoder's weights.
        """
        if not path.is_file():
            raise NotReady(
                f"there is no encoder at {path}; build a release with `creditline distill run`",
                field="encoder",
            )
        try:
            with safe_open(path, framework="pt") as opened:
                metadata = opened.metadata() or {}
                state = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
            encoder = cls(EncoderShape(**json.loads(metadata["shape"])))
            if not any(name.startswith("head.") for name in state):
                # Releases up to openclipart-reference-5 name the parameters without this prefix.
                state = {f"head.{name}": value for name, value in state.items()}
            encoder.load_state_dict(state)
        except (SafetensorError, KeyError, ValueError, TypeError, RuntimeError) as error:
            raise FingerprintMismatch(
                f"{path} does not hold an encoder's weights ({error}); copy the release again",
                field="encoder",
            ) from error
        return encoder.eval()
