"""Consent of the works of a run to training: a refusal by counts, or the reason to go on nevertheless."""

from __future__ import annotations

from collections import Counter

from creditline.corpus.consent.uses import TRAINING_USES, Permission, most_restrictive
from creditline.corpus.works import Corpus, Work
from creditline.errors import InvalidInput

_REFUSED = (Permission.PROHIBITED, Permission.CONSTRAINED)
_NAMED_WORKS = 3


def refuse_without_consent(corpus: Corpus, override: str | None) -> None:
    """Refuse works whose statements prohibit training or tie it to conditions.

    Both kinds of training count: the generator was trained on the works, and the encoder is.

    Args:
        corpus: The works of the run.
        override: Why the run goes on nevertheless; None: it does not.

    Raises:
        InvalidInput: Such works are in the corpus and there is no reason to go on; it counts and names them.
    """
    refused = [work for work in corpus if training_permission(work) in _REFUSED]
    if not refused or override:
        return
    first = ", ".join(f"{work.id} ({_said(work)})" for work in refused[:_NAMED_WORKS])
    raise InvalidInput(
        f"statements about {len(refused)} of {len(corpus)} works of {corpus.name} do not leave training free"
        f" ({_counted(corpus)}), the first of them {first}; leave these works out, or state why they may be"
        " used (key 'consent_override', option --consent-override), which the model card repeats",
        field="consent_override",
    )


def consent_note(corpus: Corpus, override: str | None) -> str:
    """A paragraph of the model card on the works' consent to training; empty where nothing is said."""
    counts = _counts(corpus)
    if not set(counts) - {Permission.UNSPECIFIED}:
        return ""
    reason = f" Why these were used, as the operator stated it: “{override}”." if override else ""
    restricted = any(permission in counts for permission in _REFUSED)
    return f"Consent of the works to training, as stated: {_counted(corpus)}.{reason if restricted else ''}"


def training_permission(work: Work) -> Permission:
    """The most restrictive of what is said about any training on a work."""
    return most_restrictive(work.consent.about(use) for use in TRAINING_USES)


def _said(work: Work) -> str:
    """Place and words of the statement that holds."""
    held = training_permission(work)
    statements = (one for one in work.consent.statements if held in map(one.about, TRAINING_USES))
    return next((f"{one.place}: {one.text[:80]}" for one in statements), held)


def _counts(corpus: Corpus) -> Counter[Permission]:
    return Counter(map(training_permission, corpus))


def _counted(corpus: Corpus) -> str:
    counts = _counts(corpus)
    return ", ".join(f"{counts[one]} {one}" for one in Permission if counts[one])
