"""All methods run on a lab that is trained within seconds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from creditline.attribution.attributor import attribute
from creditline.attribution.methods.context import MethodContext
from creditline.attribution.methods.registry import METHODS, method_by_name
from creditline.corpus.works import Corpus
from creditline.errors import FingerprintMismatch, InvalidInput
from creditline.evaluation.lab.record import collect
from creditline.evaluation.lab.retraining.workshop import Workshop
from creditline.evaluation.lab.setting import LabSetting, method_context, open_setting

pytestmark = [pytest.mark.slow]


@pytest.fixture(scope="module")
def setting(trained_lab: Workshop, small_corpus: Corpus) -> Iterator[LabSetting]:
    record = collect(trained_lab)
    with open_setting(record, small_corpus, trained_lab.directory / "unet") as opened:
        yield opened


@pytest.fixture(scope="module")
def context(setting: LabSetting, tmp_path_factory: pytest.TempPathFactory) -> MethodContext:
    return method_context(setting, tmp_path_factory.mktemp("artifacts"))


def test_a_setting_is_the_lab_as_it_was_trained(setting: LabSetting, trained_lab: Workshop) -> None:
    assert setting.works.examples.ids == trained_lab.works.ids
    assert setting.queries.examples.ids == tuple(query.id for query in trained_lab.queries)
    examples = trained_lab.examples()
    assert np.array_equal(setting.queries.examples.latents, examples.latents)
    assert np.allclose(setting.queries.examples.text, examples.text, atol=1e-6)


@pytest.mark.parametrize(
    "name",
    [
        "random",
        "joined",
        "nda",
        "trak",
        "relative-influence",
        pytest.param("consensus", marks=pytest.mark.heavy),
        "abu",
        pytest.param("mucs", marks=pytest.mark.heavy),
    ],
)
def test_a_method_scores_every_work_for_every_query(
    name: str, setting: LabSetting, context: MethodContext, tmp_path: Path
) -> None:
    queries = setting.queries.rows([0, 6])
    found = attribute(method_by_name(name)(context), setting.works, queries, tmp_path)
    assert found.values.shape == (2, 12)
    assert np.unique(found.values).size > 12
    assert found.cost.seconds_per_query > 0


def test_an_unknown_method_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InvalidInput, match=f"'astrology'; choose one of {', '.join(METHODS)}"):
        method_by_name("astrology")


@pytest.mark.parametrize(("name", "needed"), [("tracin", "checkpoints"), ("d-trak-ensemble", "seeds")])
def test_a_method_over_several_models_is_refused_where_there_are_none(
    name: str, needed: str, context: MethodContext
) -> None:
    alone = MethodContext(context.generator, context.works, context.directory, context.features)
    with pytest.raises(InvalidInput, match=f"{name} needs .*{needed}"):
        method_by_name(name)(alone)


def test_another_unet_than_the_records_is_refused(trained_lab: Workshop, small_corpus: Corpus) -> None:
    with (
        pytest.raises(FingerprintMismatch, match="is not that of the record"),
        open_setting(collect(trained_lab), small_corpus),
    ):
        pass


def test_other_works_than_the_records_are_refused(trained_lab: Workshop, small_corpus: Corpus) -> None:
    fewer = small_corpus.subset(small_corpus.ids[1:], name="fewer")
    with (
        pytest.raises(FingerprintMismatch, match="works are not those"),
        open_setting(collect(trained_lab), fewer, trained_lab.directory / "unet"),
    ):
        pass
