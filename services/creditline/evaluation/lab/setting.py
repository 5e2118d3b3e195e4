"""The lab's generator, works and queries, opened from committed files, as attribution methods need them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from PIL import Image

from creditline.attribution.attributor import Gallery, works_gallery
from creditline.attribution.ensembles.models import Member
from creditline.attribution.methods.context import MethodContext, TowerFeatures
from creditline.corpus.works import Corpus
from creditline.device_setting import CPU
from creditline.errors import FingerprintMismatch
from creditline.evaluation.lab.plan import LabPlan, draw_works
from creditline.evaluation.lab.record import LabRecord
from creditline.evaluation.lab.retraining.workshop import checkpoint_rates
from creditline.generator.assembly import assemble, reference_weights
from creditline.generator.losses import Examples, encoded_examples
from creditline.generator.pipeline import Generator
from creditline.towers.gallery_features import GalleryFeatures

REFERENCE = Path(__file__).parent / "reference"
# Seeds of the further models of all works in D-TRAK's ensemble, which `creditline lab remove` trains.
_ENSEMBLE_SEEDS = (1, 2, 3)


@dataclass(frozen=True)
class LabSetting:
    """An open lab."""

    generator: Generator
    """The model of all works, whose pictures are attributed."""
    corpus: Corpus
    """The works with their contributors, in the order of `works`."""
    works: Gallery
    """The works, encoded for the generator."""
    queries: Gallery
    """The queries, encoded for the generator."""
    seeds: Mapping[str, int]
    """Seeds of the generated queries' pictures, by query id; real pictures have no seed."""


def method_context(
    setting: LabSetting, directory: Path, runs: Path = Path("runs/lab"), features: TowerFeatures | None = None
) -> MethodContext:
    """The context of the registry's methods in the lab.

    Args:
        setting: The open lab.
        directory: Directory of the methods' stored gradients.
        runs: Directory of the lab's training runs, for methods that need further models.
        features: Features by tower; None: those of the embedded towers, opened at first use.
    """
    return MethodContext(
        setting.generator,
        setting.works,
        directory,
        features or GalleryFeatures(str(setting.generator.device)),
        seeds=setting.seeds,
        seed_models={
            f"seed-{seed}": Member(runs / "models" / f"without-nothing-{seed}.safetensors")
            for seed in _ENSEMBLE_SEEDS
        },
        checkpoints={
            path.stem: Member(path, rate) for path, rate in checkpoint_rates(runs, LabPlan()).items()
        },
    )


@contextmanager
def open_setting(
    record: LabRecord, corpus: Corpus, unet: Path = REFERENCE / "unet", *, device: str = CPU
) -> Iterator[LabSetting]:
    """Assemble the record's generator and encode its works and queries.

    Args:
        record: The lab's record.
        corpus: The corpus from which the lab's works were drawn.
        unet: Diffusers directory with the weights of the model of all works.
        device: Device of the generator.

    Raises:
        FingerprintMismatch: The UNet or the works are not those of the record.
    """
    works, held_out = draw_works(corpus, record.plan)
    if works.ids != record.work_ids or works.fingerprint != record.corpus:
        raise FingerprintMismatch(
            f"the record's works are not those of corpus {corpus.name!r}; use the record of this version",
            field="corpus",
        )
    with TemporaryDirectory() as scratch:
        directory = Path(scratch) / "generator"
        assemble(directory, unet=unet, vae=reference_weights() / "vae")
        with Generator.open(directory, device=device) as generator:
            if generator.fingerprint != record.generator:
                raise FingerprintMismatch(
                    f"the lab's generator from {unet} is not that of the record; fetch both again",
                    field="generator",
                )
            seeds = {query.id: query.seed for query in record.queries if query.kind == "generated"}
            gallery, queries = works_gallery(generator, works), _queries(generator, record, held_out)
            yield LabSetting(generator, works, gallery, queries, seeds)


def _queries(generator: Generator, record: LabRecord, held_out: Corpus) -> Gallery:
    pictures = _pictures(record, held_out)
    prompts = tuple(query.prompt for query in record.queries)
    examples = Examples(
        tuple(query.id for query in record.queries),
        torch.from_numpy(record.latents).to(generator.device),
        generator.prompt_vectors(prompts),
    )
    return Gallery(examples, tuple(pictures), prompts, record.generator)


def _pictures(record: LabRecord, held_out: Corpus) -> Sequence[Image.Image]:
    return [Image.fromarray(picture) for picture in record.pictures] + [work.picture() for work in held_out]


def noise_queries(setting: LabSetting, count: int, *, seed: int = 0) -> Gallery:
    """Pictures of random pixels with an empty prompt, on which no work has particular influence.

    Args:
        setting: The open lab.
        count: Number of pictures.
        seed: Seed of the pixels.
    """
    height, width = np.asarray(setting.queries.pictures[0]).shape[:2]
    random = np.random.default_rng(seed)
    pictures = tuple(
        Image.fromarray(random.integers(0, 256, size=(height, width, 3), dtype=np.uint8))
        for _ in range(count)
    )
    ids, prompts = tuple(f"noise-{seed}-{number}" for number in range(count)), ("",) * count
    examples = encoded_examples(setting.generator, ids, pictures, prompts)
    return Gallery(examples, pictures, prompts, f"noise {seed}")
