"""A configuration is read strictly: an unknown name is refused, and the nearest known one is suggested."""

from __future__ import annotations

from pathlib import Path

import pytest

from creditline.distillation.release_needs import ReleaseNeeds
from creditline.distillation.run_config import QueryPlan, read_config
from creditline.distillation.training.losses import LossKind
from creditline.distillation.training.recipes import OURS, RECIPES
from creditline.errors import InvalidInput, NotReady
from creditline.generator.adapters.specification import AdapterSpec
from creditline.release.parts import place_in

CONFIGS = Path(__file__).resolve().parents[2] / "services" / "creditline" / "distillation" / "configs"


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "run.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_configuration_of_the_package_is_read(path: Path) -> None:
    assert read_config(path).name == path.stem


def test_a_configuration_changes_single_fields_of_the_recipe(tmp_path: Path) -> None:
    text = "name: mine\ntraining: {loss: share, epochs: 3, nested: [64], width: 128}\nwidth: 64\n"
    config = read_config(written(tmp_path, text))
    plan = config.plan()
    assert (plan.loss, plan.epochs, plan.nested, plan.width) == (LossKind.SHARE, 3, (64,), 128)
    assert plan.hidden == RECIPES[OURS].hidden


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: a\nteachr: first-order", r"not accept 'teachr'; the nearest accepted name is 'teacher'"),
        ("name: a\nqueries: {trainning: 5}", r"queries does not accept 'trainning'; .* 'training'"),
        ("name: a\ntraining: {epoch: 5}", r"training does not accept 'epoch'; .* 'epochs'"),
        ("name: a\ntraining: {loss: shares}", r"training.loss does not accept 'shares'; .* 'share'"),
        ("name: a\nrecipe: our", r"recipe does not accept 'our'; .* 'ours'"),
        ("name: a\nwidth: 100", r"width 100 is not trained by this recipe, which trains 768, "),
        ("seed: 1", r"name: Field required"),
        ("name: a\nqueries: {held_out: 1}", r"queries.held_out: .* 16"),
        ("name: a\nqueries: {training: 15}", r"queries.training: .* 16"),
        ("- a list", r"must be a mapping"),
        ("name: [", r"is not valid YAML"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        read_config(written(tmp_path, text))


def test_existing_labels_and_candidates_exclude_each_other(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("{name: both, labels: somewhere, candidates: {by_feature: 3}}")
    with pytest.raises(InvalidInput, match="leave one of them out"):
        read_config(path)


def test_a_missing_configuration_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotReady, match="no configuration at"):
        read_config(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"corpus": "pictures"}, r"corpus pictures is given without a generator; .*--generator DIR"),
        ({"generator": "my-sd"}, r"generator my-sd is given without a corpus; .*--corpus SOURCE"),
    ],
)
def test_nothing_of_the_reference_stands_in_for_what_is_left_out(
    options: dict[str, str], message: str
) -> None:
    with pytest.raises(InvalidInput, match=message):
        read_config(None, name="mine", **options)


def test_options_complete_a_file_and_come_first(tmp_path: Path) -> None:
    path = written(tmp_path, "name: a\nseed: 3\nqueries: {training: 50, mixed_fraction: 0.1}\n")
    config = read_config(path, name="b", corpus=Path("p"), generator=Path("g"), queries={"training": 70})
    assert (config.name, config.seed) == ("b", 3)
    assert (config.queries.training, config.queries.mixed_fraction) == (70, 0.1)


def test_the_number_of_queries_grows_with_the_corpus() -> None:
    sizes = [QueryPlan().sized(works) for works in (50, 500, 1_000, 5_000, 1_000_000)]
    assert [(each.training, each.held_out) for each in sizes] == [
        (96, 17),
        (200, 80),
        (400, 160),
        (600, 400),
        (600, 400),
    ]
    given = QueryPlan(training=30, held_out=20).sized(500)
    assert (given.training, given.held_out) == (30, 20)


@pytest.mark.parametrize(
    ("plan", "works", "message"),
    [
        (QueryPlan(), 20, "16 held-out queries need at least 24 works .* has 20; bring more works"),
        (QueryPlan(held_out=100), 120, "need at least 137 works .* lower queries.held_out"),
    ],
)
def test_a_corpus_too_small_for_its_queries_is_refused(plan: QueryPlan, works: int, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        plan.sized(works)


def test_adapters_are_read_with_their_strengths_and_belong_to_a_generator(tmp_path: Path) -> None:
    named = "name: a\ncorpus: pictures\ngenerator: sd\n"
    config = read_config(written(tmp_path, f"{named}adapters: style.safetensors:0.5"))
    assert config.adapter_specs == (AdapterSpec(Path("style.safetensors"), 0.5),)
    assert config.with_absolute_paths()["adapters"] == [f"{Path('style.safetensors').resolve()}:0.5"]
    release = tmp_path / "release"
    assert ReleaseNeeds(config, release).adapters() == (
        f"{place_in(release, Path('style.safetensors'))}:0.5",
    )
    with pytest.raises(InvalidInput, match="given without the generator that it is merged into"):
        read_config(written(tmp_path, "name: a\nadapters: [style.safetensors]"))
    with pytest.raises(InvalidInput, match="finite number other than 0"):
        read_config(written(tmp_path, f"{named}adapters: style.safetensors:0"))
