"""Re-ranked answers through gateway, embedder, Qdrant and a reranker with a small generator."""

from __future__ import annotations

import base64
import json
import shutil
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import httpx
import numpy as np
import pytest
from typer.testing import CliRunner

from creditline.api.answers import AnswerForm, AttributionAnswer, WorkFilter
from creditline.cli.attribute import app as attribute_app
from creditline.client import AttributionQuery
from creditline.corpus.works import Work
from creditline.errors import (
    Conflict,
    CreditlineError,
    DeadlineExceeded,
    FailedPrecondition,
    InvalidInput,
    NotReady,
    ResourceExhausted,
    Unavailable,
)
from creditline.gateway.settings import GatewaySettings, LowAgreement
from creditline.ledger import EXPECTED, Ledger
from creditline.pictures.queries import query_pixels
from creditline.release import open_release
from creditline.v1 import attribution_pb2
from creditline.v1.attribution_pb2_grpc import AttributionStub
from tests.gateway.conftest import NOBODY, RunningGateway, running_gateway
from tests.gateway.pictures_made_up import as_file
from tests.gateway.served import Served
from tests.local.qdrant_process import local_qdrant
from tests.processes import wait_until
from tests.rerankable import CURVE, INTERVALS, Held, Rerankable, rerankable, running

if TYPE_CHECKING:
    from creditline.embedder.reranker import Reranker
    from creditline.encoder.model import EmbedderModel

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
RERANKED, CANDIDATES, SECONDS = AnswerForm.RERANKED, 20, 120


@dataclass(frozen=True)
class Place:
    """A gateway whose answers can be re-ranked."""

    gateway: RunningGateway
    served: Served
    made: Rerankable
    reranker: Reranker

    def ask(self, work: Work, **options: Any) -> AttributionAnswer:
        with self.gateway.client(timeout_seconds=SECONDS) as client:
            return client.attribute(work.thumbnail, prompt=work.caption, **{"form": RERANKED, **options})

    def refused(self, kind: type[CreditlineError], **options: Any) -> CreditlineError:
        with pytest.raises(kind) as error:
            self.ask(self.served.corpus.works[5], **options)
        return error.value

    def cosines(self, work: Work) -> dict[str, float]:
        """Cosines of all works with the query's vector, which a fast answer records."""
        query = self._vector(self.ask(work, form=AnswerForm.FAST, k=1))
        vectors = zip(self.made.release.work_ids(), self.made.release.vectors(), strict=True)
        return {work_id: float(vector @ query) for work_id, vector in vectors}

    def _vector(self, answer: AttributionAnswer) -> Any:
        with Ledger.open(self.gateway.settings.ledger_url) as ledger:
            stored = ledger.attribution(answer.attribution_id)
        return np.array(stored.answer["vector"], dtype=np.float32)

    def kernel(self, work: Work) -> dict[str, float]:
        """The kernel's scores of all works."""
        from creditline.embedder.reranker import RerankItem

        picture = query_pixels(work.thumbnail).picture()
        return self.reranker.score(RerankItem(picture, work.caption, self.served.corpus.ids)).scores


@pytest.fixture(scope="module")
def model(served: Served) -> EmbedderModel:
    from creditline.encoder.model import EmbedderModel
    from creditline.towers.spec import EMBEDDED

    return EmbedderModel.open(served.release.directory, EMBEDDED)


@pytest.fixture(scope="module")
def made(
    served: Served, random_generator_directory: Path, tmp_path_factory: pytest.TempPathFactory
) -> Rerankable:
    directory = tmp_path_factory.mktemp("reranked") / "release"
    shutil.copytree(served.release.directory, directory)
    return rerankable(open_release(directory), served.corpus, random_generator_directory)


@pytest.fixture(scope="module")
def reranker(made: Rerankable) -> Iterator[Reranker]:
    with made.opened() as opened:
        yield opened


def settings_of(served: Served, made: Rerankable, directory: Path, **changes: Any) -> GatewaySettings:
    return served.settings.model_copy(
        update={
            "release_directory": made.release.directory,
            "ledger_url": f"sqlite:///{directory}/ledger.db",
            "reranked_works": CANDIDATES,
            **changes,
        }
    )


@pytest.fixture(scope="module")
def place(
    served: Served,
    made: Rerankable,
    model: EmbedderModel,
    reranker: Reranker,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Place]:
    directory = tmp_path_factory.mktemp("reranking")
    with running(model, reranker) as embedder:
        settings = settings_of(served, made, directory, reranker_target=embedder.target)
        with running_gateway(settings) as gateway:
            yield Place(gateway, served, made, reranker)


def slow_shares(place: Place, work: Work) -> tuple[dict[str, float], dict[str, float], float]:
    """Shares of groups and contributors with every candidate listed, one work after another; and the rest."""
    cosines, kernel, calibration = place.cosines(work), place.kernel(work), place.made.release.calibration()
    nearest = sorted(cosines, key=lambda work_id: -cosines[work_id])[:CANDIDATES]
    groups: dict[str, float] = defaultdict(float)
    people: dict[str, float] = defaultdict(float)
    rest = 0.0
    for each in place.served.corpus:
        if each.id in nearest:
            order = kernel[each.id] + 0.5 * cosines[each.id]
            part = float(CURVE.expected_influence([order])[0])
            groups[each.duplicate_group] += part
        else:
            part = max(float(calibration.expected_influence([cosines[each.id]])[0]), 0.0)
            rest += float(calibration.expected_positive([cosines[each.id]])[0])
        for holder in each.holders:
            people[holder.name] += part * holder.percent / 100
    total = sum(groups.values()) + rest
    return (
        {group: part / total for group, part in groups.items()},
        {name: part / total for name, part in people.items()},
        rest / total,
    )


def test_the_whole_list_is_what_adding_up_one_work_after_the_other_gives(place: Place) -> None:
    work = place.served.corpus.works[5]
    group_of = {each.id: each.duplicate_group for each in place.served.corpus}
    groups, people, rest = slow_shares(place, work)

    answer = place.ask(work, k=CANDIDATES)

    assert (answer.form, answer.reranked_works) == (RERANKED, CANDIDATES)
    assert {group_of[each.id]: each.share for each in answer.works} == pytest.approx(groups, abs=2e-3)
    assert answer.remainder == pytest.approx(rest, abs=2e-3)
    shares = {each.name: each.share for each in answer.contributors}
    assert shares == pytest.approx({name: people[name] for name in shares}, abs=2e-3)
    assert answer.timings.rerank_ms > 0.0
    assert answer.coverage == INTERVALS.coverage


def test_works_are_ordered_by_the_kernel_and_each_shows_its_score(place: Place) -> None:
    work = place.served.corpus.works[5]
    kernel = place.kernel(work)

    answer = place.ask(work)

    assert {each.id: each.kernel_score for each in answer.works} == pytest.approx(
        {each.id: kernel[each.id] for each in answer.works}, abs=1e-3
    )
    singles = [each for each in answer.works if not each.copies]
    orders = [(each.kernel_score or 0.0) + 0.5 * each.score for each in singles]
    assert orders == sorted(orders, reverse=True)
    assert sum(each.share for each in answer.works) + answer.remainder == pytest.approx(1.0)
    assert all(each.share_from_prompt is None for each in answer.works)
    low, high = INTERVALS.works.of(orders)
    assert [each.share_low for each in singles] == pytest.approx(
        [min(bound, each.share) for bound, each in zip(low, singles, strict=True)], abs=1e-4
    )
    assert [each.share_high for each in singles] == pytest.approx(
        [max(bound, each.share) for bound, each in zip(high, singles, strict=True)], abs=1e-4
    )


def test_a_shorter_list_has_the_same_shares_and_a_larger_remainder(place: Place) -> None:
    work = place.served.corpus.works[5]
    long, short = place.ask(work, k=CANDIDATES), place.ask(work, k=3)

    def relative(answer: AttributionAnswer) -> list[float]:
        return [each.share / answer.works[0].share for each in answer.works[:3]]

    assert [each.id for each in short.works] == [each.id for each in long.works[:3]]
    assert relative(short) == pytest.approx(relative(long))
    assert short.remainder > long.remainder


def test_fast_answers_are_the_same_as_without_a_reranker(place: Place) -> None:
    work = place.served.corpus.works[5]
    with place.served.gateway.client(timeout_seconds=SECONDS) as client:
        without = client.attribute(work.thumbnail, prompt=work.caption)

    fast = place.ask(work, form=AnswerForm.FAST)

    assert (fast.works, fast.contributors, fast.remainder) == (
        without.works,
        without.contributors,
        without.remainder,
    )
    assert (fast.form, fast.reranked_works, fast.timings.rerank_ms) == (AnswerForm.FAST, 0, 0.0)


def test_a_re_ranked_answer_is_recorded_with_what_an_audit_needs(place: Place) -> None:
    answer = place.ask(place.served.corpus.works[5], k=3)

    with (
        place.gateway.client() as client,
        Ledger.open(place.gateway.settings.ledger_url) as ledger,
    ):
        recorded = client.attribution(answer.attribution_id).answer
        stored = ledger.attribution(answer.attribution_id)

    assert (recorded.works, recorded.form, recorded.reranked_works) == (answer.works, RERANKED, CANDIDATES)
    assert stored.form == "RERANKED"
    expected = stored.answer[EXPECTED]
    assert len(expected) == CANDIDATES
    assert [expected[each.id] for each in answer.works] == pytest.approx(
        [each.expected_influence for each in answer.works], rel=1e-4
    )


def test_rest_knows_the_form_too(place: Place) -> None:
    work = place.served.corpus.works[5]
    body = {"image": base64.b64encode(work.thumbnail).decode(), "prompt": work.caption}
    with place.gateway.http() as http:
        answers = [
            _post(http, {**body, "form": "RERANKED"}),
            _sent_as_form(http, work, {"prompt": work.caption, "form": "RERANKED"}),
        ]
        slow = http.post("/v1/attributions", json={**body, "form": "SLOW"})

    called = place.ask(work)
    for answer in answers:
        assert (answer["form"], answer["reranked_works"]) == ("RERANKED", CANDIDATES)
        assert [each["id"] for each in answer["works"]] == [each.id for each in called.works]
        assert answer["works"][0]["kernel_score"] == pytest.approx(called.works[0].kernel_score)
    assert slow.status_code == 400
    assert "form is 'SLOW'" in slow.json()["detail"]


def _post(http: httpx.Client, body: dict[str, str]) -> dict[str, Any]:
    answer: dict[str, Any] = http.post("/v1/attributions", json=body, timeout=SECONDS).json()
    return answer


def _sent_as_form(http: httpx.Client, work: Work, fields: dict[str, str]) -> dict[str, Any]:
    sent = http.post("/v1/attributions", files={"image": ("q", work.thumbnail)}, data=fields, timeout=SECONDS)
    answer: dict[str, Any] = sent.json()
    return answer


def test_batches_and_streams_answer_each_request_in_its_form(place: Place) -> None:
    work = place.served.corpus.works[5]
    query = AttributionQuery(work.thumbnail, work.caption)
    queries = [query, replace(query, form=RERANKED)]

    with place.gateway.client(timeout_seconds=SECONDS) as client:
        batch = client.attribute_batch(queries)
        streamed = dict(client.attribute_stream(queries, timeout_seconds=SECONDS))

    for answers in (batch, [streamed[0], streamed[1]]):
        assert [each.form for each in answers if isinstance(each, AttributionAnswer)] == [
            AnswerForm.FAST,
            RERANKED,
        ]


def test_a_request_id_holds_for_one_form(place: Place) -> None:
    work = place.served.corpus.works[5]
    first = place.ask(work, request_id="re-ranked-once")

    again = place.ask(work, request_id="re-ranked-once")

    assert again == first
    with pytest.raises(Conflict):
        place.ask(work, request_id="re-ranked-once", form=AnswerForm.FAST)


def test_a_filter_restricts_the_list_and_not_what_a_share_is(place: Place) -> None:
    work = place.served.corpus.works[5]
    contributor = place.ask(work, k=CANDIDATES).works[2].contributor

    answer = place.ask(work, filter=WorkFilter(contributors=(contributor,)))

    assert {each.contributor for each in answer.works} == {contributor}
    assert sum(each.share for each in answer.works) + answer.remainder == pytest.approx(1.0)
    assert answer.corpus_works == len(place.served.corpus)


def test_requests_that_cannot_be_re_ranked_are_refused_with_a_sentence(place: Place) -> None:
    vector = {"values": [1.0], "release": "development", "encoder": "a" * 64}
    with place.gateway.http() as http:
        private = http.post("/v1/attributions", json={"vector": vector, "form": "RERANKED"})
    with grpc.insecure_channel(place.gateway.target) as channel:
        request = attribution_pb2.AttributeRequest(prompt="a tree", form=7)  # type: ignore[arg-type]
        with pytest.raises(grpc.RpcError) as unknown:
            AttributionStub(channel).Attribute(request)

    assert (private.status_code, private.json()["field"]) == (400, "form")
    assert "a private query cannot be re-ranked" in private.json()["detail"]
    assert unknown.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert "form is 7; send 1 for a fast answer" in unknown.value.details()
    assert f"{CANDIDATES} works are re-ranked" in place.refused(InvalidInput, k=CANDIDATES + 1).message
    assert "ask for FAST or RERANKED" in place.refused(InvalidInput, form="SLOW").message


def test_a_release_without_rows_refuses_and_names_the_command(served: Served) -> None:
    work = served.corpus.works[5]
    with (
        served.gateway.client(timeout_seconds=SECONDS) as client,
        pytest.raises(FailedPrecondition, match="make the rows with `creditline release rerank`") as error,
    ):
        client.attribute(work.thumbnail, prompt=work.caption, form=RERANKED)
    assert error.value.field == "form"


@pytest.mark.parametrize("target", ["", NOBODY])
def test_without_a_reranker_fast_answers_go_on(
    served: Served, made: Rerankable, tmp_path: Path, target: str
) -> None:
    """With an empty target the embedder is asked, which does not re-rank."""
    with running_gateway(settings_of(served, made, tmp_path, reranker_target=target)) as gateway:
        work = served.corpus.works[5]
        with gateway.client(timeout_seconds=SECONDS) as client, gateway.http() as http:
            fast = client.attribute(work.thumbnail, prompt=work.caption)
            kind, message = (
                (Unavailable, "the reranker does not answer at")
                if target
                else (NotReady, "does not re-rank;")
            )
            with pytest.raises(kind, match=message):
                client.attribute(work.thumbnail, prompt=work.caption, form=RERANKED)
            ready = http.get("/readyz")
    assert fast.works
    states = {each["service"]: each["up"] for each in ready.json()["dependencies"]}
    assert ready.status_code == 200
    assert states.get("reranker") == (False if target else None)


def test_rows_of_another_making_are_refused(
    served: Served, made: Rerankable, model: EmbedderModel, reranker: Reranker, tmp_path: Path
) -> None:
    held = Held(reranker)
    held.gate.set()
    held.rows = "0" * 64
    with running(model, held) as embedder:
        settings = settings_of(served, made, tmp_path, reranker_target=embedder.target)
        with running_gateway(settings) as gateway:
            refused = Place(gateway, served, made, reranker).refused(NotReady)
    assert "with gradient rows 0000000000000000… loaded" in refused.message


def test_a_query_that_is_read_by_its_picture_alone_is_not_re_ranked(
    served: Served, made: Rerankable, place: Place, tmp_path: Path
) -> None:
    target = place.gateway.settings.reranker_target
    settings = settings_of(served, made, tmp_path, reranker_target=target, low_agreement=LowAgreement.PICTURE)
    work = next(work for work in served.corpus.works if (_agreement(place, work)) > 0.5)
    other = next(each for each in served.corpus.works if each is not work)
    with running_gateway(settings) as gateway, gateway.client(timeout_seconds=SECONDS) as client:
        image = as_file(work.picture(), "PNG")
        assert client.attribute(image, prompt=work.caption, form=RERANKED).form is RERANKED
        with pytest.raises(InvalidInput, match="answers from the picture alone, which cannot be re-ranked"):
            client.attribute(image, prompt=other.caption, form=RERANKED)


def _agreement(place: Place, work: Work) -> float:
    return place.ask(work, form=AnswerForm.FAST).prompt_agreement or 0.0


def test_a_full_queue_and_a_deadline_are_refused_while_fast_answers_go_on(
    served: Served, made: Rerankable, model: EmbedderModel, reranker: Reranker, tmp_path: Path
) -> None:
    held, work = Held(reranker), served.corpus.works[5]
    with running(model, held, embedder_rerank_queue=1) as embedder:
        settings = settings_of(served, made, tmp_path, reranker_target=embedder.target)
        with running_gateway(settings) as gateway, ThreadPoolExecutor(2) as callers:
            place = Place(gateway, served, made, reranker)
            waiting = "creditline_embedder_rerank_waiting"
            in_flight = "creditline_embedder_rerank_calls_in_flight"
            first = callers.submit(place.ask, work)
            wait_until(lambda: embedder.metric(in_flight) == 1, "the first one is taken", SECONDS)
            wait_until(lambda: embedder.metric(waiting) == 0, "the first one is taken", SECONDS)
            second = callers.submit(place.ask, served.corpus.works[6])
            wait_until(lambda: embedder.metric(waiting) == 1, "the second one waits", SECONDS)

            full = place.refused(ResourceExhausted)
            fast = place.ask(work, form=AnswerForm.FAST)
            held.gate.set()
            answers = first.result(), second.result()

            held.gate.clear()
            with gateway.client(timeout_seconds=2.0) as client, pytest.raises(DeadlineExceeded):
                client.attribute(work.thumbnail, prompt=work.caption, form=RERANKED)
            held.gate.set()
    assert "is busy" in full.message
    assert "ask for a fast answer" in full.message
    assert fast.works
    assert [each.form for each in answers] == [RERANKED, RERANKED]


def test_a_withdrawn_work_is_not_re_ranked_and_its_influence_stays_in_the_remainder(
    served: Served, made: Rerankable, place: Place, filled_qdrant: Path, tmp_path: Path
) -> None:
    """On a copy of the index, so that nothing is withdrawn from other tests."""
    work = served.corpus.works[5]
    before = place.ask(work, k=CANDIDATES)
    single = next(each for each in before.works if not each.copies)
    shutil.copytree(filled_qdrant, tmp_path / "qdrant")
    with local_qdrant(tmp_path / "qdrant") as index:
        settings = settings_of(
            served,
            made,
            tmp_path,
            reranker_target=place.gateway.settings.reranker_target,
            qdrant_grpc_port=index.port,
        )
        with running_gateway(settings) as gateway, gateway.client(timeout_seconds=SECONDS) as client:
            client.withdraw_work(single.id)
            after = client.attribute(work.thumbnail, prompt=work.caption, k=CANDIDATES, form=RERANKED)
    assert single.id not in {each.id for each in after.works}
    assert sum(each.share for each in after.works) + after.remainder == pytest.approx(1.0)
    assert (after.corpus_works, after.reranked_works) == (before.corpus_works, CANDIDATES)


def test_the_command_line_asks_for_a_re_ranked_answer_and_says_so(place: Place, tmp_path: Path) -> None:
    work = place.served.corpus.works[5]
    picture = tmp_path / "picture.png"
    picture.write_bytes(as_file(work.picture(), "PNG"))
    options = ["--prompt", work.caption, "--target", place.gateway.target, "--reranked"]

    shown = CliRunner().invoke(attribute_app, [str(picture), *options])
    as_json = CliRunner().invoke(attribute_app, [str(picture), *options, "--json"])

    assert shown.exit_code == 0, shown.output
    assert "This answer is re-ranked" in " ".join(shown.output.split())
    assert f"{CANDIDATES} works" in " ".join(shown.output.split())
    assert json.loads(as_json.output)["form"] == "RERANKED"
