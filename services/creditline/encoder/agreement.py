"""Agreement of a picture with its prompt: how usual the pair is among a generator's pictures.

A prompt is the caller's word, and an encoder believes it. Two views of a pair are summed:

- *correlation*: the cosine of picture and prompt after regularised canonical correlation analysis of training
  pairs (Vinod, "Canonical ridge and econometrics of joint production", 1976), which sees general relations;
- *memory*: how far the works that look like the picture are those whose captions read like the prompt, which
  sees the corpus.

An agreement is the part of genuine pairs, held out from the fit, that agree less: 0.03 means that three
genuine pairs in a hundred look as odd. It says nothing about who is owed.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError

from creditline.corpus.directions import unit_rows
from creditline.encoder.belonging import refuse_other_encoder
from creditline.errors import FingerprintMismatch, InvalidInput, NotReady
from creditline.tensor_files import read_arrays, write_arrays
from creditline.towers.parts import Parts

Rows = NDArray[np.float32]

MIN_PAIRS = 32
"""Least number of genuine pairs that an agreement can be fitted and stated on."""
MOST_REMEMBERED = 4096
"""Largest number of works that an agreement remembers; of a larger corpus, a sample."""
# Chosen on training queries of the reference release; nearby values do as well.
_DIRECTIONS = 128
_REGULARISATION = 1.0
_REMEMBERED_DIMENSIONS = 128
# Scales of cosines in the memory, of pictures and of texts.
_PICTURE_TEMPERATURE, _TEXT_TEMPERATURE = 0.07, 0.05
_LEAST = 1e-30
_VIEWS = 2
_MATRICES = ("picture_map", "text_map", "picture_basis", "text_basis", "pictures", "captions")
_VECTORS = ("picture_mean", "text_mean", "scales", "genuine")


@dataclass(frozen=True, eq=False)
class PromptAgreement:
    """Agreement of pairs, from joined features of the towers."""

    parts: Parts
    """Dimensions of the parts of the features."""
    picture_mean: Rows
    """(P,), mean of pictures' features."""
    text_mean: Rows
    """(T,), mean of texts' features."""
    picture_map: Rows
    """(P, K), map of pictures into the common space."""
    text_map: Rows
    """(T, K), map of texts into the common space."""
    picture_basis: Rows
    """(P, D), basis in which remembered pictures are compared."""
    text_basis: Rows
    """(T, D), basis in which remembered captions are compared."""
    pictures: Rows
    """(M, D), pictures of remembered works."""
    captions: Rows
    """(M, D), captions of remembered works."""
    scales: NDArray[np.float64]
    """(2,), deviations of both views over genuine pairs."""
    genuine: NDArray[np.float64]
    """(H,), ascending sums of both views of genuine pairs that the fit has not seen."""
    encoder: str = ""
    """SHA-256 of the encoder's file whose release it was fitted for; empty: not stated."""

    @classmethod
    def of(
        cls,
        training: Rows,
        works: Rows,
        held_out: Rows,
        parts: Parts,
        *,
        seed: int,
        remembered: int = MOST_REMEMBERED,
    ) -> Self:
        """Fit on pairs of a generator's pictures with their prompts, and of works with their captions.

        Args:
            training: (Q, F) joined features of training queries.
            works: (N, F) joined features of works.
            held_out: (H, F) joined features of other queries, which give scales and the genuine agreements.
            parts: Dimensions of the parts of F.
            seed: Seed of the sample of works.
            remembered: Largest number of works that are used; of more, a sample is.

        Raises:
            InvalidInput: There are fewer than `MIN_PAIRS` training or held-out pairs.
        """
        for name, pairs in (("training", training), ("held-out", held_out)):
            if len(pairs) < MIN_PAIRS:
                raise InvalidInput(
                    f"{len(pairs)} {name} pairs are too few to fit the agreement of pictures with prompts;"
                    f" label at least {MIN_PAIRS}",
                    field="queries",
                )
        chosen = np.random.default_rng(seed).permutation(len(works))[:remembered]
        kept = works[np.sort(chosen)]
        pairs = np.concatenate([training, kept])
        pictures, texts = _pictures(pairs, parts), _texts(pairs, parts)
        picture_mean, text_mean = pictures.mean(axis=0), texts.mean(axis=0)
        picture_map, text_map = _correlated(pictures - picture_mean, texts - text_mean)
        shown = unit_rows(_pictures(kept, parts) - picture_mean)
        read = unit_rows(_texts(kept, parts) - text_mean)
        picture_basis, text_basis = _basis(shown), _basis(read)
        unscaled = cls(
            parts,
            picture_mean,
            text_mean,
            picture_map,
            text_map,
            picture_basis,
            text_basis,
            shown @ picture_basis,
            read @ text_basis,
            np.ones(_VIEWS),
            np.zeros(1),
        )
        return unscaled.calibrated(held_out)

    def calibrated(self, genuine: Rows) -> Self:
        """The same agreement with scales and quantiles of other genuine pairs: (H, F)."""
        views = self._views(genuine, genuine)
        scales = np.maximum(views.std(axis=1), 1e-12)
        return replace(self, scales=scales, genuine=np.sort((views / scales[:, None]).sum(axis=0)))

    def agreement(self, pictures: Rows, texts: Rows) -> NDArray[np.float64]:
        """Part of genuine pairs that agree less than each pair: (B,) in [0, 1].

        Args:
            pictures: (B, F) joined features whose pictures are taken.
            texts: (B, F) joined features whose texts are taken.
        """
        sums = (self._views(pictures, texts) / self.scales[:, None]).sum(axis=0)
        below: NDArray[np.float64] = np.searchsorted(self.genuine, sums) / len(self.genuine)
        return below

    def _views(self, pictures: Rows, texts: Rows) -> NDArray[np.float64]:
        """Correlation and memory of pairs: (2, B)."""
        shown, read = _pictures(pictures, self.parts), _texts(texts, self.parts)
        shown, read = shown - self.picture_mean, read - self.text_mean
        return np.stack([self._correlation(shown, read), self._memory(shown, read)])

    def _correlation(self, pictures: Rows, texts: Rows) -> NDArray[np.float64]:
        common = unit_rows(pictures @ self.picture_map) * unit_rows(texts @ self.text_map)
        return common.sum(axis=1, dtype=np.float64)

    def _memory(self, pictures: Rows, texts: Rows) -> NDArray[np.float64]:
        """Logarithm of the overlap of the works that each side brings to mind."""
        seen = _attention(unit_rows(pictures) @ self.picture_basis @ self.pictures.T / _PICTURE_TEMPERATURE)
        told = _attention(unit_rows(texts) @ self.text_basis @ self.captions.T / _TEXT_TEMPERATURE)
        overlap = np.log((seen * told).sum(axis=1) + _LEAST)
        alone = np.log((seen * seen).sum(axis=1)) + np.log((told * told).sum(axis=1))
        memory: NDArray[np.float64] = overlap - alone / 2.0
        return memory

    def save(self, path: Path) -> None:
        """Write the agreement to one safetensors file, its matrices in half precision."""
        arrays = {name: getattr(self, name).astype(np.float16) for name in _MATRICES}
        exact = {name: getattr(self, name) for name in _VECTORS}
        metadata = {"parts": json.dumps(asdict(self.parts)), "encoder": self.encoder}
        write_arrays(path, {**arrays, **exact}, metadata)

    @classmethod
    def load(cls, path: Path, *, encoder: str | None = None) -> Self:
        """Read an agreement that `save` wrote.

        Args:
            path: The file.
            encoder: SHA-256 of the encoder's file that it must belong to; None: not checked.

        Raises:
            NotReady: There is no file at the path.
            FingerprintMismatch: The file does not hold an agreement, or that of another encoder.
        """
        if not path.is_file():
            raise NotReady(
                f"there is no agreement of pictures with prompts at {path}; build the release again",
                field="agreement",
            )
        try:
            arrays, metadata = read_arrays(path)
            matrices: dict[str, Any] = {name: arrays[name].astype(np.float32) for name in _MATRICES}
            exact: dict[str, Any] = {name: arrays[name] for name in _VECTORS}
            stated = metadata.get("encoder", "")
            found = cls(Parts(**json.loads(metadata["parts"])), **matrices, **exact, encoder=stated)
        except (SafetensorError, KeyError, TypeError, ValueError, OSError) as error:
            raise FingerprintMismatch(
                f"{path} does not hold an agreement of pictures with prompts ({error}); build the release"
                " again",
                field="agreement",
            ) from error
        refuse_other_encoder(path, found.encoder, encoder)
        return found


def _pictures(features: Rows, parts: Parts) -> Rows:
    """What is known of pictures: (B, image + layout)."""
    where = parts.slices()
    return np.concatenate([features[:, where["image"]], features[:, where["layout"]]], axis=1)


def _texts(features: Rows, parts: Parts) -> Rows:
    return features[:, parts.slices()["text"]]


def _correlated(pictures: Rows, texts: Rows) -> tuple[Rows, Rows]:
    """Maps of centred pictures (N, P) and texts (N, T) into the space of their canonical correlations."""
    whitened_pictures, whitened_texts = _whitening(pictures), _whitening(texts)
    across = whitened_pictures @ (pictures.T @ texts / len(pictures)) @ whitened_texts
    left, correlations, right = np.linalg.svd(across, full_matrices=False)
    kept = np.sqrt(correlations[:_DIRECTIONS])
    return whitened_pictures @ left[:, : len(kept)] * kept, whitened_texts @ right[: len(kept)].T * kept


def _whitening(rows: Rows) -> Rows:
    """Inverse root of the covariance of centred rows, plus a multiple of its mean eigenvalue: (D, D)."""
    covariance = rows.T @ rows / len(rows)
    values, vectors = np.linalg.eigh(covariance)
    damped = np.maximum(values, 0.0) + max(_REGULARISATION * float(values.mean()), 1e-12)
    whitening: Rows = (vectors / np.sqrt(damped)) @ vectors.T
    return whitening


def _basis(rows: Rows) -> Rows:
    """First right singular vectors of rows: (D, at most `_REMEMBERED_DIMENSIONS`)."""
    return np.linalg.svd(rows, full_matrices=False)[2][:_REMEMBERED_DIMENSIONS].T


def _attention(scores: NDArray[np.floating]) -> NDArray[np.float64]:
    """Softmax of each row."""
    weights = np.exp((scores - scores.max(axis=1, keepdims=True)).astype(np.float64))
    return weights / weights.sum(axis=1, keepdims=True)
