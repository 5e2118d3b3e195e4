"""The sentences of a credit line, shared by the terminal, the page and the drawing."""

from __future__ import annotations

from collections.abc import Sequence

from creditline.api.answers import (
    LOW_PROMPT_AGREEMENT,
    AnswerForm,
    AttributionAnswer,
    AuditAnswer,
    AuditedAccuracy,
    CreditedContributor,
    CreditedWork,
    Verdict,
)
from creditline.cli.credit_line.line import CreditLine
from creditline.corpus.rights import UNKNOWN

# Smaller shares are shown as "less than" a bound.
_SMALLEST_SHOWN_SHARE = 0.0005
# Contributors named in the sentence of credit.
_MAKERS_UNKNOWN = "makers who are not known"
_NAMED_IN_SENTENCE = 3
# From this number of equal parts on, the influence is described as spread over a great many works.
_MANY_WORKS = 1000
# Listed works with a smaller total share do not stand out from the corpus.
_STANDS_OUT = 0.01
# Percentages that differ by less are equal parts that were rounded, such as 33.33 and 33.34.
_EQUAL_PERCENT = 0.02
# Non-breaking space.
_UNBROKEN = "\u00a0"

SHARE_MEANS = (
    "A share is the expected part of a work in what the model needed for this picture. It is an estimate, "
    "not a measurement of copying."
)


def percent(part: float) -> str:
    """A share as text: "12 %", "3.4 %", "< 0.1 %" or "0 %", with non-breaking spaces."""
    return f"{_number(part)} %".replace(" ", _UNBROKEN)


def _number(part: float) -> str:
    """The number of `percent`, without the percent sign."""
    if part <= 0:
        number = "0"
    elif part < _SMALLEST_SHOWN_SHARE:
        number = "< 0.1"
    elif 0.995 <= part < 1.0:
        number = "> 99"
    else:
        number = f"{part * 100:.1f}" if part < 0.0995 else f"{part * 100:.0f}"
    return number


def counted(count: int, noun: str) -> str:
    """A count with its noun: "1 work", "1,200 works"."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def title(line: CreditLine) -> str:
    """The prompt, or what stands for it where it is not known."""
    return line.query.prompt or "Private query"


def credit_sentence(line: CreditLine) -> str:
    """The contributors with the largest shares, in one sentence; it says where the prompt was left out."""
    sentence = _credit_sentence(line)
    return (
        f"By its picture alone, without the prompt: {sentence}"
        if line.answer.from_picture_alone
        else sentence
    )


def _credit_sentence(line: CreditLine) -> str:
    if line.owes_nobody:
        return "This picture owes nobody in particular: no single work stands out."
    # Ordered by the listed works: contributors of many works have a small share of most pictures.
    owed = sorted(
        (person for person in line.contributors if person.listed_share > 0),
        key=lambda person: -person.listed_share,
    )
    named = [_named(person) for person in owed[:_NAMED_IN_SENTENCE]]
    others = len(owed) - len(named)
    if others:
        named.append(f"{counted(others, 'other contributor')} listed here")
    if 1 - line.remainder < _STANDS_OUT:
        return f"Nobody stands out; the largest parts go to {_joined(named)}."
    return f"Made possible by the work of {_joined(named)}."


def _named(person: CreditedContributor) -> str:
    mark = ", withdrawn since" if person.withdrawn else ""
    name = _MAKERS_UNKNOWN if person.name == UNKNOWN else person.name
    return f"{name} ({percent(person.listed_share)}{mark})"


def withdrawal_sentence(line: CreditLine) -> str:
    """What was withdrawn after the answer was given; empty if nothing was."""
    works = sum(work.withdrawn for work in line.works)
    copies = sum(len(work.withdrawn_copies) for work in line.works)
    parts = [counted(works, "work")] if works else []
    if copies:
        parts.append("1 copy" if copies == 1 else f"{copies:,} copies")
    if not parts:
        return ""
    have = "has" if works + copies == 1 else "have"
    return f"Since then {_joined(parts)} of this line {have} been withdrawn: no later answer names them."


def withdrawn_note(work: CreditedWork) -> str:
    """A note that the work or copies of it were withdrawn after the answer; empty if none were."""
    if work.withdrawn:
        since = "" if work.withdrawn_since is None else f" on {work.withdrawn_since:%-d %B %Y}"
        return f"withdrawn{since}"
    count = len(work.withdrawn_copies)
    return "" if count == 0 else f"{count} of its copies withdrawn"


def remainder_sentence(line: CreditLine) -> str:
    """The remainder and its range, in one sentence."""
    spread = f"{percent(line.remainder)} is spread over the {line.other_works:,} other works of the corpus"
    return f"{spread}{_between(line.answer.remainder_low, line.answer.remainder_high)}."


def share_between(work: CreditedWork) -> str:
    """The range of the work's true share; empty if it is not known."""
    if work.share_low is None or work.share_high is None:
        return ""
    return f"{_number(work.share_low)}–{percent(work.share_high)}"


def uncertainty_sentences(line: CreditLine) -> list[str]:
    """What holds for this answer: delivery, out-of-distribution score, coverage of ranges, concentration."""
    answer, sentences = line.answer, []
    if line.undelivered:
        sentences.append(
            "The answer was recorded and not delivered: its caller left before it was sent. It counts in no"
            " accuracy and in no statement."
        )
    if answer.private:
        sentences.append(
            "The gateway was sent a vector and saw neither picture nor prompt: the answer holds for that"
            " vector, whatever it came from. It is never audited and counts in no statement."
        )
    elif answer.ood_score is None:
        sentences.append(
            "No out-of-distribution score: the release cannot tell a picture that is unlike those that it was"
            " calibrated on."
        )
    elif answer.ood_score > 1.0:
        sentences.append(
            "This picture is unlike those that the release was calibrated on"
            f" ({answer.ood_score:.1f} times as far off as usual ones are at most):"
            " its shares say little."
        )
    if answer.form is AnswerForm.RERANKED:
        sentences.append(_reranked_sentence(answer))
    if answer.from_picture_alone:
        sentences.append(_picture_alone_sentence(answer))
    elif answer.prompt_agreement is not None and answer.prompt_agreement < LOW_PROMPT_AGREEMENT:
        sentences.append(_disagreement_sentence(answer.prompt_agreement))
    if not answer.from_picture_alone and answer.share_from_prompt is not None:
        sentences.append(_halves_sentence(answer.share_from_prompt, 1.0 - answer.remainder))
    if answer.works_newer_than_calibration:
        sentences.append(_newer_sentence(answer))
    if answer.coverage is not None:
        coverage = f"{answer.coverage * 100:.0f}{_UNBROKEN}%"
        sentences.append(f"In {coverage} of answers the true share lies in the range that is given with it.")
    elif answer.intervals_withheld:
        sentences.append(
            "No ranges are given: no work is as near to this query as works were to those that ranges were"
            " fitted on, so they might not hold."
        )
    if answer.equal_parts is not None:
        sentences.append(_equal_parts_sentence(answer.equal_parts))
    return sentences


def _reranked_sentence(answer: AttributionAnswer) -> str:
    """How a re-ranked answer was made."""
    nearest = counted(answer.reranked_works, "work")
    return (
        f"This answer is re-ranked: a gradient of the generator ordered the {nearest} nearest to the picture."
    )


def _disagreement_sentence(agreement: float) -> str:
    """That picture and prompt hardly belong together, and what follows."""
    rare = f"only {percent(agreement)}" if agreement > 0.0 else "none"
    return (
        f"The picture does not look as if it was made from this prompt: of genuine pairs, {rare} agree less."
        " If it was made from another prompt, other works are owed."
    )


def _picture_alone_sentence(answer: AttributionAnswer) -> str:
    """That the prompt had no part in the answer, and how good such answers are."""
    sentence = (
        "This answer is from the picture alone, because the picture does not look as if it was made from its"
        " prompt."
    )
    recall = answer.picture_alone_recall
    if recall is None:
        return sentence
    return (
        f"{sentence} Such answers name {percent(recall.recall)} of the ten works that matter most"
        f"{_interval(recall.low, recall.high)}, answers with the right prompt {percent(recall.with_prompt)}."
    )


def _halves_sentence(from_prompt: float, listed: float) -> str:
    """How much of the listed shares rests on the prompt, which is the caller's word."""
    part = from_prompt / listed if listed > 0.0 else 0.0
    if part >= 1.0:
        return "All of what the listed works get rests on the prompt; the picture adds nothing to it."
    if part <= 0.0:
        return "All of what the listed works get rests on the picture; the prompt adds nothing to it."
    return (
        f"Of what the listed works get, {percent(part)} rests on the prompt and {percent(1.0 - part)} on the"
        " picture."
    )


def _newer_sentence(answer: AttributionAnswer) -> str:
    """How many works the release was not calibrated on, and whether its calibration holds for them."""
    works = counted(answer.works_newer_than_calibration, "work")
    newer = f"{works} were added after the release was calibrated"
    if answer.calibration_outdated is None:
        return f"{newer}; whether the calibration holds for them has not been checked."
    if answer.calibration_outdated:
        return f"{newer}, and by the teacher's labels the calibration does not hold for them."
    return f"{newer}; by the teacher's labels the calibration holds for them."


def _equal_parts_sentence(equal_parts: float) -> str:
    """The answer's concentration, as an equivalent number of works with equal parts."""
    works = counted(round(equal_parts), "work")
    if equal_parts >= _MANY_WORKS:
        return f"It owes a great many works a little each, as if {works} had equal parts of it."
    return f"What it owes is as concentrated as if {works} had equal parts of it."


def credited_people(work: CreditedWork) -> str:
    """The people who share the work's credit: "Ann 60 %, Ben 40 %", or "Ann, Ben" in equal parts."""
    if not work.holders:
        return work.contributor
    percents = [holder.percent for holder in work.holders]
    if max(percents) - min(percents) <= _EQUAL_PERCENT:
        return ", ".join(holder.name for holder in work.holders)
    return ", ".join(f"{holder.name} {percent(holder.percent / 100)}" for holder in work.holders)


def copies_note(work: CreditedWork) -> str:
    """A note that copies share this credit; empty if there are none."""
    count = len(work.copies)
    return "" if count == 0 else "and one copy" if count == 1 else f"and {count} copies"


def release_sentence(line: CreditLine) -> str:
    """The accuracy of the release, marked as that of other answers where this one lacks the prompt."""
    sentence = accuracy_sentence(line.accuracy)
    if line.answer.form is AnswerForm.RERANKED:
        return f"Of re-ranked answers: {sentence}"
    return f"Of answers with their prompt: {sentence}" if line.answer.from_picture_alone else sentence


def accuracy_sentence(accuracy: AuditedAccuracy) -> str:
    """The accuracy of the release, from its audits so far."""
    if accuracy.audits == 0 or accuracy.recall is None:
        return "No answer of this release has been audited yet."
    found = f"Over {counted(accuracy.audits, 'audit')}, this release named {_part(accuracy.recall)}"
    interval = _interval(accuracy.recall_low, accuracy.recall_high)
    sentence = f"{found} of the works that mattered most{interval}"
    if accuracy.missed_influence is None:
        return f"{sentence}."
    missed = percent(accuracy.missed_influence)
    return f"{sentence}; works it left out carried {missed} of the influence."


def audit_sentences(audit: AuditAnswer | None) -> list[str]:
    """The findings of this picture's audit, or the reason why there are none."""
    if audit is None:
        return ["This answer has not been audited."]
    if audit.verdict is None:
        if audit.state == "FAILED":
            return [f"The audit failed: {audit.error or 'no reason was given'}"]
        return ["The audit of this answer is still under way."]
    return _verdict_sentences(audit.verdict)


def _verdict_sentences(verdict: Verdict) -> list[str]:
    recall, missed = verdict.recall, verdict.missed_influence
    scored = verdict.listed_works + verdict.sampled_works
    rise = percent(verdict.query_rise - 1)
    return [
        f"The model was made to forget this picture (its loss rose by {rise}), and "
        f"{scored:,} works were looked at to see what was forgotten with it.",
        f"Of the {verdict.listed_works} works that mattered most, the list above names {_part(recall.value)}"
        f"{_interval(recall.low, recall.high)}.",
        f"Works it leaves out carry {percent(missed.value)} of the influence"
        f"{_interval(missed.low, missed.high)}.",
    ]


def licence_sentence(line: CreditLine) -> str:
    """The licences of the listed works; empty if none is known."""
    licences = sorted({work.licence for work in line.works if work.licence})
    return f"Works shown under their licences: {', '.join(licences)}." if licences else ""


def timing_sentence(line: CreditLine) -> str:
    """Durations of the answer and its audit; empty for older answers without timings."""
    if line.answer.timings.total_ms <= 0.0:
        return ""
    answered = f"Answered in {line.answer.timings.total_ms:.0f} ms"
    if line.audit is None or line.audit.verdict is None:
        return f"{answered}."
    return f"{answered}, audited in {line.audit.verdict.seconds:.0f} s."


def small_print(line: CreditLine) -> list[tuple[str, str]]:
    """Names and fingerprints, shortened to 16 digits, in the order of display."""
    release = line.release
    return [
        ("Release", f"{release.name}, {release.created:%-d %B %Y}"),
        ("Corpus", f"{counted(release.works, 'work')}, {release.corpus_fingerprint[:16]}"),
        ("Generator", release.generator_fingerprint[:16]),
        *([] if line.query.sha256 is None else [("Picture", line.query.sha256[:16])]),
        ("Attribution", line.answer.attribution_id),
    ]


def picture_note(line: CreditLine) -> str:
    """The kind and size of the picture, as on a museum label."""
    image = line.query.image()
    if image is None:
        return "Seen by its owner only: the gateway had neither the picture nor its prompt"
    width, height = image.size
    seed = "" if line.query.seed is None else f", seed {line.query.seed}"
    return f"Generated picture, {width} × {height} pixels{seed}, shown enlarged"


def _part(value: float) -> str:
    return "all" if value >= 1 else "none" if value <= 0 else percent(value)


def _interval(low: float | None, high: float | None) -> str:
    """The interval in brackets; empty if there is none, or if all works were scored."""
    if low is None or high is None or low == high:
        return ""
    return f" (95{_UNBROKEN}% interval {percent(low)} to {percent(high)})"


def _between(low: float | None, high: float | None) -> str:
    """The ends of a range in brackets; empty if they are not known."""
    return "" if low is None or high is None else f" (between {percent(low)} and {percent(high)})"


def _joined(names: Sequence[str]) -> str:
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"
