"""The PLUS vocabulary of data mining: nine values of `plus:DataMining`, as URI, code or label.

Source: PLUS License Data Format, property Data Mining (http://ns.useplus.org/LDF/ldf-XMPSpecification).
"""

from __future__ import annotations

import re

from creditline.corpus.consent.uses import MINING_USES, TRAINING_USES, Permission, Statement, Use

_ALL_MINING = dict.fromkeys(MINING_USES, Permission.PROHIBITED)
_SEE_CONDITIONS = dict.fromkeys(MINING_USES, Permission.CONSTRAINED)
_PERMISSIONS: dict[str, dict[Use, Permission]] = {
    "UNSPECIFIED": {},
    "ALLOWED": dict.fromkeys(MINING_USES, Permission.ALLOWED),
    "PROHIBITED": _ALL_MINING,
    "PROHIBITED-AIMLTRAINING": dict.fromkeys(TRAINING_USES, Permission.PROHIBITED),
    "PROHIBITED-GENAIMLTRAINING": {Use.GENERATIVE_TRAINING: Permission.PROHIBITED},
    "PROHIBITED-EXCEPTSEARCHENGINEINDEXING": _ALL_MINING,
    "PROHIBITED-SEECONSTRAINT": _SEE_CONDITIONS,
    "PROHIBITED-SEEEMBEDDEDRIGHTSEXPR": _SEE_CONDITIONS,
    "PROHIBITED-SEELINKEDRIGHTSEXPR": _SEE_CONDITIONS,
}
# Beginnings of the labels that programs print instead of codes, letters only; longer ones come first.
_LABELS = {
    "unspecified": "UNSPECIFIED",
    "allowed": "ALLOWED",
    "prohibitedforaimltraining": "PROHIBITED-AIMLTRAINING",
    "prohibitedforgenerativeaimltraining": "PROHIBITED-GENAIMLTRAINING",
    "prohibitedexceptforsearchengineindexing": "PROHIBITED-EXCEPTSEARCHENGINEINDEXING",
    "prohibitedseeplusotherconstraints": "PROHIBITED-SEECONSTRAINT",
    "prohibitedseeotherconstraints": "PROHIBITED-SEECONSTRAINT",
    "prohibitedseeiptcextembdencrightsexpr": "PROHIBITED-SEEEMBEDDEDRIGHTSEXPR",
    "prohibitedseeembeddedencodedrightsexpression": "PROHIBITED-SEEEMBEDDEDRIGHTSEXPR",
    "prohibitedseeiptcextlinkedencrightsexpr": "PROHIBITED-SEELINKEDRIGHTSEXPR",
    "prohibitedseelinkedencodedrightsexpression": "PROHIBITED-SEELINKEDRIGHTSEXPR",
    "prohibited": "PROHIBITED",
}
_CODE = re.compile(r"(?:^|[/#:])DMI-([A-Z-]+)/?$", re.IGNORECASE)


def data_mining(place: str, value: str, constraint: str = "") -> Statement:
    """The statement of a `plus:DataMining` value; a value outside the vocabulary is unreadable.

    Args:
        place: Where it was read.
        value: URI, code (`DMI-…`) or label of the value.
        constraint: Text of `plus:OtherConstraints`, kept with the statement.
    """
    text = f"{value.strip()} ({constraint.strip()})" if constraint.strip() else value.strip()
    code = _code(value.strip())
    if code not in _PERMISSIONS:
        return Statement.unreadable(place, text)
    return Statement.of(place, text, _PERMISSIONS[code])


def _code(value: str) -> str:
    found = _CODE.search(value)
    if found:
        return found[1].upper()
    letters = "".join(filter(str.isalpha, value)).lower()
    label = next((label for label in sorted(_LABELS, key=len, reverse=True) if letters.startswith(label)), "")
    # "Prohibited" alone is a value; "Prohibited in …" is none that the vocabulary knows.
    is_whole = label == letters or label not in ("prohibited", "allowed")
    return _LABELS[label] if label and is_whole else ""
