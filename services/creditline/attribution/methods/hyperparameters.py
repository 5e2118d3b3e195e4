"""Hyperparameters of the methods in the registry, each tuned on the lab's choosing subsets."""

from __future__ import annotations

from creditline.attribution.methods.gradient_rows import GradientSpace, Whitening
from creditline.generator.losses import Draws, NoisyDraws

RANDOM_SEED = 1
FISHER_DRAWS = Draws(timesteps=20, repeats=1, salt="attribution")
# Smaller than AbU+'s 0.1; 0.1 and 1 were worse on the choosing subsets.
OWN_DAMPING = 0.01
SHARPNESS = 4.0
# A tenth of the learning rate of the lab's training, as in MUCS's code (arXiv 2605.17938).
MUCS_LEARNING_RATE, MUCS_FASTER_LEARNING_RATE = 8e-5, 2.4e-4
# The mean square of the UNet's target, which is the loss of a model that predicts 0.
MUCS_NULL_LOSS = 1.05
MUCS_DRAWS = NoisyDraws(timesteps=40, salt="unlearning", part=0.7)

LOSS = GradientSpace()
# One noise per timestep, for methods that need many spaces or models.
FEW_LOSS = GradientSpace(draws=FISHER_DRAWS)
OUTPUT = GradientSpace(measure="squared-l2")
RELATIVE = GradientSpace(weighting="relative")
EKFAC = GradientSpace(draws=FISHER_DRAWS, whitening=Whitening())
OWN_WHITENING = Whitening(OWN_DAMPING, fitted="rows")
OWN_NOISE = GradientSpace(whitening=OWN_WHITENING)
OWN_RELATIVE = GradientSpace(weighting="relative", whitening=OWN_WHITENING)
# All attention projections, at fewer draws and compressed: affordable for labels of a larger generator.
FEW_DRAWS = Draws(timesteps=12, repeats=2, salt="attribution", mirrored=True)
FEW_OWN_NOISE = GradientSpace("attn", draws=FEW_DRAWS, whitening=OWN_WHITENING, compressed=1 << 16)
FEW_OUTPUT = GradientSpace("attn", measure="squared-l2", draws=FEW_DRAWS, compressed=1 << 16)

# λ of each kernel: the best value of the grid on the choosing subsets (`creditline lab tune`).
TRAK_REGULARISATION, D_TRAK_REGULARISATION, OWN_REGULARISATION = 0.5, 0.05, 0.2
RENORMALISED_REGULARISATION = 1.0
DAS_REGULARISATION = 0.05
# λ of D-TRAK's other output functions.
OUTPUT_REGULARISATIONS = {"l1": 0.05, "l2": 0.1, "linf": 0.5, "mean": 0.02}

# What each consensus is offered: the methods that it may use.
OFFERED = {
    "consensus": ("abu-plus-relative", "influence-noise", "d-trak", "text-sharpened"),
    "consensus-fast": ("abu-plus-fast", "influence-noise", "d-trak", "text-sharpened"),
    # For labels: only methods that need no pass of the works per query.
    "consensus-gradients-with-text": ("influence-noise", "d-trak", "das", "text-sharpened"),
    # The same for larger generators: attention only, fewer draws.
    "consensus-gradients-attn-with-text": (
        "influence-noise-attn",
        "d-trak-attn",
        "das-attn",
        "text-sharpened",
    ),
    # One method of every kind, each with the noise that is better for it. Cross-validated within the choosing
    # subsets, AbU+ on all of attention is a better member than on cross-attention, and sharpening the sum is
    # better than sharpening the members.
    "consensus-all": (
        "abu-plus-attn-relative",
        "das",
        "d-trak-ensemble",
        "influence-noise",
        "influence-relative",
        "nda-same-place",
    ),
}
# Consensuses with the weights of another one, without one of its members: (the other, the member).
WITHOUT = {
    "consensus-gradients": ("consensus-gradients-with-text", "text-sharpened"),
    "consensus-gradients-attn": ("consensus-gradients-attn-with-text", "text-sharpened"),
}
# Members of each consensus with their weights, as `creditline lab fit` fits them on the committed record and
# scores; members of weight 0 are left out.
CONSENSUSES = {
    "consensus": {"abu-plus-relative": 1.0, "influence-noise": 0.43, "d-trak": 0.51, "text-sharpened": 0.2},
    "consensus-fast": {"abu-plus-fast": 1.0, "influence-noise": 0.59, "d-trak": 0.7, "text-sharpened": 0.29},
    # The two that make labels are without the text member that they were fitted with: students are given the
    # text's features, so it makes their agreement with the labels circular. The ratios of the others are
    # kept; a new fit gives nearly the same weights, and the same LDS within 0.001.
    "consensus-gradients": {"influence-noise": 0.8, "d-trak": 0.68, "das": 1.0},
    # "consensus-gradients" for larger generators: attention only, fewer draws.
    "consensus-gradients-attn": {"influence-noise-attn": 0.94, "d-trak-attn": 1.0, "das-attn": 0.71},
    # As fitted, for comparison.
    "consensus-gradients-with-text": {
        "influence-noise": 0.8,
        "d-trak": 0.68,
        "das": 1.0,
        "text-sharpened": 0.55,
    },
    "consensus-gradients-attn-with-text": {
        "influence-noise-attn": 0.94,
        "d-trak-attn": 1.0,
        "das-attn": 0.71,
        "text-sharpened": 0.32,
    },
    "consensus-all": {
        "abu-plus-attn-relative": 1.0,
        "das": 0.58,
        "d-trak-ensemble": 0.57,
        "influence-noise": 0.22,
        "nda-same-place": 0.18,
    },
}
# Consensuses of sharpened scores: exponents of members' scores, where they are not 1, and of the sum.
SHARPENED: dict[str, tuple[dict[str, float], float]] = {"consensus-all": ({}, 1.25)}
