"""The four renderings of a credit line: what they say, and that they agree."""

from __future__ import annotations

import io
import json
import re
from dataclasses import asdict, replace
from datetime import UTC, datetime
from html import unescape
from html.parser import HTMLParser

import pytest
from PIL import Image
from rich.console import Console

from creditline.api.answers import AnswerForm, AuditedAccuracy, CreditedHolder, Estimate, PictureAloneRecall
from creditline.cli.credit_line import words
from creditline.cli.credit_line.document import credit_line_document, credit_line_json
from creditline.cli.credit_line.drawing import Type, credit_line_drawing, wrapped
from creditline.cli.credit_line.line import CreditLine, Query
from creditline.cli.credit_line.page import credit_line_page
from creditline.cli.credit_line.terminal import bar, credit_line_view, picture_in_blocks
from creditline.errors import InvalidInput
from tests.cli.credit_line_sample import SHARES, sample_audit, sample_credit_line, sample_verdict


class _Page(HTMLParser):
    """What a page says, and every attribute that could make a request."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.text = ""
        self.sources: list[str] = []
        self.alternatives: list[str] = []
        self.tags: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        values = dict(attributes)
        self.sources += [value for name in ("src", "href") if (value := values.get(name)) is not None]
        if tag == "img":
            self.alternatives.append(values.get("alt") or "")

    def handle_data(self, data: str) -> None:
        self.text += data


def _terminal_text(line: CreditLine, *, in_colour: bool = False, columns: int = 140) -> str:
    console = Console(width=columns, file=io.StringIO(), record=True, color_system=None)
    console.print(credit_line_view(line, in_colour=in_colour))
    return console.export_text()


def test_shares_that_do_not_add_up_are_refused() -> None:
    line = sample_credit_line()
    answer = replace(line.answer, remainder=0.9)
    with pytest.raises(InvalidInput, match="instead of 1"):
        replace(line, answer=answer)


def test_a_work_without_its_thumbnail_is_refused() -> None:
    line = sample_credit_line()
    with pytest.raises(InvalidInput, match=line.works[0].id):
        replace(line, thumbnails={})


def test_the_json_holds_together_and_has_the_promised_keys() -> None:
    content = json.loads(credit_line_document(sample_credit_line(audit=sample_audit())))
    keys = {"query", "works", "contributors", "remainder", "release", "timings", "audit"}
    assert keys <= set(content)
    assert set(content["works"][0]) >= {"id", "contributor", "caption", "score", "share", "rank"}
    total = sum(work["share"] for work in content["works"]) + content["remainder"]
    assert total == pytest.approx(1.0, abs=1e-6)
    by_contributor = sum(person["share"] for person in content["contributors"])
    assert by_contributor == pytest.approx(sum(SHARES), abs=1e-9)
    assert content["audit"]["verdict"]["recall"] == {"value": 0.4, "low": 0.2, "high": 0.6}


def test_page_and_terminal_name_the_same_works_contributors_and_shares() -> None:
    line = sample_credit_line(audit=sample_audit())
    page, terminal = _Page(credit_line_page(line)).text, _terminal_text(line)
    for work in line.works:
        for said in (page, terminal):
            assert work.title in said
            assert work.contributor in said
            assert words.percent(work.share) in said
    for sentence in words.audit_sentences(line.audit):
        assert sentence in page
        assert re.sub(r"\s+", " ", sentence) in re.sub(r"\s+", " ", terminal)


def test_page_terminal_and_json_say_that_an_answer_was_not_delivered() -> None:
    delivered = sample_credit_line()
    lost = replace(delivered, undelivered=True)
    for line in (delivered, lost):
        shown = [_Page(credit_line_page(line)).text, _terminal_text(line)]
        said = ["recorded and not delivered" in re.sub(r"\s+", " ", text) for text in shown]
        assert said == [line.undelivered] * 2
        assert json.loads(credit_line_document(line))["undelivered"] is line.undelivered


@pytest.mark.parametrize(
    ("percents", "shown"),
    [
        ((60.0, 40.0), "Ann 60\u00a0%, Ben & Co 40\u00a0%"),
        ((50.0, 50.0), "Ann, Ben & Co"),
        ((33.34, 33.33, 33.33), "Ann, Ben & Co, Cy"),
        ((100.0,), "Ann"),
    ],
)
def test_page_and_terminal_name_the_rights_holders_with_their_parts(
    percents: tuple[float, ...], shown: str
) -> None:
    line = sample_credit_line()
    holders = tuple(map(CreditedHolder, ("Ann", "Ben & Co", "Cy"), percents))
    works = (replace(line.works[0], holders=holders), *line.works[1:])
    line = replace(line, answer=replace(line.answer, works=works))
    assert words.credited_people(line.works[0]) == shown
    page = _Page(credit_line_page(line))
    assert shown in page.text
    assert any(alternative.endswith(f"by {shown}") for alternative in page.alternatives)
    assert shown in _terminal_text(line)
    assert json.loads(credit_line_document(line))["works"][0]["holders"] == [asdict(each) for each in holders]


def test_a_narrow_terminal_loses_no_number() -> None:
    line = sample_credit_line()
    text = _terminal_text(line, columns=80)
    assert "…" not in text
    for work in line.works:
        assert f"{work.score:.3f}" in text


def test_the_page_asks_nobody_for_anything_and_runs_no_script() -> None:
    page = _Page(credit_line_page(sample_credit_line()))
    assert len(page.sources) == 1 + len(SHARES)
    assert all(source.startswith("data:image/") for source in page.sources)
    assert "script" not in page.tags
    assert "url(" not in credit_line_page(sample_credit_line())


def test_every_picture_on_the_page_has_an_alternative_text() -> None:
    line = sample_credit_line()
    alternatives = _Page(credit_line_page(line)).alternatives
    assert line.query.prompt in alternatives[0]
    for work, alternative in zip(line.works, alternatives[1:], strict=True):
        assert work.title in alternative
        assert work.contributor in alternative


def test_a_prompt_with_markup_is_shown_as_text() -> None:
    prompt = '<script>alert("x")</script> & a [bold]cat[/bold]'
    line = sample_credit_line(prompt=prompt)
    page = credit_line_page(line)
    assert "<script" not in page
    assert prompt in unescape(page)
    assert prompt in _terminal_text(line)


def test_a_picture_that_owes_nobody_says_so() -> None:
    line = sample_credit_line(shares=[0.0] * len(SHARES))
    assert "nobody in particular" in _Page(credit_line_page(line)).text
    assert "nobody in particular" in _terminal_text(line)
    assert line.remainder == 1.0


def test_credit_that_is_spread_over_the_whole_corpus_is_not_pinned_on_the_listed_works() -> None:
    thin = sample_credit_line(shares=[0.0004, *[0.0] * 9])
    assert words.credit_sentence(thin).startswith("Nobody stands out")
    assert words.credit_sentence(sample_credit_line()).startswith("Made possible by")


def test_works_without_a_named_maker_are_not_pinned_on_a_person_of_the_name_unknown() -> None:
    line = sample_credit_line()
    nobody = replace(line.answer.contributors[0], name="unknown")
    answer = replace(line.answer, contributors=(nobody, *line.answer.contributors[1:]))
    assert "makers who are not known" in words.credit_sentence(replace(line, answer=answer))


def test_ranges_stand_beside_shares_and_the_remainder() -> None:
    line = sample_credit_line()
    page, terminal = _Page(credit_line_page(line)).text, _terminal_text(line)
    for said in (page, terminal):
        assert all(words.share_between(work) in said for work in line.works)
        assert "between 48" in said
        assert "In 90" in said


def test_an_answer_without_ranges_says_that_they_are_withheld_and_why() -> None:
    line = sample_credit_line()
    answer = replace(line.answer, coverage=None, remainder_low=None, remainder_high=None)
    withheld = replace(line, answer=replace(answer, intervals_withheld=True))
    for said in (_Page(credit_line_page(withheld)).text, _terminal_text(withheld)):
        assert "No ranges are given: no work is as near" in re.sub(r"\s+", " ", said)
    assert json.loads(credit_line_document(withheld))["intervals_withheld"] is True
    unknown = replace(line, answer=answer)
    assert "No ranges" not in _Page(credit_line_page(unknown)).text


def test_a_picture_of_another_kind_is_said_to_be_one() -> None:
    strange, usual = sample_credit_line(ood_score=1.44), sample_credit_line(ood_score=0.9)
    assert "unlike those" in _Page(credit_line_page(strange)).text
    assert "1.4 times" in re.sub(r"\s+", " ", _terminal_text(strange))
    assert "unlike those" not in _Page(credit_line_page(usual)).text


@pytest.mark.parametrize(("agreement", "rare"), [(0.03, "only 3.0 % agree less"), (0.0, "none agree less")])
def test_a_prompt_that_does_not_fit_the_picture_is_said_not_to(agreement: float, rare: str) -> None:
    line = sample_credit_line()
    odd = replace(line, answer=replace(line.answer, prompt_agreement=agreement))
    for text in (_Page(credit_line_page(odd)).text, _terminal_text(odd)):
        said = re.sub(r"\s+", " ", text)
        assert "does not look as if it was made from this prompt" in said
        assert rare in said
    for usual in (0.06, None):
        fitting = replace(line, answer=replace(line.answer, prompt_agreement=usual))
        assert "made from this prompt" not in _Page(credit_line_page(fitting)).text


def test_an_answer_from_the_picture_alone_says_so_and_how_good_such_answers_are() -> None:
    line = sample_credit_line()
    recall = PictureAloneRecall(0.22, 0.2, 0.24, 0.503)
    marked = replace(line.answer, from_picture_alone=True, picture_alone_recall=recall, prompt_agreement=0.01)
    alone = replace(line, answer=marked)
    for text in (_Page(credit_line_page(alone)).text, _terminal_text(alone)):
        said = re.sub(r"\s+", " ", text)
        assert "By its picture alone, without the prompt: Made possible by" in said
        assert "name 22 % of the ten works that matter most (95 % interval 20 % to 24 %)" in said
        assert "answers with the right prompt 50 %" in said
        assert "Of answers with their prompt:" in said
    content = credit_line_json(alone)
    assert content["from_picture_alone"] is True
    assert content["picture_alone_recall"]["recall"] == 0.22
    assert "picture alone" not in _terminal_text(line)


def test_a_re_ranked_answer_says_so_and_states_the_accuracy_of_its_form() -> None:
    line = sample_credit_line()
    marked = replace(line.answer, form=AnswerForm.RERANKED, reranked_works=400)
    reranked = replace(line, answer=marked)
    for text in (_Page(credit_line_page(reranked)).text, _terminal_text(reranked)):
        said = re.sub(r"\s+", " ", text)
        assert "This answer is re-ranked: a gradient of the generator ordered the 400 works nearest" in said
        assert "Of re-ranked answers: " in said
    content = credit_line_json(reranked)
    assert (content["form"], content["reranked_works"]) == ("RERANKED", 400)
    assert "re-ranked" not in _terminal_text(line)


@pytest.mark.parametrize(
    ("part", "said"),
    [
        (0.8, "80 % rests on the prompt and 20 % on the picture"),
        (1.2, "All of what the listed works get rests on the prompt"),
        (-0.2, "All of what the listed works get rests on the picture"),
    ],
)
def test_how_much_rests_on_the_prompt_is_said(part: float, said: str) -> None:
    line = sample_credit_line()
    listed = 1.0 - line.remainder
    answer = replace(line.answer, share_from_prompt=part * listed, share_from_picture=(1.0 - part) * listed)
    text = re.sub(r"\s+", " ", _Page(credit_line_page(replace(line, answer=answer))).text)
    assert said in text


def test_a_failed_audit_and_a_missing_one_are_told_apart() -> None:
    failed = sample_audit("FAILED", error="the generator is gone; start it")
    assert words.audit_sentences(failed) == ["The audit failed: the generator is gone; start it"]
    assert words.audit_sentences(None) == ["This answer has not been audited."]
    assert words.audit_sentences(sample_audit("RUNNING")) != words.audit_sentences(failed)


def test_an_audit_that_scored_every_work_states_no_interval() -> None:
    exact = Estimate(0.4, 0.4, 0.4)
    verdict = replace(sample_verdict(), recall=exact, missed_influence=exact)
    assert not any("interval" in said for said in words.audit_sentences(sample_audit(verdict=verdict)))
    assert any("interval" in said for said in words.audit_sentences(sample_audit()))


def test_without_audits_no_accuracy_is_claimed() -> None:
    sentence = words.accuracy_sentence(AuditedAccuracy(0, None, None, None, None))
    assert "audited yet" in sentence
    assert "%" not in sentence


@pytest.mark.parametrize(
    ("part", "text"),
    [
        (0.0, "0 %"),
        (0.0001, "< 0.1 %"),
        (0.034, "3.4 %"),
        (0.0999, "10 %"),
        (0.9994, "> 99 %"),
        (1.0, "100 %"),
    ],
)
def test_shares_are_written_as_people_read_them(part: float, text: str) -> None:
    assert words.percent(part).replace("\u00a0", " ") == text


def test_the_works_the_remainder_stands_for_leave_out_listed_works_and_their_copies() -> None:
    line = sample_credit_line()
    assert line.other_works == line.release.works - len(line.works) - 2


def test_the_drawing_is_as_high_as_its_content_needs() -> None:
    short = sample_credit_line(prompt="cat", shares=SHARES[:2])
    long = sample_credit_line(audit=sample_audit())
    low, high = credit_line_drawing(short), credit_line_drawing(long)
    assert low.width == high.width
    assert low.height < high.height
    rows = high.convert("L").point(lambda value: 255 if value < 200 else 0)
    last_ink = rows.getbbox()
    assert last_ink is not None
    assert high.height - 250 < last_ink[3] < high.height


def test_the_drawing_shows_the_picture_itself() -> None:
    red = io.BytesIO()
    Image.new("RGB", (64, 64), (200, 10, 20)).save(red, format="PNG")
    line = sample_credit_line()
    drawn = credit_line_drawing(replace(line, query=replace(line.query, picture=red.getvalue())))
    assert drawn.getpixel((660, 660)) == (200, 10, 20)


@pytest.mark.parametrize("text", ["a " * 300, "x" * 400, "é" * 50 + " word", ""])
def test_no_line_is_wider_than_the_column(text: str) -> None:
    style = Type("italic", 40)
    lines = wrapped(text, style, 500, most_lines=4)
    assert len(lines) <= 4
    assert all(style.font.getlength(line) <= 500 for line in lines)


def test_wrapping_loses_no_word_where_lines_are_not_limited() -> None:
    text = "Coat of arms of the diocese, with Alpha and Omega and a Shield"
    assert " ".join(wrapped(text, Type("regular", 40), 400)) == text


@pytest.mark.parametrize("part", [0.0, 0.001, 0.5, 1.0, 1.4])
def test_a_bar_always_fills_its_cells_and_a_small_part_stays_visible(part: float) -> None:
    drawn = bar(part, cells=10)
    assert len(drawn) == 10
    assert (drawn.strip() == "") is (part == 0.0)


def test_the_picture_is_shown_only_where_there_are_colours() -> None:
    line = sample_credit_line()
    assert "▀" in _terminal_text(line, in_colour=True)
    plain = _terminal_text(line, in_colour=False)
    assert "▀" not in plain
    assert line.query.prompt in plain


def _private_line() -> CreditLine:
    """A private query, as the gateway shows it: without picture and prompt."""
    line = sample_credit_line()
    answer = replace(line.answer, private=True, ood_score=None, prompt_agreement=None)
    return replace(line, query=Query(None, "", line.query.generator), answer=answer)


def test_a_private_query_is_marked_in_every_rendering_and_needs_no_picture() -> None:
    line = _private_line()
    page = _Page(credit_line_page(line))
    for said in (page.text, _terminal_text(line), _terminal_text(line, in_colour=True)):
        plain = re.sub(r"\s+", " ", said)
        assert "Private query" in plain
        assert "sent a vector and saw neither picture nor prompt" in plain
        assert "No out-of-distribution score" not in plain
    assert len(page.alternatives) == len(line.works)
    assert credit_line_drawing(line).width == 2400
    content = json.loads(credit_line_document(line))
    assert content["private"] is True
    assert (content["query"]["picture"], content["query"]["picture_sha256"]) == (None, None)


def test_the_picture_in_the_terminal_has_the_picture_s_colours() -> None:
    blocks = picture_in_blocks(Image.new("RGB", (64, 64), (10, 200, 30)), columns=8)
    assert blocks.plain == "\n".join(["▀" * 8] * 4)
    assert {str(span.style) for span in blocks.spans} == {"#0ac81e on #0ac81e"}


def _line_with_withdrawals() -> CreditLine:
    """The first work is withdrawn, with the picture that goes with it; the second has lost a copy."""
    line = sample_credit_line()
    first, second, *others = line.works
    since = datetime(2026, 12, 1, 9, 30, tzinfo=UTC)
    gone = replace(first, withdrawn=True, withdrawn_since=since)
    works = (gone, replace(second, withdrawn_copies=second.copies[:1]), *others)
    people = tuple(replace(person, withdrawn=person.name == gone.contributor) for person in line.contributors)
    thumbnails = {work.id: line.thumbnails[work.id] for work in works[1:]}
    answer = replace(line.answer, works=works, contributors=people)
    return replace(line, answer=answer, thumbnails=thumbnails)


def test_what_was_withdrawn_since_is_marked_on_page_and_terminal_and_keeps_its_place() -> None:
    line = _line_with_withdrawals()
    page, terminal = _Page(credit_line_page(line)), _terminal_text(line)
    for said in (re.sub(r"\s+", " ", text) for text in (page.text, terminal)):
        assert "withdrawn on 1 December" in said
        assert "1 of its copies" in said
        assert line.works[0].title in said
        assert "Since then 1 work and 1 copy of this line have been withdrawn" in said
    assert len(page.sources) == 1 + len(SHARES) - 1, "the withdrawn work's picture is not shown"


def test_a_work_without_a_picture_keeps_its_place_on_page_and_drawing() -> None:
    line = sample_credit_line()
    bare = replace(line, thumbnails={**line.thumbnails, line.works[0].id: b""})
    page = _Page(credit_line_page(bare))
    assert "no picture" in page.text
    assert line.works[0].title in page.text
    assert (len(page.sources), "" in page.sources) == (1 + len(SHARES) - 1, False)
    assert credit_line_drawing(bare).size == credit_line_drawing(line).size


def test_a_withdrawn_contributor_is_marked_in_the_sentence() -> None:
    assert f"{_line_with_withdrawals().works[0].contributor} (" in words.credit_sentence(
        _line_with_withdrawals()
    )
    assert ", withdrawn since)" in words.credit_sentence(_line_with_withdrawals())
    assert "withdrawn" not in words.credit_sentence(sample_credit_line())


def test_the_json_says_what_was_withdrawn_and_since_when() -> None:
    first, second, *_ = json.loads(credit_line_document(_line_with_withdrawals()))["works"]
    assert (first["withdrawn"], first["withdrawn_since"]) == (True, "2026-12-01T09:30:00+00:00")
    assert (second["withdrawn"], second["withdrawn_copies"]) == (False, ["oca-copy-a"])


def test_a_withdrawn_works_frame_stays_empty_in_the_drawing() -> None:
    whole, marked = (credit_line_drawing(line) for line in (sample_credit_line(), _line_with_withdrawals()))
    assert marked.width == whole.width
    assert marked.tobytes() != whole.tobytes()


def test_without_withdrawals_nothing_is_said_of_them() -> None:
    assert words.withdrawal_sentence(sample_credit_line()) == ""
    assert "withdrawn" not in _Page(credit_line_page(sample_credit_line())).text


def test_page_terminal_and_json_state_the_same_number_of_equal_parts() -> None:
    line = sample_credit_line(concentration=1 / 743)
    stated = "as concentrated as if 524 works had equal parts"
    assert stated in _Page(credit_line_page(line)).text
    assert stated in re.sub(r"\s+", " ", _terminal_text(line))
    content = json.loads(credit_line_document(line))
    assert content["equal_parts"] == pytest.approx(524.05, abs=0.01)
    assert (content["concentration"], content["corpus_works"]) == (1 / 743, 1776)


def test_the_drawing_states_equal_parts_from_the_answer() -> None:
    line = sample_credit_line()
    others = [
        replace(line, answer=replace(line.answer, equal_parts=parts))
        for parts in (line.answer.equal_parts, 524.3)
    ]
    same, changed = (credit_line_drawing(each).tobytes() for each in others)
    assert credit_line_drawing(line).tobytes() == same
    assert changed != same


def test_a_great_many_works_are_counted_too() -> None:
    (said,) = [
        s for s in words.uncertainty_sentences(sample_credit_line(concentration=0.0)) if "equal parts" in s
    ]
    assert said == "It owes a great many works a little each, as if 1,776 works had equal parts of it."


def test_an_answer_that_does_not_record_equal_parts_states_none() -> None:
    line = sample_credit_line()
    old = replace(line, answer=replace(line.answer, equal_parts=None, corpus_works=0))
    assert not any("equal parts" in said for said in words.uncertainty_sentences(old))
    assert old.other_works == line.other_works


def test_the_remainder_is_said_to_be_of_the_build_that_answered() -> None:
    line = sample_credit_line()
    larger = replace(line, answer=replace(line.answer, corpus_works=3_000))
    assert "2,988 other works" in words.remainder_sentence(larger)
