"""Configuration of a distillation run: one YAML file; unknown keys are refused.

Paths are relative to the current directory. The same file gives the same release.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator
from dataclasses import fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from creditline.distillation.labels.candidates import CandidatePlan
from creditline.distillation.labels.label_set import FIRST_ORDER
from creditline.distillation.training.fitting import TrainingPlan
from creditline.distillation.training.losses import LossKind
from creditline.distillation.training.recipes import OURS, RECIPES
from creditline.errors import InvalidInput, NotReady
from creditline.towers.spec import TowerSpec


class QueryPlan(BaseModel):
    """The queries whose pictures are generated."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    training: int = Field(default=600, ge=2)
    """Number of training queries."""
    held_out: int = Field(default=400, ge=16)
    """Number of held-out queries."""
    mixed_fraction: float = Field(default=0.35, ge=0.0, le=1.0)
    """Probability that a prompt mixes the titles of two works."""
    guidances: tuple[float, ...] = Field(default=(2.5, 1.5, 4.0), min_length=1)
    """Guidance scales of training and transfer queries, used in turn."""
    listed: Path | None = None
    """File of prompts for training queries, one per line."""
    listed_fraction: float = Field(default=0.25, gt=0.0, le=1.0)
    """Fraction of the training queries whose prompts come from `listed`."""
    transfer: Path | None = None
    """File of prompts for transfer queries, which are for evaluation only."""
    transfer_count: int = Field(default=100, ge=2)
    """Number of transfer queries: the prompts of `transfer` whose nearest caption is farthest."""


class Candidates(BaseModel):
    """Number of works that are labelled for a training query, by source."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    by_feature: int = Field(default=400, ge=1)
    """Works nearest by raw features."""
    by_student: int = Field(default=200, ge=0)
    """Works nearest by a first student; 0: labels are made in one round."""
    at_random: int = Field(default=200, ge=1)
    """Works sampled uniformly from the others."""

    def plan(self) -> CandidatePlan:
        """The plan that candidates are drawn by."""
        return CandidatePlan(**self.model_dump())


class RunConfig(BaseModel):
    """Configuration of one run."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1, pattern=r"^[a-z0-9][a-z0-9._-]*$")
    """Name of the release."""
    seed: int = Field(default=0, ge=0)
    """Seed of all random draws."""
    created: datetime = datetime(2026, 1, 1, tzinfo=UTC)
    """Date that the release states; not the clock's, so that two runs give the same bytes."""
    generator: Path | None = None
    """Directory of the generator's pipeline; None: the reference generator."""
    artifacts: Path | None = None
    """Directory of the teacher's prepared artifacts; None: `teacher` in the run's directory."""
    corpus: Path | None = None
    """File of the works; None: those of `work_features`, or the reference corpus."""
    towers: str = "embedded"
    """Specification of the towers (`creditline.towers.spec`)."""
    work_features: Path | None = None
    """Directory of precomputed CLIP features of the works, by the same towers."""
    labels: tuple[Path, ...] = ()
    """Existing label sets, which replace generation and labelling of queries; several are joined."""
    candidates: Candidates | None = None
    """Works that are labelled for each training query; None: all works."""
    teacher: str = FIRST_ORDER
    """Method that labels: "first-order" or any attribution method of the registry."""
    queries: QueryPlan = QueryPlan()
    """Queries that are generated and labelled."""
    recipe: str = OURS
    """Name of the training recipe."""
    width: int | None = Field(default=None, ge=1)
    """Dimension of the release's vectors, one that the recipe trains; None: the recipe's full dimension."""
    training: dict[str, Any] = Field(default_factory=dict)
    """Changed fields of the recipe (`TrainingPlan`), by name."""

    @field_validator("labels", mode="before")
    @classmethod
    def _one_or_many(cls, value: object) -> object:
        return (value,) if isinstance(value, str | Path) else value

    def with_absolute_paths(self) -> dict[str, Any]:
        """The configuration as JSON values with absolute paths, for workers in other current directories."""
        paths = {name: getattr(self, name) for name in _PATHS}
        absolute = {name: str(path.resolve()) for name, path in paths.items() if path is not None}
        prompts = {name: getattr(self.queries, name) for name in ("listed", "transfer")}
        queries = {name: str(path.resolve()) for name, path in prompts.items() if path is not None}
        dumped = self.model_dump(mode="json")
        labels = [str(path.resolve()) for path in self.labels]
        return {**dumped, **absolute, "labels": labels, "queries": {**dumped["queries"], **queries}}

    def plan(self) -> TrainingPlan:
        """The recipe with the changes of `training`.

        Raises:
            InvalidInput: The recipe, a field or a loss is unknown, or `width` is not among the trained
                dimensions.
        """
        if self.recipe not in RECIPES:
            raise InvalidInput(_unknown("recipe", self.recipe, RECIPES), field="recipe")
        known = {field.name for field in fields(TrainingPlan)}
        for key in self.training:
            if key not in known:
                raise InvalidInput(_unknown("training", key, known), field=f"training.{key}")
        changed = dict(self.training)
        if "loss" in changed:
            losses = {kind.value: kind for kind in LossKind}
            if changed["loss"] not in losses:
                raise InvalidInput(_unknown("training.loss", str(changed["loss"]), losses), field="loss")
            changed["loss"] = losses[changed["loss"]]
        if "nested" in changed:
            changed["nested"] = tuple(changed["nested"])
        plan = replace(RECIPES[self.recipe], **changed)
        if self.width is not None and self.width not in (plan.width, *plan.nested):
            raise InvalidInput(
                f"width {self.width} is not trained by this recipe, which trains"
                f" {', '.join(map(str, (plan.width, *plan.nested)))}; use one of those, or add it to"
                " training.nested",
                field="width",
            )
        return plan


def read_config(path: Path) -> RunConfig:
    """Read and check a configuration file.

    Raises:
        NotReady: The file does not exist.
        InvalidInput: The file is not a valid configuration; each wrong key is named.
    """
    if not path.is_file():
        raise NotReady(f"there is no configuration at {path}; write one, or correct the path", field="config")
    try:
        content = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise InvalidInput(f"{path} is not valid YAML ({error}); correct it", field="config") from error
    if not isinstance(content, dict):
        raise InvalidInput(
            f"{path} must be a mapping of keys to values, such as 'name: mine'", field="config"
        )
    try:
        config = RunConfig.model_validate(content)
    except ValidationError as error:
        raise InvalidInput(f"{path}: {'; '.join(_sentences(error))}", field="config") from error
    config.plan()
    TowerSpec.parse(config.towers)
    if config.labels and config.candidates is not None:
        raise InvalidInput(
            f"{path} has both 'labels', which exist already, and 'candidates' to be labelled; leave one"
            " of them out",
            field="candidates",
        )
    return config


_PATHS = ("generator", "artifacts", "corpus", "work_features")
_SECTIONS: dict[str, type[BaseModel]] = {"queries": QueryPlan, "candidates": Candidates}


def _sentences(error: ValidationError) -> Iterator[str]:
    for details in error.errors():
        location = [str(part) for part in details["loc"]]
        if details["type"] == "extra_forbidden":
            known = _SECTIONS.get(location[0], RunConfig).model_fields
            yield _unknown(".".join(location[:-1]) or "the configuration", location[-1], known)
        else:
            yield f"{'.'.join(location)}: {details['msg']} (got {details['input']!r})"


def _unknown(where: str, key: str, known: Collection[str]) -> str:
    nearest = difflib.get_close_matches(key, known, n=1, cutoff=0.0)
    return f"{where} does not accept {key!r}; the nearest accepted name is {nearest[0]!r}"
