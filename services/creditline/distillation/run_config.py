"""What a distillation run is made from: one YAML file, every key of which is known.

Paths are relative to where the command is called. The same file and seed give the same release.
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
    """Which pictures are made: so many to learn from and to judge by, some of two works' titles.

    listed: a file, a prompt a line; `listed_fraction` of the training queries are of it. transfer: a file of
    other prompts; the `transfer_count` of them to which no work's caption is close are judged by.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    training: int = Field(default=600, ge=2)
    held_out: int = Field(default=400, ge=16)
    mixed_fraction: float = Field(default=0.35, ge=0.0, le=1.0)
    guidances: tuple[float, ...] = Field(default=(2.5, 1.5, 4.0), min_length=1)
    listed: Path | None = None
    listed_fraction: float = Field(default=0.25, gt=0.0, le=1.0)
    transfer: Path | None = None
    transfer_count: int = Field(default=100, ge=2)


class Candidates(BaseModel):
    """Which works are labelled for a training query: nearest by raw features, by a first student, random."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    by_feature: int = Field(default=400, ge=1)
    by_student: int = Field(default=200, ge=0)
    at_random: int = Field(default=200, ge=1)

    def plan(self) -> CandidatePlan:
        """What draws them."""
        return CandidatePlan(**self.model_dump())


class RunConfig(BaseModel):
    """One run. Without `generator` and `corpus` they are the reference ones.

    work_features: a directory of CLIP features of the works, computed before by the same towers; without
    `corpus` it tells the works too. labels: label sets that are there already, instead of pictures and
    labels of one's own; several are joined. candidates: which works are labelled for each training query, all
    of them if left out. teacher: the first order of unlearning, or any method of the library. training: what
    is changed in the recipe. width: how many numbers of a nested recipe's vectors are kept, all if left out.
    created: the date that the release carries; it is no clock's, so that two runs give the same bytes.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1, pattern=r"^[a-z0-9][a-z0-9._-]*$")
    seed: int = Field(default=0, ge=0)
    created: datetime = datetime(2026, 1, 1, tzinfo=UTC)
    generator: Path | None = None
    artifacts: Path | None = None
    corpus: Path | None = None
    towers: str = "embedded"
    work_features: Path | None = None
    labels: tuple[Path, ...] = ()
    candidates: Candidates | None = None
    teacher: str = FIRST_ORDER
    queries: QueryPlan = QueryPlan()
    recipe: str = OURS
    width: int | None = Field(default=None, ge=1)
    training: dict[str, Any] = Field(default_factory=dict)

    @field_validator("labels", mode="before")
    @classmethod
    def _one_or_many(cls, given: object) -> object:
        return (given,) if isinstance(given, str | Path) else given

    def anywhere(self) -> dict[str, Any]:
        """The same with absolute paths, of JSON's kinds: for workers that stand elsewhere."""
        paths = {name: getattr(self, name) for name in _PATHS}
        absolute = {name: str(path.resolve()) for name, path in paths.items() if path is not None}
        listed = {name: getattr(self.queries, name) for name in ("listed", "transfer")}
        queries = {name: str(path.resolve()) for name, path in listed.items() if path is not None}
        dumped = self.model_dump(mode="json")
        labels = [str(path.resolve()) for path in self.labels]
        return {**dumped, **absolute, "labels": labels, "queries": {**dumped["queries"], **queries}}

    def plan(self) -> TrainingPlan:
        """The recipe with what is changed in it. Raises InvalidInput for an unknown recipe or field."""
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
                f"width {self.width} is none that is trained: {plan.width}, nested {plan.nested}; name one"
                " of those, or add it to training.nested",
                field="width",
            )
        return plan


def read_config(path: Path) -> RunConfig:
    """Raises NotReady when it is not there, InvalidInput for what is no configuration, naming each key."""
    if not path.is_file():
        raise NotReady(f"no configuration at {path}; write one, or correct the path", field="config")
    try:
        content = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise InvalidInput(f"{path} is no YAML: {error}; correct it", field="config") from error
    if not isinstance(content, dict):
        raise InvalidInput(f"{path} must be a mapping of keys, such as 'name: mine'", field="config")
    try:
        config = RunConfig.model_validate(content)
    except ValidationError as error:
        raise InvalidInput(f"{path}: {'; '.join(_sentences(error))}", field="config") from error
    config.plan()
    TowerSpec.parse(config.towers)
    if config.labels and config.candidates is not None:
        raise InvalidInput(
            f"{path} names labels that are there and candidates to be labelled; leave one of them out",
            field="candidates",
        )
    return config


_PATHS = ("generator", "artifacts", "corpus", "work_features")
_PARTS: dict[str, type[BaseModel]] = {"queries": QueryPlan, "candidates": Candidates}


def _sentences(error: ValidationError) -> Iterator[str]:
    for wrong in error.errors():
        place = [str(part) for part in wrong["loc"]]
        if wrong["type"] == "extra_forbidden":
            known = _PARTS.get(place[0], RunConfig).model_fields
            yield _unknown(".".join(place[:-1]) or "the configuration", place[-1], known)
        else:
            yield f"{'.'.join(place)}: {wrong['msg']} (got {wrong['input']!r})"


def _unknown(where: str, key: str, known: Collection[str]) -> str:
    nearest = difflib.get_close_matches(key, known, n=1, cutoff=0.0)
    return f"{where} knows no {key!r}; the nearest that it knows is {nearest[0]!r}"
