"""A configuration is read strictly: an unknown name is refused, and the nearest known one is suggested."""

from __future__ import annotations

from pathlib import Path

import pytest

from creditline.distillation.run_config import read_config
from creditline.distillation.training.losses import LossKind
from creditline.distillation.training.recipes import OURS, RECIPES
from creditline.errors import InvalidInput, NotReady

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
