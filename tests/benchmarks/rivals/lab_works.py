"""The lab's generator with its first works: what ours and the rivals' are timed on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from creditline.evaluation.lab.record import read_record
from creditline.evaluation.lab.setting import REFERENCE, open_setting
from creditline.generator.losses import Examples
from creditline.generator.pipeline import Generator
from creditline.generator.reference import reference_corpus


@contextmanager
def lab_works(count: int) -> Iterator[tuple[Generator, Examples]]:
    """An open generator and `count` encoded works."""
    record = read_record(REFERENCE / "record.safetensors")
    with open_setting(record, reference_corpus()) as setting:
        yield setting.generator, setting.works.examples.rows(range(count))
