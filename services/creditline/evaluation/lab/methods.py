"""Every method that the lab scores, by name, as it is run there."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from creditline.attribution.attributor import Attributor, Gallery
from creditline.attribution.ensembles.consensus import Consensus, Sharpened
from creditline.attribution.ensembles.models import Ensemble, Member
from creditline.attribution.fisher.ekfac import fit_ekfac
from creditline.attribution.fisher.ekfac_store import stored_fisher
from creditline.attribution.gradients.parameters import ParameterChoice, chosen_layers
from creditline.attribution.methods.das import DiffusionAttributionScore
from creditline.attribution.methods.gradient_methods import (
    GradientCosine,
    GradientDot,
    GradientMethod,
    RenormalisedGradientDot,
    Trak,
)
from creditline.attribution.methods.gradient_rows import GradientRows, GradientSpace, Whitening
from creditline.attribution.methods.journey_trak import JourneyTrak
from creditline.attribution.methods.nda import (
    PUBLISHED,
    PUBLISHED_IN_PIXELS,
    SAME_PLACE,
    NonparametricAttribution,
)
from creditline.attribution.methods.similarity import FeatureSimilarity, PixelSimilarity, RandomScores
from creditline.attribution.methods.timestep_gradients import Normalised, TimestepGradients
from creditline.attribution.methods.trak import TrakDivisor
from creditline.attribution.unlearning.fast_teacher import FastUnlearning
from creditline.attribution.unlearning.forgetting import BoundedDescentAscent, NaturalAscent
from creditline.attribution.unlearning.methods import WORK_DRAWS, Unlearning
from creditline.errors import InvalidInput
from creditline.evaluation.lab.plan import LabPlan
from creditline.evaluation.lab.retraining.workshop import checkpoint_rates
from creditline.evaluation.lab.setting import LabSetting
from creditline.generator.losses import Draws
from creditline.towers.towers import Towers

_RANDOM_SEED = 1
_FISHER_DRAWS = Draws(timesteps=20, repeats=1, salt="attribution")
# Less than AbU+'s: chosen on the first subsets, beside 0.1 and 1.
_OWN_DAMPING = 0.01
_SHARPNESS = 4.0


@dataclass
class Workbench:
    """An open lab with what several methods share: towers, and gradients in the spaces asked for so far."""

    setting: LabSetting
    directory: Path
    # Of other models that a method looks at: `creditline lab remove` and `checkpoints` leave them there.
    lab: Path = Path("runs/lab")
    _rows: dict[GradientSpace, GradientRows] = field(default_factory=dict)

    @cached_property
    def towers(self) -> Towers:
        return Towers.open(device=str(self.setting.generator.device))

    def rows(self, space: GradientSpace) -> GradientRows:
        """Rows of the lab's works in a space; whitened ones share the plain ones of theirs."""
        if space not in self._rows:
            generator = self.setting.generator
            plain = None
            if space.whitening is not None and space.whitening.fitted == "rows":
                plain = self.rows(replace(space, whitening=None, compressed=0))
            rows = GradientRows(generator, space, plain)
            name = hashlib.sha256(repr(space).encode()).hexdigest()[:12]
            rows.prepare(self.setting.works, self.directory / f"space-{name}")
            self._rows[space] = rows
        return self._rows[space]


Maker = Callable[[Workbench], Attributor]


def _tower(name: str, parts: tuple[str, ...]) -> Maker:
    def features(bench: Workbench, gallery: Gallery) -> NDArray[np.float32]:
        towers = bench.towers
        found = {
            "image": lambda: towers.image_features(gallery.pictures).cpu().numpy(),
            "text": lambda: towers.text_features(gallery.prompts).cpu().numpy(),
        }
        rows = [found[part]() for part in parts]
        return np.concatenate([row / np.linalg.norm(row, axis=1, keepdims=True) for row in rows], axis=1)

    return lambda bench: FeatureSimilarity(name, lambda gallery: features(bench, gallery))


def _sharp_text(bench: Workbench) -> Attributor:
    return Sharpened("text-sharpened", METHODS["text"](bench), _SHARPNESS)


def _gradient(kind: type[GradientMethod], name: str, space: GradientSpace) -> Maker:
    return lambda bench: kind(name, bench.rows(space))


def _kernel(name: str, space: GradientSpace, regularisation: float, divisor: TrakDivisor = "one") -> Maker:
    return lambda bench: Trak(name, bench.rows(space), regularisation, divisor)


def _by_timestep(name: str, normalised: Normalised) -> Maker:
    return lambda bench: TimestepGradients(name, bench.setting.generator, normalised)


def _das(name: str, space: GradientSpace) -> Maker:
    return lambda bench: DiffusionAttributionScore(
        name, bench.setting.generator, bench.rows(space), _DAS_REGULARISATION
    )


def _journey(bench: Workbench) -> Attributor:
    setting = bench.setting
    return JourneyTrak(
        "journey-trak", setting.generator, bench.rows(_LOSS), _TRAK_REGULARISATION, setting.seeds
    )


def _d_trak_ensemble(bench: Workbench) -> Attributor:
    """D-TRAK of the generator and of three models of the same works from other seeds."""
    generator = bench.setting.generator
    models = {
        f"seed-{seed}": Member(bench.lab / "models" / f"without-nothing-{seed}.safetensors")
        for seed in (1, 2, 3)
    }
    return Ensemble(
        "d-trak-ensemble",
        generator,
        {"own": Member(None), **models},
        lambda: Trak("d-trak", GradientRows(generator, _OUTPUT), _D_TRAK_REGULARISATION),
    )


def _tracin(bench: Workbench) -> Attributor:
    """TracInCP: gradients' products at checkpoints of the training, by the learning rate there."""
    generator = bench.setting.generator
    checkpoints = {
        path.stem: Member(path, rate) for path, rate in checkpoint_rates(bench.lab, LabPlan()).items()
    }
    return Ensemble(
        "tracin", generator, checkpoints, lambda: GradientDot("dot", GradientRows(generator, _FEW_LOSS))
    )


def natural_ascent(
    bench: Workbench, parameters: ParameterChoice = "cross-attn", *, steps: int = 1, eigenbasis: bool = True
) -> Callable[[Gallery, Path], NaturalAscent]:
    """A natural-gradient step (AbU+'s, or AbU's without the eigenbasis); its Fisher is an artifact."""
    generator = bench.setting.generator

    def forgetting(works: Gallery, directory: Path) -> NaturalAscent:
        layers = chosen_layers(generator.unet, parameters)
        fisher = stored_fisher(
            directory / "fisher.safetensors",
            GradientSpace(parameters, draws=_FISHER_DRAWS).origin(generator.fingerprint, works.fingerprint),
            lambda: fit_ekfac(generator, works.examples, _FISHER_DRAWS, layers, eigenbasis=eigenbasis),
        )
        return NaturalAscent(fisher.to(generator.device), parameters, steps=steps)

    return forgetting


def _natural(
    name: str,
    parameters: ParameterChoice = "cross-attn",
    *,
    score: str = "difference",
    steps: int = 1,
    eigenbasis: bool = True,
    draws: Draws = WORK_DRAWS,
) -> Maker:
    return lambda bench: Unlearning(
        name,
        bench.setting.generator,
        natural_ascent(bench, parameters, steps=steps, eigenbasis=eigenbasis),
        score=score,
        draws=draws,
    )


def _fast(name: str, parameters: ParameterChoice = "cross-attn") -> Maker:
    return lambda bench: FastUnlearning(
        name, bench.setting.generator, natural_ascent(bench, parameters), parameters
    )


def _descent_ascent(name: str, *, score: str) -> Maker:
    def make(bench: Workbench) -> Attributor:
        return Unlearning(
            name,
            bench.setting.generator,
            lambda works, directory: BoundedDescentAscent(works.examples, _MUCS_LEARNING_RATE),
            score=score,
        )

    return make


# A tenth of the lab's training rate.
_MUCS_LEARNING_RATE = 8e-5
_LOSS = GradientSpace()
# One noise at each timestep, where a method needs many spaces or models.
_FEW_LOSS = GradientSpace(draws=_FISHER_DRAWS)
_OUTPUT = GradientSpace(measure="squared-l2")
_RELATIVE = GradientSpace(weighting="relative")
_EKFAC = GradientSpace(draws=_FISHER_DRAWS, whitening=Whitening())
_OWN = Whitening(_OWN_DAMPING, fitted="rows")
_OWN_NOISE = GradientSpace(whitening=_OWN)
# All of attention's projections at fewer draws, compressed: what a larger generator's labels can afford.
_FEW_DRAWS = Draws(timesteps=12, repeats=2, salt="attribution", mirrored=True)
_FEW_OWN_NOISE = GradientSpace("attn", draws=_FEW_DRAWS, whitening=_OWN, compressed=1 << 16)
_FEW_OUTPUT = GradientSpace("attn", measure="squared-l2", draws=_FEW_DRAWS, compressed=1 << 16)
_OWN_RELATIVE = GradientSpace(weighting="relative", whitening=_OWN)
# Each method's λ is the best of the grid on the choosing subsets (`creditline lab tune`).
_TRAK_REGULARISATION, _D_TRAK_REGULARISATION, _OWN_REGULARISATION = 0.5, 0.05, 0.2
_RENORMALISED_REGULARISATION = 1.0
_DAS_REGULARISATION = 0.05
# D-TRAK's other output functions, each chosen by `creditline lab tune` on the choosing subsets.
_OUTPUT_REGULARISATIONS = {"l1": 0.05, "l2": 0.1, "linf": 0.5, "mean": 0.02}

# Each member's weight, from `fitted_weights` on the committed record and scores; what got none is left out.
# "all" was offered one method of every kind, "gradients" only such as need no pass of the works: it labels.
CONSENSUSES = {
    "consensus": {"abu-plus-relative": 1.0, "influence-noise": 0.43, "d-trak": 0.51, "text-sharpened": 0.2},
    "consensus-fast": {"abu-plus-fast": 1.0, "influence-noise": 0.59, "d-trak": 0.7, "text-sharpened": 0.29},
    "consensus-gradients": {"influence-noise": 0.8, "d-trak": 0.68, "das": 1.0, "text-sharpened": 0.55},
    # The same for larger generators: attention only, fewer draws.
    "consensus-gradients-attn": {
        "influence-noise-attn": 0.94,
        "d-trak-attn": 1.0,
        "das-attn": 0.71,
        "text-sharpened": 0.32,
    },
    "consensus-all": {
        "abu-plus-relative": 1.0,
        "das": 0.51,
        "d-trak-ensemble": 0.53,
        "influence-noise": 0.26,
        "influence-relative": 0.1,
        "nda-same-place": 0.21,
    },
}


def _consensus(name: str) -> Maker:
    weights = CONSENSUSES[name]
    return lambda bench: Consensus(
        name, [METHODS[member](bench) for member in weights], tuple(weights.values())
    )


def method_named(name: str) -> Maker:
    """Raises InvalidInput for a name that is none of `METHODS`."""
    if name not in METHODS:
        raise InvalidInput(f"method {name!r} is none of {', '.join(METHODS)}", field="method")
    return METHODS[name]


METHODS: dict[str, Maker] = {
    "random": lambda bench: RandomScores(_RANDOM_SEED),
    "pixels": lambda bench: PixelSimilarity(),
    "image": _tower("image", ("image",)),
    "text": _tower("text", ("text",)),
    "joined": _tower("joined", ("image", "text")),
    "text-sharpened": _sharp_text,
    "nda": lambda bench: NonparametricAttribution(bench.setting.generator.noising, PUBLISHED),
    "nda-pixels": lambda bench: NonparametricAttribution(
        bench.setting.generator.noising, PUBLISHED_IN_PIXELS
    ),
    "nda-same-place": lambda bench: NonparametricAttribution(bench.setting.generator.noising, SAME_PLACE),
    "gradient-dot": _gradient(GradientDot, "gradient-dot", _LOSS),
    "gradient-cosine": _gradient(GradientCosine, "gradient-cosine", _LOSS),
    "trak": _kernel("trak", _LOSS, _TRAK_REGULARISATION),
    "relative-influence": _kernel("relative-influence", _LOSS, _TRAK_REGULARISATION, "relative"),
    "renormalised-influence": _kernel(
        "renormalised-influence", _LOSS, _RENORMALISED_REGULARISATION, "renormalised"
    ),
    "d-trak": _kernel("d-trak", _OUTPUT, _D_TRAK_REGULARISATION),
    **{
        f"d-trak-{measure}": _kernel(
            f"d-trak-{measure}", GradientSpace(measure=measure, draws=_FISHER_DRAWS), value
        )
        for measure, value in _OUTPUT_REGULARISATIONS.items()
    },
    "d-trak-ensemble": _d_trak_ensemble,
    "das": _das("das", _OUTPUT),
    "dmin": _by_timestep("dmin", "both"),
    "diffusion-retrac": _by_timestep("diffusion-retrac", "work"),
    "tracin": _tracin,
    "journey-trak": _journey,
    "trak-relative": _kernel("trak-relative", _RELATIVE, _OWN_REGULARISATION),
    "influence-ekfac": _gradient(GradientDot, "influence-ekfac", _EKFAC),
    "influence-noise": _gradient(RenormalisedGradientDot, "influence-noise", _OWN_NOISE),
    "influence-relative": _gradient(RenormalisedGradientDot, "influence-relative", _OWN_RELATIVE),
    "influence-noise-attn": _gradient(RenormalisedGradientDot, "influence-noise-attn", _FEW_OWN_NOISE),
    "d-trak-attn": _kernel("d-trak-attn", _FEW_OUTPUT, _D_TRAK_REGULARISATION),
    "das-attn": _das("das-attn", _FEW_OUTPUT),
    **{name: _consensus(name) for name in CONSENSUSES},
    "abu": _natural("abu", eigenbasis=False),
    "abu-plus": _natural("abu-plus"),
    "abu-plus-relative": _natural("abu-plus-relative", score="relative"),
    "abu-plus-skew": _natural("abu-plus-skew", score="skew"),
    "abu-plus-attn": _natural("abu-plus-attn", "attn"),
    "abu-plus-all": _natural("abu-plus-all", "all"),
    "abu-plus-3-steps": _natural("abu-plus-3-steps", steps=3),
    "abu-plus-fast": _fast("abu-plus-fast"),
    "abu-plus-attn-fast": _fast("abu-plus-attn-fast", "attn"),
    # The full teacher's agreement with itself: the same step, judged at other noise of the works.
    "abu-plus-again": _natural("abu-plus-again", draws=replace(WORK_DRAWS, salt="again")),
    "mucs": _descent_ascent("mucs", score="skew"),
}
