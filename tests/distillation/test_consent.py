"""Works whose statements do not leave training free, and the reason why a run uses them nevertheless."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from creditline.corpus.consent.uses import Consent, Permission, Statement, Use
from creditline.corpus.works import Corpus, write_corpus
from creditline.distillation.consent import consent_note, refuse_without_consent
from creditline.distillation.run_config import read_config
from creditline.distillation.run_context import RunContext
from creditline.errors import InvalidInput
from tests.corpus.works_factory import plain_works

_REASON = "Ann allowed it by letter of 3 May"


def _corpus(*said: Permission | None, use: Use = Use.GENERATIVE_TRAINING) -> Corpus:
    works = []
    for work, permission in zip(plain_works(len(said)), said, strict=True):
        stated = () if permission is None else (Statement.of("column noai", "yes", {use: permission}),)
        works.append(replace(work, consent=Consent(stated)))
    return Corpus("mine", tuple(works))


@pytest.mark.parametrize("permission", [Permission.PROHIBITED, Permission.CONSTRAINED])
@pytest.mark.parametrize("use", [Use.GENERATIVE_TRAINING, Use.TRAINING])
def test_works_that_may_not_be_trained_on_are_refused_by_counts(permission: Permission, use: Use) -> None:
    corpus = _corpus(None, permission, permission, use=use)
    with pytest.raises(InvalidInput) as refused:
        refuse_without_consent(corpus, None)
    assert f"2 of 3 works of mine do not leave training free (2 {permission}, 1 unspecified)" in str(
        refused.value
    )
    assert "w1 (column noai: yes)" in str(refused.value)


@pytest.mark.parametrize(
    "corpus",
    [
        _corpus(None, Permission.ALLOWED, Permission.UNREADABLE),
        _corpus(Permission.PROHIBITED, use=Use.INFERENCE),
        _corpus(Permission.PROHIBITED, use=Use.MINING),
    ],
)
def test_nothing_said_about_training_and_what_cannot_be_read_is_not_refused(corpus: Corpus) -> None:
    refuse_without_consent(corpus, None)
    assert "prohibited" not in consent_note(corpus, None)


def test_the_model_card_repeats_counts_and_reason() -> None:
    note = consent_note(_corpus(None, Permission.PROHIBITED), _REASON)
    assert "1 prohibited, 1 unspecified" in note
    assert f"as the operator stated it: “{_REASON}”" in note
    assert consent_note(_corpus(None, None), _REASON) == ""


def test_a_run_stops_before_anything_is_made_unless_its_configuration_says_why(tmp_path: Path) -> None:
    write_corpus(_corpus(Permission.PROHIBITED), tmp_path / "works.parquet")
    options = {"name": "mine", "corpus": tmp_path / "works.parquet", "generator": tmp_path / "sd"}
    with pytest.raises(InvalidInput, match="consent_override"):
        RunContext(read_config(None, **options), tmp_path, print).corpus  # noqa: B018
    explained = RunContext(read_config(None, **options, consent_override=_REASON), tmp_path, print)
    assert explained.corpus.ids == ("w0",)
