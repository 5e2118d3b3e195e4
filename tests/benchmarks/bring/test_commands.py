"""The fast core of `commands_to_answers`: the same commands on sixty pictures."""

from __future__ import annotations

from pathlib import Path

import pytest

from creditline.corpus.works import Corpus
from creditline.generator.reference import reference_corpus
from creditline.release import open_release
from tests.benchmarks.bring.commands import newcomer, to_an_audited_answer


@pytest.mark.heavy
@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_a_folder_and_a_generator_become_an_audited_answer_in_four_commands(tmp_path: Path) -> None:
    corpus = Corpus("pictures", reference_corpus().works[::29][:60])
    with newcomer(tmp_path, corpus, vae_steps=10, unet_steps=10) as somebody:
        audit = to_an_audited_answer(somebody, "--quick", "--queries", "16")
        release = open_release(somebody.directory / "releases" / "mine")
    assert [typed["status"] for typed in somebody.typed] == [0, 0, 0, 0]
    assert audit["state"] == "DONE"
    assert audit["verdict"]["listed_works"] == 10
    assert (release.works, release.corpus_name) == (60, "pictures")
    assert release.parts["generator"].place == "../../my-sd"
    # The ledger and all else is in the working directory. Left at home are the compiled towers.
    left = {path.relative_to(somebody.home).parts[:3] for path in somebody.home.rglob("*") if path.is_file()}
    assert left == {(".cache", "creditline", "towers")}
