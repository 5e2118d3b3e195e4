"""Conversion of served and recorded attributions to and from protobuf."""

from __future__ import annotations

from typing import Any

from creditline.api.answers import (
    AnswerForm,
    AttributionAnswer,
    CreditedContributor,
    CreditedHolder,
    CreditedWork,
    PictureAloneRecall,
    RecordedAttribution,
    Timings,
    WorkFilter,
)
from creditline.api.audits import audit_message, read_audit
from creditline.api.presence import present_flag, present_moment, present_number
from creditline.api.releases import accuracy_message, read_accuracy, read_release, release_message
from creditline.api.timestamps import read_timestamp, timestamp_message
from creditline.errors import InvalidInput
from creditline.v1 import attribution_pb2

_FORMS = {
    AnswerForm.FAST: attribution_pb2.ANSWER_FORM_FAST,
    AnswerForm.RERANKED: attribution_pb2.ANSWER_FORM_RERANKED,
}


def attribution_message(answer: AttributionAnswer) -> attribution_pb2.AttributeResponse:
    """Convert an answer to `creditline.v1.AttributeResponse`."""
    return attribution_pb2.AttributeResponse(
        attribution_id=answer.attribution_id,
        works=[_work_message(work) for work in answer.works],
        contributors=[attribution_pb2.CreditedContributor(**_fields(each)) for each in answer.contributors],
        remainder=answer.remainder,
        release=release_message(answer.release),
        timings=attribution_pb2.Timings(**vars(answer.timings)),
        accuracy=accuracy_message(answer.accuracy),
        concentration=answer.concentration,
        corpus_works=answer.corpus_works,
        equal_parts=answer.equal_parts,
        remainder_low=answer.remainder_low,
        remainder_high=answer.remainder_high,
        coverage=answer.coverage,
        ood_score=answer.ood_score,
        filter=filter_message(answer.filter),
        works_newer_than_calibration=answer.works_newer_than_calibration,
        calibration_outdated=answer.calibration_outdated,
        prompt_agreement=answer.prompt_agreement,
        private=answer.private,
        share_from_picture=answer.share_from_picture,
        share_from_prompt=answer.share_from_prompt,
        from_picture_alone=answer.from_picture_alone,
        picture_alone_recall=_recall_message(answer.picture_alone_recall),
        intervals_withheld=answer.intervals_withheld,
        form=form_message(answer.form),
        reranked_works=answer.reranked_works,
    )


def read_attribution(message: attribution_pb2.AttributeResponse) -> AttributionAnswer:
    """Convert `creditline.v1.AttributeResponse` to an answer."""
    return AttributionAnswer(
        attribution_id=message.attribution_id,
        works=tuple(_credited_work(work) for work in message.works),
        contributors=tuple(_contributor(each) for each in message.contributors),
        remainder=message.remainder,
        release=read_release(message.release),
        timings=_timings(message.timings),
        accuracy=read_accuracy(message.accuracy),
        concentration=message.concentration,
        corpus_works=message.corpus_works,
        equal_parts=present_number(message, "equal_parts"),
        remainder_low=present_number(message, "remainder_low"),
        remainder_high=present_number(message, "remainder_high"),
        coverage=present_number(message, "coverage"),
        ood_score=present_number(message, "ood_score"),
        filter=read_filter(message.filter) if message.HasField("filter") else None,
        works_newer_than_calibration=message.works_newer_than_calibration,
        calibration_outdated=present_flag(message, "calibration_outdated"),
        prompt_agreement=present_number(message, "prompt_agreement"),
        private=message.private,
        share_from_picture=present_number(message, "share_from_picture"),
        share_from_prompt=present_number(message, "share_from_prompt"),
        from_picture_alone=message.from_picture_alone,
        picture_alone_recall=(
            _recall(message.picture_alone_recall) if message.HasField("picture_alone_recall") else None
        ),
        intervals_withheld=message.intervals_withheld,
        form=read_form(message.form),
        reranked_works=message.reranked_works,
    )


def form_message(form: AnswerForm) -> attribution_pb2.AnswerForm:
    """Convert the form of an answer to `creditline.v1.AnswerForm`."""
    return _FORMS[form]


def read_form(value: int) -> AnswerForm:
    """Convert `creditline.v1.AnswerForm`, of which UNSPECIFIED is FAST.

    Raises:
        InvalidInput: There is no such form.
    """
    if value == attribution_pb2.ANSWER_FORM_UNSPECIFIED:
        return AnswerForm.FAST
    for form, number in _FORMS.items():
        if value == number:
            return form
    raise InvalidInput(f"form is {value}; send 1 for a fast answer, or 2 for a re-ranked one", field="form")


def filter_message(works: WorkFilter | None) -> attribution_pb2.WorkFilter | None:
    """Convert a filter to `creditline.v1.WorkFilter`; None gives None, an absent field."""
    if works is None:
        return None
    return attribution_pb2.WorkFilter(
        **{
            **vars(works),
            "created_since": timestamp_message(works.created_since),
            "created_until": timestamp_message(works.created_until),
        }
    )


def read_filter(message: attribution_pb2.WorkFilter) -> WorkFilter:
    """Convert `creditline.v1.WorkFilter` to a filter."""
    return WorkFilter(
        contributors=tuple(message.contributors),
        contributor_ids=tuple(message.contributor_ids),
        licences=tuple(message.licences),
        created_since=present_moment(message, "created_since"),
        created_until=present_moment(message, "created_until"),
        consent=tuple(message.consent),
    )


def recorded_message(recorded: RecordedAttribution, image: bytes) -> attribution_pb2.GetAttributionResponse:
    """Convert a recorded answer to `creditline.v1.GetAttributionResponse`.

    Args:
        recorded: The answer.
        image: The query's picture as a file.
    """
    return attribution_pb2.GetAttributionResponse(
        attribution=attribution_message(recorded.answer),
        created=timestamp_message(recorded.created),
        prompt=recorded.prompt,
        generator=recorded.generator,
        image=image,
        audit=None if recorded.audit is None else audit_message(recorded.audit),
        undelivered=recorded.undelivered,
    )


def read_recorded(message: attribution_pb2.GetAttributionResponse) -> RecordedAttribution:
    """Convert `creditline.v1.GetAttributionResponse` to a recorded answer; the picture is left out."""
    return RecordedAttribution(
        answer=read_attribution(message.attribution),
        created=read_timestamp(message.created),
        prompt=message.prompt,
        generator=message.generator,
        audit=read_audit(message.audit) if message.HasField("audit") else None,
        undelivered=message.undelivered,
    )


def _recall_message(recall: PictureAloneRecall | None) -> attribution_pb2.PictureAloneRecall | None:
    return None if recall is None else attribution_pb2.PictureAloneRecall(**vars(recall))


def _recall(message: attribution_pb2.PictureAloneRecall) -> PictureAloneRecall:
    return PictureAloneRecall(message.recall, message.low, message.high, message.with_prompt)


def _fields(credited: CreditedWork | CreditedContributor) -> dict[str, Any]:
    return {**vars(credited), "withdrawn_since": timestamp_message(credited.withdrawn_since)}


def _work_message(work: CreditedWork) -> attribution_pb2.CreditedWork:
    holders = [attribution_pb2.CreditedHolder(**vars(holder)) for holder in work.holders]
    return attribution_pb2.CreditedWork(**{**_fields(work), "holders": holders})


def _credited_work(message: attribution_pb2.CreditedWork) -> CreditedWork:
    return CreditedWork(
        id=message.id,
        title=message.title,
        caption=message.caption,
        contributor=message.contributor,
        licence=message.licence,
        score=message.score,
        expected_influence=message.expected_influence,
        share=message.share,
        rank=message.rank,
        copies=tuple(message.copies),
        share_low=present_number(message, "share_low"),
        share_high=present_number(message, "share_high"),
        withdrawn=message.withdrawn,
        withdrawn_since=present_moment(message, "withdrawn_since"),
        withdrawn_copies=tuple(message.withdrawn_copies),
        contributor_id=message.contributor_id,
        holders=tuple(
            CreditedHolder(holder.name, holder.percent, holder.contributor_id) for holder in message.holders
        ),
        share_from_picture=present_number(message, "share_from_picture"),
        share_from_prompt=present_number(message, "share_from_prompt"),
        kernel_score=present_number(message, "kernel_score"),
    )


def _contributor(message: attribution_pb2.CreditedContributor) -> CreditedContributor:
    return CreditedContributor(
        name=message.name,
        share=message.share,
        works=message.works,
        share_low=present_number(message, "share_low"),
        share_high=present_number(message, "share_high"),
        listed_share=message.listed_share,
        withdrawn=message.withdrawn,
        withdrawn_since=present_moment(message, "withdrawn_since"),
        contributor_id=message.contributor_id,
    )


def _timings(message: attribution_pb2.Timings) -> Timings:
    return Timings(
        total_ms=message.total_ms,
        check_ms=message.check_ms,
        embed_ms=message.embed_ms,
        search_ms=message.search_ms,
        share_ms=message.share_ms,
        record_ms=message.record_ms,
        rerank_ms=message.rerank_ms,
    )
