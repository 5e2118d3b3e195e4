"""The people that a value of metadata names: a text, a list, an object, HTML, or the text of any of these.

A semicolon separates people; a comma does not, because "Lee, Ann" is one person.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from html import unescape
from typing import Any

from creditline.corpus.metadata.html_text import names_in_html
from creditline.corpus.metadata.values import as_mapping, is_null, looks_like_structure, plain, structure_of
from creditline.corpus.names import display_name, name_key
from creditline.corpus.rights import WHOLE_PERCENT
from creditline.corpus.texts import clean, decode_text

_NAME_KEYS = (
    *("name", "full_name", "fullName", "realname", "display_name", "displayName", "@value", "value"),
    *("label", "title", "text", "_content", "username", "user_name", "en", "@none", "none"),
)
_GIVEN_KEYS = ("given", "given_name", "givenName", "first_name", "firstName", "first")
_FAMILY_KEYS = ("family", "family_name", "familyName", "last_name", "lastName", "last")
_PERCENT_KEYS = ("percent", "percentage", "share")
_ROLE_KEYS = ("role", "roleName", "type", "@type")
# Whoever only brought the work somewhere; credited where nobody else is named.
_CARRIERS = frozenset({"uploader", "uploaded by", "publisher", "distributor", "host", "provider"})
_TOLERANCE_PERCENT = 1.0  # Of percentages that were rounded.
# Texts that name nobody, in lower case.
_NOBODY = frozenset({"unknown", "unknown author", "unknown artist", "unknown photographer", "n/a", "?", "-"})
_SHARE = re.compile(r"(?P<name>.+?)\s*[:=]\s*(?P<percent>\d+(?:\.\d+)?)\s*%?\s*")
_TAG = re.compile(
    r"</?(?:a|abbr|b|bdi|big|br|cite|div|em|font|i|li|ol|p|small|span|strong|sub|sup|table|td|tr|u|ul)\b[^<>]*>",
    re.I,
)
_ENTITY = re.compile(r"&(?:#\d+|#x[0-9a-f]+|[a-z][a-z0-9]+);", re.I)


class NotUnderstood(ValueError):
    """A value is a data structure in which no names are found."""


@dataclass(frozen=True)
class Named:
    """A person or organisation that a value names."""

    name: str
    """The name, in the form of `corpus.names.display_name`."""
    percent: float | None = None
    """Percentage of the credit; None where the value gives none."""


def named_people(value: Any, *, of_rights: bool = False) -> tuple[Named, ...]:
    """Everybody whom a value names, in order; of two spellings of one name the first.

    Args:
        value: A text, a list, an object with a name, an object of percentages by name, or the text of one.
        of_rights: Whether numbers beside names are percentages whatever their sum is; otherwise they are
            percentages only where they sum to 100, since `Area: 51` may be a name.

    Raises:
        NotUnderstood: The value is a data structure in which no names are found.
    """
    found: dict[str, Named] = {}
    for one in _people(plain(value), of_rights):
        if one.name:
            found.setdefault(name_key(one.name), one)
    return tuple(found.values())


def _people(value: Any, of_rights: bool) -> Iterator[Named]:
    if is_null(value):
        return
    mapping = as_mapping(value)
    if mapping is not None:
        yield from _of_object(mapping, of_rights)
    elif isinstance(value, str | bytes):
        yield from _of_text(clean(value if isinstance(value, str) else decode_text(value)[0]), of_rights)
    elif isinstance(value, list | tuple | set | frozenset):
        yield from _of_list([plain(one) for one in value], of_rights)
    elif isinstance(value, bool | date) or value in (math.inf, -math.inf):
        raise NotUnderstood(str(value))
    else:
        yield Named(str(int(value)) if isinstance(value, float) and value.is_integer() else str(value))


def _of_list(values: list[Any], of_rights: bool) -> Iterator[Named]:
    """People of all entries; entries that are not understood count only where no other names anybody."""
    makers = [one for one in values if not _is_carrier(one)] or values
    found, problems = list[Named](), list[NotUnderstood]()
    for one in makers:
        try:
            found += _people(one, of_rights)
        except NotUnderstood as problem:
            problems.append(problem)
    if problems and (of_rights or not found):
        raise problems[0]
    yield from found


def _is_carrier(value: Any) -> bool:
    mapping = as_mapping(value)
    role = None if mapping is None else _first(mapping, _ROLE_KEYS)
    return isinstance(role, str) and role.strip().lower() in _CARRIERS


def _of_object(mapping: Mapping[Any, Any], of_rights: bool) -> Iterator[Named]:
    name = _first(mapping, _NAME_KEYS)
    if name is not None:
        percent = _first(mapping, _PERCENT_KEYS)
        for one in _people(plain(name), of_rights):
            yield one if percent is None else Named(one.name, _percent(percent))
        return
    parts = [_first(mapping, keys) for keys in (_GIVEN_KEYS, _FAMILY_KEYS)]
    if any(isinstance(part, str) for part in parts):
        yield Named(_one_line(" ".join(part for part in parts if isinstance(part, str))))
        return
    pairs = [(_one_line(clean(str(key))), _percent(percent)) for key, percent in mapping.items()]
    if not (of_rights or _is_whole([percent for _, percent in pairs])):
        raise NotUnderstood(str(dict(mapping)))
    yield from (Named(key, percent) for key, percent in pairs)


def _is_whole(percents: list[float]) -> bool:
    return bool(percents) and abs(sum(percents) - WHOLE_PERCENT) <= _TOLERANCE_PERCENT


def _percent(value: Any) -> float:
    try:
        return float(str(plain(value)).strip().removesuffix("%"))
    except ValueError as error:
        raise NotUnderstood(str(value)) from error


def _of_text(text: str, of_rights: bool) -> Iterator[Named]:
    held = structure_of(text)
    if held is not None:
        yield from _people(held, of_rights)
    elif looks_like_structure(text):
        raise NotUnderstood(text)
    elif _TAG.search(text):
        yield from _named(names_in_html(text))
    else:
        if _ENTITY.search(text):
            text = unescape(text)
        yield from _parts([part for part in text.split(";") if part.strip()], of_rights)


def _parts(parts: list[str], of_rights: bool) -> Iterator[Named]:
    """Names with percentages, such as `Ann: 60`, or names alone."""
    shares = [_SHARE.fullmatch(part.strip()) for part in parts]
    percents = [float(share["percent"]) for share in shares if share]
    if of_rights and percents and len(percents) < len(parts):
        raise NotUnderstood("; ".join(parts))
    if len(percents) == len(parts) and (of_rights or _is_whole(percents)):
        yield from (Named(_one_line(share["name"]), float(share["percent"])) for share in shares if share)
    else:
        yield from _named(parts)


def _named(names: Iterable[str]) -> Iterator[Named]:
    for name in map(_one_line, names):
        if name.startswith("[") and name.endswith("]"):  # A museum's way to mark a name as its own addition.
            name = name[1:-1].strip()
        if not is_null(name) and name.lower() not in _NOBODY:
            yield Named(name)


def _one_line(text: str) -> str:
    text = text.strip()
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
        text = text[1:-1]
    return display_name(text)


def _first(mapping: Mapping[Any, Any], keys: Iterable[str]) -> Any:
    return next((mapping[key] for key in keys if key in mapping and not is_null(mapping[key])), None)
