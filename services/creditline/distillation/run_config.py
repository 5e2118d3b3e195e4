"""Configuration of a distillation run: a YAML file, options, or both; unknown keys are refused.

Paths are relative to the current directory. The same configuration with the same `created` gives the same
release.
"""

from __future__ import annotations

import difflib
import math
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
from creditline.generator.adapters.specification import AdapterSpec
from creditline.towers.spec import TowerSpec

# Fewer training queries leave too few for validation; fewer held-out ones give neither calibration nor
# intervals nor an out-of-distribution score.
MIN_QUERIES = 16
_MOST_TRAINING, _MOST_HELD_OUT = 600, 400
_LEAST_TRAINING, _LEAST_HELD_OUT = 96, 48
# Training and held-out queries per work, up to the limits above.
_TRAINING_PER_WORK, _HELD_OUT_PER_WORK = 0.4, 0.16
# Of `--quick`: enough to try everything out, with wide intervals.
_QUICK_TRAINING, _QUICK_HELD_OUT = 64, 32


class QueryPlan(BaseModel):
    """The queries whose pictures are generated."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    training: int | None = Field(default=None, ge=MIN_QUERIES)
    """Number of training queries; None: chosen by the size of the corpus."""
    held_out: int | None = Field(default=None, ge=MIN_QUERIES)
    """Number of held-out queries; None: chosen by the size of the corpus."""
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

    def sized(self, prompts: int) -> SizedQueries:
        """The plan with numbers of queries for a corpus.

        Args:
            prompts: Number of different captions of the corpus, which held-out prompts are drawn from.

        Raises:
            InvalidInput: The corpus has too few captions for the held-out queries.
        """
        most = int((prompts - 2) / (1.0 + self.mixed_fraction))
        wanted = min(_MOST_HELD_OUT, max(_LEAST_HELD_OUT, round(_HELD_OUT_PER_WORK * prompts)))
        # At most half of the captions, so that training prompts are left.
        held_out = self.held_out or max(MIN_QUERIES, min(wanted, most // 2))
        if held_out > most:
            needed = math.ceil(held_out * (1.0 + self.mixed_fraction)) + 2
            raise InvalidInput(
                f"{held_out} held-out queries need at least {needed} works with different captions, but the"
                f" corpus has {prompts}; "
                + ("bring more works" if held_out == MIN_QUERIES else "lower queries.held_out"),
                field="queries.held_out",
            )
        training = min(_MOST_TRAINING, max(_LEAST_TRAINING, round(_TRAINING_PER_WORK * prompts)))
        return SizedQueries(
            **{**self.model_dump(), "training": self.training or training, "held_out": held_out}
        )


class SizedQueries(QueryPlan):
    """A query plan with all numbers."""

    training: int = Field(ge=MIN_QUERIES)
    """Number of training queries."""
    held_out: int = Field(ge=MIN_QUERIES)
    """Number of held-out queries."""


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
    created: datetime | None = None
    """Date that the release states; None: when the run began. Two runs with the same date give the same
    bytes."""
    generator: Path | None = None
    """Directory of the generator's pipeline; None: the reference generator, for the reference corpus only."""
    adapters: tuple[str, ...] = ()
    """LoRA adapters that are merged into the generator, each `FILE` or `FILE:strength`."""
    prediction_check: bool = True
    """Whether to check first that the UNet predicts what its scheduler says; false: the scheduler's word is
    taken."""
    artifacts: Path | None = None
    """Directory of the teacher's prepared artifacts; None: `teacher` in the run's directory."""
    corpus: Path | None = None
    """Source of the works, in any format that `creditline corpus inspect` reads; None: the works of
    `work_features`, or the reference corpus."""
    corpus_kind: str | None = None
    """Format of the corpus; None: detected."""
    consent_override: str | None = Field(default=None, min_length=10)
    """Why works whose statements prohibit training, or tie it to conditions, are used; None: such works are
    refused. The model card repeats it."""
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

    @field_validator("created")
    @classmethod
    def _with_time_zone(cls, value: datetime | None) -> datetime | None:
        return value if value is None or value.tzinfo else value.replace(tzinfo=UTC)

    @field_validator("adapters", "labels", mode="before")
    @classmethod
    def _one_or_many(cls, value: object) -> object:
        return (value,) if isinstance(value, str | Path) else value

    @property
    def adapter_specs(self) -> tuple[AdapterSpec, ...]:
        """The adapters with their strengths. Raises InvalidInput for a strength of 0."""
        return tuple(AdapterSpec.parse(text) for text in self.adapters)

    @property
    def is_of_reference(self) -> bool:
        """Whether the run is of the reference corpus and generator."""
        return self.corpus is None and self.work_features is None and self.generator is None

    def refuse_contradictions(self) -> None:
        """Check that the keys fit together.

        Raises:
            InvalidInput: Two keys exclude each other, one is missing beside another, or a recipe is unknown.
        """
        self.plan()
        TowerSpec.parse(self.towers)
        if self.adapter_specs and self.generator is None:
            raise InvalidInput(
                f"the adapter {self.adapters[0]} is given without the generator that it is merged into; name"
                " its directory (--generator DIR, key 'generator')",
                field="generator",
            )
        if self.labels and self.candidates is not None:
            raise InvalidInput(
                "the configuration has both 'labels', which exist already, and 'candidates' to be labelled;"
                " leave one of them out",
                field="candidates",
            )
        own_works = self.corpus or self.work_features
        if own_works and self.generator is None and not self.labels:
            raise InvalidInput(
                f"the corpus {own_works} is given without a generator; name the directory of the generator"
                " that was trained on it (--generator DIR, key 'generator')",
                field="generator",
            )
        if self.generator is not None and not own_works:
            raise InvalidInput(
                f"the generator {self.generator} is given without a corpus; name the works that it was"
                " trained on (--corpus SOURCE, key 'corpus')",
                field="corpus",
            )

    def with_absolute_paths(self) -> dict[str, Any]:
        """The configuration as JSON values with absolute paths, for workers in other current directories."""
        paths = {name: getattr(self, name) for name in _PATHS}
        absolute = {name: str(path.resolve()) for name, path in paths.items() if path is not None}
        prompts = {name: getattr(self.queries, name) for name in ("listed", "transfer")}
        queries = {name: str(path.resolve()) for name, path in prompts.items() if path is not None}
        dumped = self.model_dump(mode="json")
        labels = [str(path.resolve()) for path in self.labels]
        adapters = [str(adapter.absolute()) for adapter in self.adapter_specs]
        changed = {"labels": labels, "adapters": adapters, "queries": {**dumped["queries"], **queries}}
        return {**dumped, **absolute, **changed}

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


def read_config(path: Path | None, **options: Any) -> RunConfig:
    """Read and check a configuration.

    Args:
        path: The YAML file; None: the options alone.
        **options: Keys that replace those of the file, where they are not None; keys of `queries` are those
            of the file with the given ones replaced.

    Raises:
        NotReady: The file does not exist.
        InvalidInput: The configuration is not valid; each wrong key is named.
    """
    content = {} if path is None else _yaml(path)
    content |= {key: value for key, value in options.items() if value is not None and key != "queries"}
    if options.get("queries"):
        content["queries"] = {**(content.get("queries") or {}), **options["queries"]}
    where = "the configuration" if path is None else str(path)
    try:
        config = RunConfig.model_validate(content)
    except ValidationError as error:
        raise InvalidInput(f"{where}: {'; '.join(_sentences(error))}", field="config") from error
    config.refuse_contradictions()
    return config


def query_counts(queries: int | None, *, quick: bool) -> dict[str, int]:
    """Keys of `queries` for the command line's options.

    Args:
        queries: Number of training queries; None: not chosen.
        quick: Whether as few queries as are useful are wanted.
    """
    counts = {"training": _QUICK_TRAINING, "held_out": _QUICK_HELD_OUT} if quick else {}
    if queries is not None:
        counts["training"] = queries
    return counts


def _yaml(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise NotReady(f"there is no configuration at {path}; write one, or correct the path", field="config")
    try:
        content = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path} is not valid YAML ({error}); correct it", field="config") from error
    if not isinstance(content, dict):
        raise InvalidInput(
            f"{path} must be a mapping of keys to values, such as 'name: mine'", field="config"
        )
    return content


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
