"""The differentiated model, its works and queries, opened from committed files for attribution methods."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from PIL import Image

from creditline.attribution.attributor import Gallery, works_gallery
from creditline.attribution.methods.context import MethodContext
from creditline.corpus.works import Corpus
from creditline.errors import FingerprintMismatch
from creditline.evaluation.lab.exact.record import EXACT, ExactRecord
from creditline.evaluation.lab.plan import LabPlan, draw_works
from creditline.evaluation.lab.setting import LabSetting
from creditline.generator.assembly import assemble, reference_weights
from creditline.generator.losses import Examples
from creditline.generator.pipeline import Generator
from creditline.towers.gallery_features import GalleryFeatures


@contextmanager
def open_exact_setting(
    record: ExactRecord, corpus: Corpus, unet: Path = EXACT / "unet"
) -> Iterator[LabSetting]:
    """Assemble the record's model and encode its works and queries.

    Args:
        record: The record of exact effects.
        corpus: The corpus from which the lab's works were drawn.
        unet: Diffusers directory with the weights of the differentiated model.

    Raises:
        FingerprintMismatch: The UNet or the works are not those of the record.
    """
    works, _ = draw_works(corpus, LabPlan())
    if works.fingerprint != record.corpus:
        raise FingerprintMismatch(
            f"the exact effects are not of works of corpus {corpus.name!r}; use the record of this version",
            field="corpus",
        )
    with TemporaryDirectory() as scratch:
        directory = assemble(Path(scratch) / "generator", unet=unet, vae=reference_weights() / "vae")
        with Generator.open(directory) as generator:
            if generator.fingerprint != record.generator:
                raise FingerprintMismatch(
                    f"the model of {unet} is not that of the exact effects; fetch both again",
                    field="generator",
                )
            seeds = {query.id: query.seed for query in record.queries}
            gallery = works_gallery(generator, works)
            yield LabSetting(generator, works, gallery, _queries(generator, record), seeds)


def _queries(generator: Generator, record: ExactRecord) -> Gallery:
    prompts = tuple(query.prompt for query in record.queries)
    examples = Examples(
        tuple(query.id for query in record.queries),
        torch.from_numpy(record.latents),
        generator.prompt_vectors(prompts),
    )
    pictures = tuple(Image.fromarray(picture) for picture in record.pictures)
    return Gallery(examples, pictures, prompts, record.generator)


def exact_context(setting: LabSetting, directory: Path) -> MethodContext:
    """The context of the registry's methods on the differentiated model.

    There are no models of other seeds and no checkpoints, so that methods which need them refuse.

    Args:
        setting: The open setting.
        directory: Directory of the methods' stored gradients.
    """
    return MethodContext(
        setting.generator,
        setting.works,
        directory,
        GalleryFeatures(str(setting.generator.device)),
        seeds=setting.seeds,
    )
