"""`creditline withdraw` and `creditline attribution show` against a real gateway, as a person types them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from creditline.corpus.openclipart import embedded_corpus
from creditline.release import Release
from tests.cli.credit_line_sample import sample_answer, sample_picture, sample_works
from tests.gateway.conftest import GENERATOR, RunningGateway, gateway_settings, release, running_gateway

__all__ = ["release"]

Creditline = Callable[..., "subprocess.CompletedProcess[str]"]
_WORK = embedded_corpus().works[20]


@pytest.fixture
def gateway(tmp_path: Path, release: Release) -> Iterator[RunningGateway]:
    with running_gateway(gateway_settings(tmp_path, release, api_keys="right")) as running:
        yield running


@pytest.fixture
def creditline(gateway: RunningGateway) -> Creditline:
    def run(*arguments: str, key: str = "right") -> subprocess.CompletedProcess[str]:
        environment = {
            **os.environ,
            "CREDITLINE_GATEWAY_TARGET": gateway.target,
            "CREDITLINE_API_KEY": key,
        }
        return subprocess.run(
            [sys.executable, "-m", "creditline.cli.main", *arguments],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            env=environment,
        )

    return run


@pytest.mark.parametrize("revoke", ["--revoke", "--back"])
def test_a_work_and_a_contributor_are_withdrawn_listed_and_revoked(
    creditline: Creditline, revoke: str
) -> None:
    work = ("--work", _WORK.id, "--contributor", _WORK.contributor)
    done = creditline("withdraw", *work, "--reason", "asked [by letter]", "--by", "the office")
    assert done.returncode == 0, done.stderr
    count = sum(each.contributor == _WORK.contributor for each in embedded_corpus())
    assert f"Work {_WORK.id} is withdrawn from all answers since" in done.stdout
    assert f"{_WORK.contributor} ({count} works in this corpus) is withdrawn from all answers" in done.stdout
    assert "The index is not updated yet and will be: Qdrant does not answer" in done.stdout
    listed = creditline("withdraw", "--list").stdout
    for said in (_WORK.id, _WORK.contributor, "asked [by letter]", "the office"):
        assert said in listed
    revoked = creditline("withdraw", *work, revoke)
    assert f"Work {_WORK.id} may be listed again" in revoked.stdout
    assert f"{_WORK.contributor} ({count} works in this corpus) may be listed again" in revoked.stdout
    assert creditline("withdraw", "--list").stdout == "Nothing is withdrawn.\n"


def test_the_help_names_the_option_revoke_and_not_its_former_spelling(creditline: Creditline) -> None:
    shown = creditline("withdraw", "--help").stdout
    assert "--revoke" in shown
    assert "--back" not in shown


def test_a_slip_of_the_pen_is_one_line_with_the_nearest_names(creditline: Creditline) -> None:
    name = _WORK.contributor
    slip = creditline("withdraw", "--contributor", f"{name.swapcase()}x")
    assert slip.returncode == 2
    assert slip.stdout == ""
    assert repr(name) in slip.stderr
    assert "--not-in-corpus" in slip.stderr
    assert slip.stderr.count("\n") == 1
    meant = creditline("withdraw", "--contributor", "Nobody Yet", "--not-in-corpus")
    assert "Nobody Yet (0 works in this corpus) is withdrawn from all answers" in meant.stdout


def test_contributors_are_merged_listed_and_parted(creditline: Creditline) -> None:
    other = next(work.contributor for work in embedded_corpus() if work.contributor != _WORK.contributor)
    pair = ("contributors", "merge", _WORK.contributor, other)
    done = creditline(*pair, "--by", "the [office]")
    assert done.returncode == 0, done.stderr
    assert f"{other} is one person with {_WORK.contributor}, who is credited for both" in done.stdout
    listed = creditline("contributors", "list").stdout
    assert f"{_WORK.contributor} is also {other} since" in listed
    assert "by: the [office]" in listed
    assert "are two people again" in creditline(*pair, "--revoke").stdout
    assert creditline("contributors", "list").stdout == "No contributors are merged.\n"
    history = json.loads(creditline("contributors", "list", "--history", "--json").stdout)
    assert [each["action"] for each in history] == ["MERGED", "REVOKED"]
    unknown = creditline("contributors", "merge", _WORK.contributor, "id:account:7")
    assert (unknown.returncode, unknown.stderr.count("\n")) == (2, 1)
    assert "contributor id 'account:7' is neither in corpus" in unknown.stderr


@pytest.mark.parametrize("arguments", [(), ("--list", "--work", "w")])
def test_a_call_without_a_subject_or_with_both_forms_is_refused(
    creditline: Creditline, arguments: tuple[str, ...]
) -> None:
    done = creditline("withdraw", *arguments)
    assert done.returncode == 2
    assert "--contributor NAME" in done.stderr


def test_a_wrong_key_is_one_line(creditline: Creditline) -> None:
    done = creditline("withdraw", "--work", _WORK.id, key="wrong")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "API key" in done.stderr


def test_programs_read_json(creditline: Creditline) -> None:
    status = json.loads(creditline("withdraw", "--work", _WORK.id, "--json").stdout)
    assert (status["withdrawal"]["subject"], status["carried_out"]) == (_WORK.id, False)
    (listed,) = json.loads(creditline("withdraw", "--list", "--json").stdout)
    assert listed["id"] == status["withdrawal"]["id"]


def test_a_past_credit_line_is_shown_with_its_marks(
    creditline: Creditline, gateway: RunningGateway, tmp_path: Path
) -> None:
    from creditline.gateway.use_cases.attributions import stored_contributor, stored_work
    from creditline.ledger import Ledger

    answer = sample_answer()
    with Ledger.open(gateway.settings.ledger_url) as ledger:
        attribution_id = ledger.record_attribution(
            release="gateway-test",
            generator=GENERATOR,
            corpus="b" * 64,
            prompt="a red ladybug",
            image=sample_picture(sample_works()[0]),
            k=10,
            answer={
                "works": [stored_work(work) for work in answer.works],
                "contributors": [stored_contributor(person) for person in answer.contributors],
                "remainder": answer.remainder,
            },
        )
    assert "withdrawn" not in creditline("attribution", "show", attribution_id).stdout
    creditline("withdraw", "--work", answer.works[0].id)
    shown = creditline("attribution", "show", attribution_id, "--output", str(tmp_path / "line"))
    assert shown.returncode == 0, shown.stderr
    assert "(withdrawn on" in " ".join(shown.stdout.split())
    assert "Since then 1 work of this line has been withdrawn" in " ".join(shown.stdout.split())
    written = json.loads((tmp_path / "line" / "credit-line.json").read_text())
    assert [work["withdrawn"] for work in written["works"]] == [True] + [False] * 9
    assert answer.works[0].title in (tmp_path / "line" / "credit-line.html").read_text()
