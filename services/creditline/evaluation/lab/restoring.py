"""Restoring of a lab's directory from the committed record and weights, without training the generator."""

from __future__ import annotations

from pathlib import Path

import torch

from creditline.errors import FingerprintMismatch
from creditline.evaluation.lab.record import LabRecord
from creditline.evaluation.lab.retraining.workshop import (
    Workshop,
    encode_works,
    is_prepared,
    preparation_lock,
    save_tensors,
)
from creditline.generator.assembly import assemble, assemble_reference, reference_weights


def restore(workshop: Workshop, record: LabRecord, unet: Path) -> None:
    """Create the missing files of the record's generator, works and queries in the lab's directory.

    Args:
        workshop: The lab's open directory.
        record: The lab's record.
        unet: Diffusers directory with the weights of the model of all works.

    Raises:
        FingerprintMismatch: The weights are not those of the record.
    """
    if not is_prepared(workshop):
        with preparation_lock(workshop, lambda line: None):
            _restore_missing(workshop, record, unet)


def _restore_missing(workshop: Workshop, record: LabRecord, unet: Path) -> None:
    if not workshop.works_file.exists():
        with workshop.open_generator(assemble_reference(workshop.directory / "reference")) as reference:
            encode_works(workshop, reference)
    if not workshop.generator.exists():
        assemble(workshop.generator, unet=unet, vae=reference_weights() / "vae")
    if not workshop.queries_file.exists():
        with workshop.open_generator(workshop.generator) as generator:
            if generator.fingerprint != record.generator:
                raise FingerprintMismatch(
                    f"the lab's generator from {unet} is not that of the record; fetch both again",
                    field="generator",
                )
            prompts = [query.prompt for query in record.queries]
            tensors = {
                "latents": torch.from_numpy(record.latents),
                "text": generator.prompt_vectors(prompts),
            }
            save_tensors(tensors, workshop.queries_file)
