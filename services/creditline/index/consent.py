"""Consent of works as a payload field, and conditions on it.

The index keeps every work, whatever is said about its use: who was trained on is credited and can withdraw.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from creditline.corpus.consent.uses import Consent, Permission, Use
from creditline.errors import InvalidInput
from creditline.qdrant_messages import qdrant

CONSENT = "consent"
"""Name of the payload field, a list of terms such as `mining=prohibited`."""


def consent_terms(consent: Consent) -> tuple[str, ...]:
    """The terms of a work, one for each use about which anything is said."""
    held = ((use, consent.about(use)) for use in Use)
    return tuple(_term(use, permission) for use, permission in held if permission != Permission.UNSPECIFIED)


def check_terms(terms: Sequence[str]) -> None:
    """Check the terms of a filter.

    Raises:
        InvalidInput: A term is not a use and a permission with `=` between them.
    """
    for term in terms:
        use, _, permission = term.partition("=")
        if use not in set(Use) or permission not in set(Permission):
            raise InvalidInput(
                f"{term!r} is not a use and what is said about it, such as generative_training=prohibited;"
                f" uses are {', '.join(Use)}, and what is said is one of {', '.join(Permission)}",
                field="consent",
            )


def consent_conditions(terms: Sequence[str]) -> Iterator[qdrant.Condition]:
    """For each use that is named, the condition that one of its terms holds for the work.

    Args:
        terms: Terms as `check_terms` accepts them.
    """
    for use in Use:
        wanted = [term for term in terms if term.startswith(f"{use}=")]
        stored = [term for term in wanted if term != _term(use, Permission.UNSPECIFIED)]
        either = [_any_of(stored)] if stored else []
        if len(stored) < len(wanted):
            said = [_term(use, one) for one in Permission if one != Permission.UNSPECIFIED]
            either.append(qdrant.Condition(filter=qdrant.Filter(must_not=[_any_of(said)])))
        if either:
            yield qdrant.Condition(filter=qdrant.Filter(should=either))


def _any_of(terms: Sequence[str]) -> qdrant.Condition:
    match = qdrant.Match(keywords=qdrant.RepeatedStrings(strings=terms))
    return qdrant.Condition(field=qdrant.FieldCondition(key=CONSENT, match=match))


def _term(use: Use, permission: Permission) -> str:
    return f"{use}={permission}"
