"""A configuration is read strictly: what it does not know, it names, with the nearest that it knows."""

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


def test_what_is_changed_in_the_recipe_is_changed(tmp_path: Path) -> None:
    text = "name: mine\ntraining: {loss: share, epochs: 3, nested: [64], width: 128}\nwidth: 64\n"
    config = read_config(written(tmp_path, text))
    plan = config.plan()
    assert (plan.loss, plan.epochs, plan.nested, plan.width) == (LossKind.SHARE, 3, (64,), 128)
    assert plan.hidden == RECIPES[OURS].hidden


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: a\nteachr: first-order", r"no 'teachr'; the nearest that it knows is 'teacher'"),
        ("name: a\nqueries: {trainning: 5}", r"queries knows no 'trainning'; .* 'training'"),
        ("name: a\ntraining: {epoch: 5}", r"training knows no 'epoch'; .* 'epochs'"),
        ("name: a\ntraining: {loss: shares}", r"training.loss knows no 'shares'; .* 'share'"),
        ("name: a\nrecipe: our", r"recipe knows no 'our'; .* 'ours'"),
        ("name: a\nwidth: 100", r"width 100 is none that is trained: 768"),
        ("seed: 1", r"name: Field required"),
        ("name: a\nqueries: {held_out: 1}", r"queries.held_out: .* 16"),
        ("- a list", r"must be a mapping"),
        ("name: [", r"is no YAML"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        read_config(written(tmp_path, text))


def test_labels_that_are_there_need_no_candidates(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("{name: both, labels: somewhere, candidates: {by_feature: 3}}")
    with pytest.raises(InvalidInput, match="leave one of them out"):
        read_config(path)


def test_a_configuration_that_is_not_there_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(NotReady, match="no configuration at"):
        read_config(tmp_path / "none.yaml")
