"""One query through AbU+ on the whole of Stable Diffusion 1.5: does it fit, what does a pass take and cost?

The weights are random, for memory, seconds and operations do not depend on them; layout, files and code path
are the real ones. What a query costs on a data centre's GPU is computed, not measured: operations of one pass
over the card's published peak, at a utilisation that is assumed. Run
`python -m tests.benchmarks.full_size` (about 8 minutes, 2 cores; 4.3 GB in the temporary directory).
"""

from __future__ import annotations

import json
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, PNDMScheduler, UNet2DConditionModel
from numpy.typing import NDArray
from open_clip.tokenizer import SimpleTokenizer
from torch.utils.flop_counter import FlopCounterMode
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from creditline.attribution.fisher.key_value import ekfac_fisher
from creditline.attribution.gradients.key_value import (
    gradient_factors,
    key_value_projections,
    output_widths,
    recorded_outputs,
)
from creditline.attribution.unlearning.ascent import Step, losses_after, unlearning_step
from creditline.attribution.unlearning.fast_teacher import FEW_DRAWS
from creditline.attribution.unlearning.teacher import Query, encode_queries, encode_works
from creditline.corpus.works import Work
from creditline.generator.losses import Draws
from creditline.generator.pipeline import Generator
from creditline.generator.reference import reference_corpus
from tests.benchmarks.result_files import Figure, write_result

SEED = 17
WORKS = 4
THREADS = 2
COMMAND = "python -m tests.benchmarks.full_size"
MOST_GIB = 20
TEXT_TOKENS = 77
_LATENT_CHANNELS = 4
# Few, for a pass takes seconds here; how many there are changes neither memory nor seconds per pass.
WORK_DRAWS = Draws(timesteps=2, salt="work")
QUERY_DRAWS = Draws(timesteps=2, salt="query")
CHECK_DRAWS = Draws(timesteps=1, salt="check")


@dataclass(frozen=True)
class Layout:
    """Sizes of a pipeline of Stable Diffusion 1.x's kind; what its members share is in the builders."""

    latent_side: int
    unet_channels: tuple[int, int, int, int]
    batch_prefixes: int
    unet_layers: int
    vae_channels: tuple[int, int, int, int]
    norm_groups: int
    text_width: int
    text_layers: int
    text_heads: int


SD15 = Layout(
    latent_side=64,
    unet_channels=(320, 640, 1280, 1280),
    batch_prefixes=8,
    unet_layers=2,
    vae_channels=(128, 256, 512, 512),
    norm_groups=32,
    text_width=768,
    text_layers=12,
    text_heads=12,
)


@dataclass(frozen=True)
class Passes:
    """UNet passes and the wall time they took together."""

    count: int
    seconds: float

    @property
    def each(self) -> float:
        return self.seconds / self.count


@dataclass(frozen=True)
class Run:
    """One query through unlearning and scoring. influence: (WORKS,) float64.

    forward: passes of scoring; both: passes with a gradient; passes: all of them, the search's too.
    """

    step: Step
    influence: NDArray[np.float64]
    forward: Passes
    both: Passes
    passes: int
    parameters: int


@dataclass(frozen=True)
class Operations:
    """Floating-point operations of one UNet pass: forward alone, and with the gradient that AbU+ takes."""

    forward: int
    both: int


def build_unet(layout: Layout) -> UNet2DConditionModel:
    """Stable Diffusion 1.x's UNet, freshly initialised."""
    return UNet2DConditionModel(
        sample_size=layout.latent_side,
        in_channels=_LATENT_CHANNELS,
        out_channels=_LATENT_CHANNELS,
        down_block_types=(*("CrossAttnDownBlock2D",) * 3, "DownBlock2D"),
        up_block_types=("UpBlock2D", *("CrossAttnUpBlock2D",) * 3),
        block_out_channels=layout.unet_channels,
        layers_per_block=layout.unet_layers,
        cross_attention_dim=layout.text_width,
        attention_head_dim=layout.batch_prefixes,
        norm_num_groups=layout.norm_groups,
    )


def build_vae(layout: Layout) -> AutoencoderKL:
    """Stable Diffusion 1.x's VAE, freshly initialised."""
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=layout.vae_channels,
        layers_per_block=2,
        latent_channels=_LATENT_CHANNELS,
        norm_num_groups=layout.norm_groups,
        sample_size=layout.latent_side * 8,
        scaling_factor=0.18215,
    )


def build_text_encoder(layout: Layout) -> CLIPTextModel:
    """The text half of CLIP ViT-L/14, freshly initialised."""
    return CLIPTextModel(
        CLIPTextConfig(
            hidden_size=layout.text_width,
            intermediate_size=layout.text_width * 4,
            num_hidden_layers=layout.text_layers,
            num_attention_heads=layout.text_heads,
            max_position_embeddings=TEXT_TOKENS,
            projection_dim=layout.text_width,
        )
    )


def build_tokenizer(layout: Layout) -> CLIPTokenizer:
    """CLIP's own tokenizer, from the vocabulary that open_clip brings along."""
    clip = SimpleTokenizer()
    vocabulary = list(clip.encoder)
    vocabulary[-2:] = ["<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(
        vocab={token: number for number, token in enumerate(vocabulary)},
        merges=list(clip.bpe_ranks),
        model_max_length=TEXT_TOKENS,
    )


def build_scheduler(layout: Layout) -> PNDMScheduler:
    """Stable Diffusion 1.5's noise schedule; the UNet predicts the noise."""
    return PNDMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        num_train_timesteps=1000,
        prediction_type="epsilon",
        set_alpha_to_one=False,
        skip_prk_steps=True,
        steps_offset=1,
    )


_BUILDERS: dict[str, Callable[[Layout], Any]] = {
    "unet": build_unet,
    "vae": build_vae,
    "text_encoder": build_text_encoder,
    "tokenizer": build_tokenizer,
    "scheduler": build_scheduler,
}
_MODEL_INDEX: dict[str, Any] = {
    "_class_name": "StableDiffusionPipeline",
    "feature_extractor": [None, None],
    "image_encoder": [None, None],
    "requires_safety_checker": False,
    "safety_checker": [None, None],
    "scheduler": ["diffusers", "PNDMScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}


def write_pipeline(layout: Layout, directory: Path) -> Path:
    """A `StableDiffusionPipeline` directory with random weights, one part in memory at a time."""
    torch.manual_seed(SEED)
    for name, build in _BUILDERS.items():
        part = build(layout)
        if name == "unet":
            _let_prompt_rule(part)
        part.save_pretrained(directory / name)
    (directory / "model_index.json").write_text(json.dumps(_MODEL_INDEX))
    return directory


def _let_prompt_rule(unet: UNet2DConditionModel) -> None:
    """Make an untrained UNet heed its prompt, so that forgetting can raise the query's loss.

    Its output is else too faint beside its target, and its cross-attention hardly heard.
    """
    with torch.no_grad():
        unet.conv_out.weight.mul_(4.0)
        for name, weight in unet.named_parameters():
            if "attn2.to_out.0.weight" in name:
                weight.mul_(16.0)


def pass_operations(layout: Layout) -> Operations:
    """Counted on tensors without storage: any layout's operations in seconds and no memory."""
    with torch.device("meta"):
        unet = build_unet(layout).requires_grad_(False).eval()
        latents = torch.empty(1, _LATENT_CHANNELS, layout.latent_side, layout.latent_side)
        text = torch.empty(1, TEXT_TOKENS, layout.text_width)
        timesteps = torch.empty(1, dtype=torch.long)
    projections = key_value_projections(unet)
    with FlopCounterMode(display=False) as counted, recorded_outputs(projections) as recorded:
        predicted = unet(latents, timesteps, text).sample
        forward = counted.get_total_flops()
        torch.autograd.grad(predicted.sum(), [recorded[module] for module in projections.values()])
    return Operations(forward, counted.get_total_flops())


def peak_gibibytes() -> float:
    """The most memory that this process has had so far, GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


@contextmanager
def timed_passes(generator: Generator) -> Iterator[list[Passes]]:
    """On leaving, the list holds the UNet passes made while open and the seconds it was open."""
    count = 0

    def add(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...], output: Any) -> None:
        nonlocal count
        count += len(inputs[0])

    measured: list[Passes] = []
    started = time.perf_counter()
    with generator.unet.register_forward_hook(add):
        yield measured
    measured.append(Passes(count, time.perf_counter() - started))


def picked_works() -> tuple[list[Work], Query]:
    """Works spread over the reference corpus, and a query made of one more."""
    corpus = reference_corpus()
    *works, other = corpus.works[:: len(corpus) // WORKS][: WORKS + 1]
    return works, Query(f"full-size-{other.id}", other.picture(), other.caption)


def run_query(generator: Generator) -> Run:
    """What the teacher does for one query and what it needs of the works, with few draws."""
    picked, asked = picked_works()
    works, query = encode_works(generator, picked), encode_queries(generator, [asked])
    widths = output_widths(key_value_projections(generator.unet))
    with timed_passes(generator) as gradients:
        factors = gradient_factors(generator, works, WORK_DRAWS)
        gradient = gradient_factors(generator, query, QUERY_DRAWS).dense()[0]
    fisher = ekfac_fisher(lambda: [(factors.outputs, factors.text)], widths)
    with timed_passes(generator) as searched:
        direction = fisher.natural(gradient)
        step = unlearning_step(generator, query, gradient, direction, check=CHECK_DRAWS)
    with timed_passes(generator) as scored:
        after = losses_after(generator, step, works, WORK_DRAWS)
    return Run(
        step=step,
        influence=(after - factors.losses).mean(dim=1).double().numpy(),
        forward=scored[0],
        both=gradients[0],
        passes=sum(part.count for part in (*gradients, *searched, *scored)),
        parameters=sum(parameter.numel() for parameter in generator.unet.parameters()),
    )


def measure(layout: Layout) -> Run:
    """Write a generator of this layout, open it, and run one query through it."""
    with tempfile.TemporaryDirectory() as temporary:
        directory = write_pipeline(layout, Path(temporary) / "generator")
        with Generator.open(directory) as generator:
            return run_query(generator)


@dataclass(frozen=True)
class Card:
    """A GPU. peak_tflops: dense fp16/bf16 tensor-core peak of its data sheet (SXM), 10¹² operations/s."""

    name: str
    peak_tflops: float


@dataclass(frozen=True)
class Collection:
    """A training set and its size."""

    name: str
    works: int


CARDS = (Card("A100", 312.0), Card("H100", 989.0), Card("H200", 989.0))
# LAION's size is the nominal one.
COLLECTIONS = (Collection("COCO", 118_287), Collection("LAION-400M", 400_000_000))
ASSUMED_UTILISATION = 0.40
COST_TIMESTEPS = 20
COST_NOISES = 1
# A picture and its mirror image.
COST_FLIPS = 2
_SECONDS_PER_HOUR = 3600
_HOURS_PER_YEAR = 24 * 365


def cost_rows(operations: Operations) -> list[dict[str, Any]]:
    """What AbU+ costs, by collection and card: each query, and once for all queries.

    A query takes one forward pass for each work and draw, for the losses before are stored; were they not,
    it would take two. The fast teacher takes three. Once, each work and draw takes a pass with its gradient:
    losses and Fisher.
    """
    draws = COST_TIMESTEPS * COST_NOISES * COST_FLIPS
    costs = {
        "each query": (operations.forward, draws),
        "each query, losses before not stored": (2 * operations.forward, draws),
        "each query, fast teacher": (operations.forward, len(FEW_DRAWS)),
        "once, losses before and Fisher": (operations.both, draws),
    }
    return [
        _cost_row(what, each, number, collection, card)
        for what, (each, number) in costs.items()
        for collection in COLLECTIONS
        for card in CARDS
    ]


def _cost_row(what: str, each: int, draws: int, collection: Collection, card: Card) -> dict[str, Any]:
    total = each * draws * collection.works
    hours = total / (card.peak_tflops * 1e12 * ASSUMED_UTILISATION) / _SECONDS_PER_HOUR
    return {
        "cost": what,
        "collection": collection.name,
        "works": collection.works,
        "draws_per_work": draws,
        "card": card.name,
        "peak_tflops": card.peak_tflops,
        "assumed_utilisation": ASSUMED_UTILISATION,
        "exaflop": total / 1e18,
        "gpu_hours": hours,
        "gpu_years": hours / _HOURS_PER_YEAR,
    }


def figures_of(run: Run, operations: Operations, peak_gib: float) -> dict[str, Figure]:
    """`sd15_gib` is the issue's `attributors.sd15_gib`."""
    what = f"one query through AbU+ and scoring of {WORKS} works on full-size Stable Diffusion 1.5, fp32"
    return {
        "sd15_gib": Figure(peak_gib, "GiB", target=f"<= {MOST_GIB}", what=f"peak memory: {what}"),
        "forward_seconds": Figure(run.forward.each, "s", what="one UNet pass forward, batch 1"),
        "both_seconds": Figure(run.both.each, "s", what="one UNet pass forward and backward, batch 1"),
        "passes": Figure(run.passes, what=f"UNet passes: {what}"),
        "parameters": Figure(run.parameters, what="parameters of the UNet"),
        "forward_tflop": Figure(operations.forward / 1e12, "TFLOP", what="one UNet pass forward, counted"),
        "both_tflop": Figure(
            operations.both / 1e12, "TFLOP", what="one UNet pass forward and backward, counted"
        ),
        "query_rise": Figure(run.step.rise, what="the query's loss after unlearning over before"),
    }


def main() -> None:
    """Measure; fill their part of `attributors.json`."""
    torch.set_num_threads(THREADS)
    operations = pass_operations(SD15)
    figures = figures_of(measure(SD15), operations, peak_gibibytes())
    write_result("attributors", COMMAND, SEED, figures, cost_rows(operations), merge=True)
    for key, figure in figures.items():
        print(f"{key}: {figure.value:.4g} {figure.unit} (target {figure.target})")


if __name__ == "__main__":
    main()
