"""One query through the real embedder and the real Qdrant: the credit line, and its row in the ledger."""

from __future__ import annotations

import io
import json
import re
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from typer.testing import CliRunner

from creditline.api.answers import AttributionAnswer, PictureAloneRecall
from creditline.cli.attribute import app as attribute_app
from creditline.corpus.works import Work
from creditline.embedder_client.pixels import pixels_message
from creditline.errors import InvalidInput, NotReady, Unavailable
from creditline.gateway.settings import LowAgreement
from creditline.ledger import Ledger
from creditline.local.stack import LocalStack
from creditline.pictures.queries import query_pixels
from creditline.release import Release
from creditline.teacher.expectations import Expectations
from creditline.v1 import embedder_pb2
from creditline.v1.embedder_pb2_grpc import EmbedderStub
from tests.gateway.conftest import GENERATOR, gateway_settings, running_gateway
from tests.gateway.pictures_made_up import as_file, red_square
from tests.gateway.served import APPLE, FLAGS, SHARED, Served

# The fixture embeds a corpus and starts three processes, which takes long on a busy machine.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def _ask(served: Served, work: Work, **options: Any) -> AttributionAnswer:
    """Ask for a work itself, with its own caption: it must be its own nearest."""
    with served.gateway.client(timeout_seconds=120) as client:
        return client.attribute(work.thumbnail, prompt=work.caption, generator=GENERATOR, **options)


def _work(served: Served, work_id: str) -> Work:
    return served.corpus.works[served.corpus.row(work_id)]


def _embedded(served: Served, work: Work) -> NDArray[np.float32]:
    """The query's vector, straight from the embedder."""
    item = embedder_pb2.EmbedRequest.Item(
        pixels=pixels_message(query_pixels(work.thumbnail)), text=work.caption
    )
    with grpc.insecure_channel(served.embedder_target) as channel:
        request = embedder_pb2.EmbedRequest(items=[item], side=embedder_pb2.SIDE_QUERY)
        return np.array(EmbedderStub(channel).Embed(request, timeout=30).vectors[0].values)


def _slow_shares(served: Served, work: Work) -> tuple[dict[str, float], dict[str, float]]:
    """Every group's and every contributor's share of the whole corpus, one work after the other."""
    vector, calibration = _embedded(served, work), served.release.calibration()
    groups: dict[str, float] = defaultdict(float)
    people: dict[str, float] = defaultdict(float)
    for each, row in zip(served.corpus, served.release.vectors(), strict=True):
        part = max(float(calibration.expected_influence([float(row @ vector)])[0]), 0.0)
        groups[each.duplicate_group] += part
        for holder in each.holders:
            people[holder.name] += part * holder.percent / 100
    total = sum(groups.values())
    return ({k: v / total for k, v in groups.items()}, {k: v / total for k, v in people.items()})


def test_a_work_that_is_asked_for_is_listed_first(served: Served) -> None:
    for work in served.corpus.works[::11]:
        best = max(_ask(served, work).works, key=lambda listed: listed.score)
        group = {best.id, *best.copies}
        assert work.id in group
        assert best.score > 0.98


@pytest.mark.parametrize("k", [1, 3, 10, 1000])
def test_shares_and_remainder_sum_to_one_for_every_k(served: Served, k: int) -> None:
    answer = _ask(served, served.corpus.works[5], k=k)
    assert sum(work.share for work in answer.works) + answer.remainder == pytest.approx(1.0, abs=1e-6)
    listed = {work_id for work in answer.works for work_id in (work.id, *work.copies)}
    assert sum(each.works for each in answer.contributors) == sum(
        len(work.holders) for work in served.corpus if work.id in listed
    )
    assert [work.rank for work in answer.works] == list(range(1, len(answer.works) + 1))
    groups = len({work.duplicate_group for work in served.corpus})
    assert len(answer.works) == min(k, groups)


def test_the_whole_list_is_what_adding_up_one_work_after_the_other_gives(served: Served) -> None:
    work = _work(served, FLAGS)
    answer = _ask(served, work, k=1000)
    groups, people = _slow_shares(served, work)
    group_of = {each.id: each.duplicate_group for each in served.corpus}
    assert {group_of[each.id]: each.share for each in answer.works} == pytest.approx(groups, abs=2e-3)
    assert {each.name: each.share for each in answer.contributors} == pytest.approx(people, abs=2e-3)
    assert answer.remainder == pytest.approx(0.0, abs=1e-6)


def test_a_contributors_share_does_not_depend_on_how_many_works_are_listed(served: Served) -> None:
    work = _work(served, FLAGS)
    _, people = _slow_shares(served, work)
    for k in (1, 3, 10):
        answer = _ask(served, work, k=k)
        shares = {each.name: each.share for each in answer.contributors}
        assert shares == pytest.approx({name: people[name] for name in shares}, abs=2e-3)


def test_a_short_list_leaves_the_rest_of_the_corpus_as_remainder(served: Served) -> None:
    work = _work(served, FLAGS)
    answer = _ask(served, work, k=3)
    groups, _ = _slow_shares(served, work)
    assert answer.remainder == pytest.approx(1 - sum(sorted(groups.values())[-3:]), abs=2e-3)


def test_copies_fill_one_line_and_do_not_shorten_the_list(served: Served) -> None:
    flags = {work.id for work in served.corpus if work.duplicate_group == FLAGS}
    answer = _ask(served, _work(served, FLAGS), k=10)
    (line,) = [work for work in answer.works if work.id in flags]
    assert {line.id, *line.copies} == flags
    assert len(answer.works) == 10


def test_two_people_who_drew_the_same_apple_both_get_credit(served: Served) -> None:
    apples = [work for work in served.corpus if work.duplicate_group == APPLE]
    answer = _ask(served, apples[0], k=1)
    (line,) = answer.works
    shares = {each.name: each.share for each in answer.contributors}
    assert set(shares) == {work.contributor for work in apples}
    assert min(shares.values()) > 0.0
    assert sum(shares.values()) == pytest.approx(line.share)


def test_a_works_rights_holders_share_its_credit_over_every_interface(served: Served) -> None:
    work = _work(served, SHARED)
    answer = _ask(served, work, k=1)
    (line,), (_, people) = answer.works, _slow_shares(served, work)
    assert [(each.name, each.percent) for each in line.holders] == [
        ("Nathan Eady", 60.0),
        ("Nicu Buculei", 40.0),
    ]
    shares = {each.name: each.share for each in answer.contributors}
    assert shares == pytest.approx({name: people[name] for name in shares}, abs=2e-3)
    listed = {each.name: each.listed_share for each in answer.contributors if each.works}
    assert listed == pytest.approx({"Nathan Eady": 0.6 * line.share, "Nicu Buculei": 0.4 * line.share})
    with served.gateway.client() as client, served.gateway.http() as http:
        recorded = client.attribution(answer.attribution_id)
        body = http.get(f"/v1/attributions/{answer.attribution_id}").json()
    assert recorded.answer.works == answer.works
    assert body["answer"]["works"][0]["holders"] == [asdict(each) for each in line.holders]


def test_every_line_carries_the_works_own_facts(served: Served) -> None:
    for line in _ask(served, served.corpus.works[0]).works:
        work = _work(served, line.id)
        assert (line.title, line.caption, line.contributor, line.licence) == (
            work.title,
            work.caption,
            work.contributor,
            work.licence,
        )


def test_rest_gives_the_same_answer_as_grpc(served: Served) -> None:
    work = served.corpus.works[8]
    answer = _ask(served, work, k=4)
    with served.gateway.http() as http:
        posted = http.post(
            "/v1/attributions",
            files={"image": ("q", work.thumbnail)},
            data={"prompt": work.caption, "generator": GENERATOR, "k": 4},
        )
    body = posted.json()
    assert posted.status_code == 200
    assert [line["id"] for line in body["works"]] == [line.id for line in answer.works]
    assert body["remainder"] == pytest.approx(answer.remainder, abs=1e-6)
    assert body["release"]["name"] == answer.release.name == "development"
    assert body["accuracy"]["audits"] == answer.accuracy.audits


def test_the_generator_may_be_left_out_over_every_interface(served: Served, tmp_path: Path) -> None:
    work = served.corpus.works[8]
    named = _ask(served, work, k=4)
    with served.gateway.client(timeout_seconds=120) as client:
        short = client.attribute(work.thumbnail, prompt=work.caption, k=4)
        assert client.attribution(short.attribution_id).generator == GENERATOR
    with served.gateway.http() as http:
        form = {"prompt": work.caption, "k": 4}
        posted = http.post("/v1/attributions", files={"image": ("q", work.thumbnail)}, data=form).json()
    picture, page = tmp_path / "picture.webp", tmp_path / "pages" / "line.html"
    picture.write_bytes(work.thumbnail)
    options = ["--prompt", work.caption, "--top", "4", "--target", served.gateway.target, "--json"]
    printed = CliRunner().invoke(attribute_app, [str(picture), *options, "--html", str(page)])
    assert printed.exit_code == 0, printed.output
    document = json.loads(printed.stdout)
    expected = [line.id for line in named.works]
    assert [line.id for line in short.works] == expected
    assert [line["id"] for line in posted["works"]] == expected
    assert [line["id"] for line in document["works"]] == expected
    assert work.title in page.read_text()


def test_the_command_prints_a_table_and_how_to_audit_it(served: Served, tmp_path: Path) -> None:
    work = served.corpus.works[8]
    picture = tmp_path / "picture.webp"
    picture.write_bytes(work.thumbnail)
    where = ["--target", served.gateway.target]
    printed = CliRunner().invoke(attribute_app, [str(picture), "--prompt", work.caption, *where]).output
    assert "other works of the corpus" in printed
    assert "No out-of-distribution score" in printed
    assert re.search(r"creditline audit submit [0-9a-f]{32}\b", printed)
    missing = CliRunner().invoke(attribute_app, [str(tmp_path / "none.png"), "--prompt", "a", *where])
    assert isinstance(missing.exception, NotReady)
    assert "none.png cannot be read (No such file or directory)" in str(missing.exception)


def test_the_ledger_holds_the_answer_as_it_was_served(served: Served) -> None:
    work = served.corpus.works[12]
    answer = _ask(served, work, k=5)
    with served.ledger() as ledger:
        stored = ledger.attribution(answer.attribution_id)
        assert ledger.verify_chain().intact
    assert (stored.prompt, stored.k, stored.release) == (work.caption, 5, served.release.name)
    assert (stored.generator, stored.corpus) == (GENERATOR, served.corpus.fingerprint)
    assert [each["id"] for each in stored.answer["works"]] == [line.id for line in answer.works]
    assert [each["share"] for each in stored.answer["works"]] == [line.share for line in answer.works]
    picture = Image.open(io.BytesIO(stored.image))
    assert (picture.format, picture.mode, picture.size) == ("WEBP", "RGB", work.picture().size)
    assert picture.tobytes() == work.picture().tobytes()


@pytest.mark.parametrize("request_id", [None, ""], ids=["recorded with its timings", "without an id"])
def test_timings_name_the_stages_and_add_up(served: Served, request_id: str | None) -> None:
    timings = vars(_ask(served, served.corpus.works[3], request_id=request_id).timings)
    stages = {name: value for name, value in timings.items() if name != "total_ms"}
    assert stages.pop("rerank_ms") == 0.0, "the fast form is not re-ranked"
    assert all(value > 0.0 for value in stages.values())
    assert 0.5 * timings["total_ms"] < sum(stages.values()) <= timings["total_ms"]


def test_many_callers_at_once_get_what_each_would_get_alone(served: Served) -> None:
    works = served.corpus.works[:8]
    alone = [[line.id for line in _ask(served, work, k=3).works] for work in works]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda work: [line.id for line in _ask(served, work, k=3).works], works))
    assert together == alone


def test_with_everything_up_the_gateway_is_ready(served: Served) -> None:
    with served.gateway.http() as http:
        answer = http.get("/readyz")
    assert (answer.status_code, answer.json()["ready"]) == (200, True)
    assert all(each["up"] for each in answer.json()["dependencies"])


def test_a_sampled_answer_is_audited_unasked(served: Served, tmp_path: Path) -> None:
    settings = served.settings.model_copy(
        update={
            "audit_fraction": 1.0,
            "ledger_url": f"sqlite:///{tmp_path}/ledger.db",
            "broker_url": "redis://127.0.0.1:9/0",
        }
    )
    with running_gateway(settings) as gateway:
        answer = _ask(Served(gateway, served.release, served.corpus, ""), served.corpus.works[0])
        with gateway.client(timeout_seconds=120) as client:
            assert client.submit_audit(answer.attribution_id).state == "QUEUED"
    with Ledger.open(settings.ledger_url) as ledger:
        (entry,) = ledger.unpublished(10)
    assert entry.payload == {"attribution_id": answer.attribution_id}


def test_a_gateway_can_refuse_prompts_that_do_not_fit_their_pictures(served: Served, tmp_path: Path) -> None:
    settings = served.settings.model_copy(
        update={"min_prompt_agreement": 0.05, "ledger_url": f"sqlite:///{tmp_path}/ledger.db"}
    )
    work = next(work for work in served.corpus.works if (_ask(served, work).prompt_agreement or 0.0) > 0.5)
    other = served.corpus.works[0 if work is not served.corpus.works[0] else 1]
    image = as_file(work.picture(), "PNG")
    with running_gateway(settings) as gateway, gateway.client(timeout_seconds=120) as client:
        answer = client.attribute(image, prompt=work.caption, generator=GENERATOR)
        with pytest.raises(InvalidInput, match="does not look as if it was made from this prompt") as refused:
            client.attribute(image, prompt=other.caption, generator=GENERATOR)
        recorded = client.attribution(answer.attribution_id)
    assert refused.value.field == "prompt"
    assert answer.prompt_agreement is not None
    assert recorded.answer.prompt_agreement == answer.prompt_agreement > 0.5


def test_each_share_is_divided_between_picture_and_prompt(served: Served) -> None:
    work = _work(served, SHARED)
    answer = _ask(served, work, k=5)
    with served.gateway.client(timeout_seconds=120) as client:
        recorded = client.attribution(answer.attribution_id).answer
    parts = [(line.share_from_picture, line.share_from_prompt) for line in answer.works]
    assert [sum(part for part in both if part is not None) for both in parts] == pytest.approx(
        [line.share for line in answer.works]
    )
    assert answer.share_from_picture is not None
    assert answer.share_from_prompt is not None
    assert answer.share_from_picture == pytest.approx(sum(picture or 0.0 for picture, _ in parts))
    assert answer.share_from_picture + answer.share_from_prompt == pytest.approx(1.0 - answer.remainder)
    assert _slow_parts(served, work, answer) == pytest.approx([picture for picture, _ in parts], abs=1e-4)
    assert (answer.from_picture_alone, answer.picture_alone_recall) == (False, None)
    assert recorded.works == answer.works
    assert (recorded.share_from_picture, recorded.share_from_prompt) == (
        answer.share_from_picture,
        answer.share_from_prompt,
    )


def _slow_parts(served: Served, work: Work, answer: AttributionAnswer) -> list[float]:
    """Parts from the picture, computed work by work over the whole corpus."""
    halves, vectors = served.release.halves(), served.release.vectors()
    assert halves is not None
    item = embedder_pb2.EmbedRequest.Item(
        pixels=pixels_message(query_pixels(work.thumbnail)), text=work.caption
    )
    with grpc.insecure_channel(served.embedder_target) as channel:
        request = embedder_pb2.EmbedRequest(items=[item], side=embedder_pb2.SIDE_QUERY, halves=True)
        embedded = EmbedderStub(channel).Embed(request, timeout=30).vectors[0]
    assert np.array(embedded.values) == pytest.approx(_embedded(served, work), abs=1e-5)
    rows = {work_id: row for row, work_id in enumerate(served.release.work_ids())}
    listed = [rows[each] for line in answer.works for each in (line.id, *line.copies)]
    worth = []
    for values, curve in ((embedded.picture_alone, halves.picture), (embedded.prompt_alone, halves.prompt)):
        cosines = vectors @ np.array(values)
        others = sum(
            float(curve.expected_positive([cosine])[0])
            for row, cosine in enumerate(cosines)
            if row not in listed
        )
        parts = [
            sum(
                max(float(curve.expected_influence([cosines[rows[each]]])[0]), 0.0)
                for each in (line.id, *line.copies)
            )
            for line in answer.works
        ]
        worth.append([part / (sum(parts) + others) for part in parts])
    return [
        (line.share + picture - prompt) / 2.0
        for line, picture, prompt in zip(answer.works, *worth, strict=True)
    ]


def test_a_gateway_can_answer_from_the_picture_alone_where_the_prompt_does_not_fit(
    served: Served, tmp_path: Path
) -> None:
    settings = served.settings.model_copy(
        update={
            "low_agreement": LowAgreement.PICTURE,
            "ledger_url": f"sqlite:///{tmp_path}/ledger.db",
        }
    )
    work = next(work for work in served.corpus.works if (_ask(served, work).prompt_agreement or 0.0) > 0.5)
    others = [other for other in served.corpus.works if other is not work][:2]
    image = as_file(work.picture(), "PNG")
    with running_gateway(settings) as gateway, gateway.client(timeout_seconds=120) as client:
        genuine = client.attribute(image, prompt=work.caption, generator=GENERATOR)
        first, second = (
            client.attribute(image, prompt=other.caption, generator=GENERATOR) for other in others
        )
        recorded = client.attribution(first.attribution_id).answer
    assert not genuine.from_picture_alone
    assert first.from_picture_alone
    assert first.works == second.works, "whatever the prompt says"
    assert [line.id for line in first.works] != [line.id for line in genuine.works]
    assert sum(line.share for line in first.works) + first.remainder == pytest.approx(1.0)
    assert (first.coverage, first.share_from_prompt) == (0.8, 0.0)
    assert [line.share_from_picture for line in first.works] == [line.share for line in first.works]
    assert first.picture_alone_recall == PictureAloneRecall(0.22, 0.2, 0.24, 0.5)
    assert (recorded.from_picture_alone, recorded.picture_alone_recall, recorded.works) == (
        True,
        first.picture_alone_recall,
        first.works,
    )
    with Ledger.open(settings.ledger_url) as ledger:
        stored = ledger.attribution(first.attribution_id)
    expected = Expectations.open(served.release.directory).of(stored, [line.id for line in first.works])
    assert expected == pytest.approx([line.expected_influence for line in first.works], abs=1e-3)


def test_a_release_without_calibration_of_pictures_alone_cannot_answer_from_them(
    release: Release, tmp_path: Path
) -> None:
    settings = gateway_settings(tmp_path, release, low_agreement=LowAgreement.PICTURE)
    refused = "cannot answer from pictures alone; build it again, or set CREDITLINE_LOW_AGREEMENT"
    with pytest.raises(NotReady, match=refused) as error, running_gateway(settings):
        pass
    assert error.value.field == "low_agreement"


@pytest.mark.parametrize("protocol", ["grpc", "rest"])
def test_without_qdrant_the_error_says_what_to_start(served: Served, tmp_path: Path, protocol: str) -> None:
    settings = served.settings.model_copy(
        update={"qdrant_grpc_port": 9, "ledger_url": f"sqlite:///{tmp_path}/ledger.db"}
    )
    image = as_file(red_square(), "PNG")
    with (
        running_gateway(settings) as gateway,
        gateway.client(timeout_seconds=120) as client,
        gateway.http() as http,
    ):
        if protocol == "grpc":
            with pytest.raises(Unavailable, match=r"127\.0\.0\.1:9; start it with") as down:
                client.attribute(image, prompt="a red square", generator=GENERATOR)
            assert down.value.service == "qdrant"
        else:
            form = {"prompt": "a red square", "generator": GENERATOR}
            answer = http.post("/v1/attributions", files={"image": ("q", image)}, data=form)
            assert (answer.status_code, answer.json()["service"]) == (503, "qdrant")


def test_without_the_releases_collection_the_error_says_how_to_fill_it(
    served: Served, tmp_path: Path
) -> None:
    with LocalStack(state_directory=tmp_path / "stack", services=("qdrant",)) as empty:
        settings = served.settings.model_copy(
            update={"qdrant_grpc_port": empty.qdrant_port, "ledger_url": f"sqlite:///{tmp_path}/ledger.db"}
        )
        with (
            running_gateway(settings) as gateway,
            gateway.client(timeout_seconds=120) as client,
            pytest.raises(NotReady, match="creditline index load"),
        ):
            client.attribute(as_file(red_square(), "PNG"), prompt="a red square", generator=GENERATOR)


def test_an_embedder_with_another_release_is_recognised(
    served: Served, release: Release, tmp_path: Path
) -> None:
    settings = gateway_settings(tmp_path, release, embedder_target=served.embedder_target)
    with (
        running_gateway(settings) as gateway,
        gateway.client(timeout_seconds=120) as client,
        gateway.http() as http,
    ):
        with pytest.raises(NotReady, match="CREDITLINE_RELEASE_DIRECTORY"):
            client.attribute(as_file(red_square(), "PNG"), prompt="a red square", generator=GENERATOR)
        states = {each["service"]: each for each in http.get("/readyz").json()["dependencies"]}
    assert not states["embedder"]["up"]
    assert "gateway-test" in states["embedder"]["message"]
