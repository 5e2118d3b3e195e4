"""Files of container × statement × conflict, with what has to be read from each."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.corpus.embedded.signed_pictures import author, signed, training_mining
from tests.corpus.embedded.written_pictures import (
    CONTAINERS,
    exif,
    extended_xmp,
    iptc,
    picture,
    sequence,
    with_chunk,
    xmp,
)

_PLUS = "http://ns.useplus.org/ldf/vocab/DMI-"
ALLOWED, CONSTRAINED, PROHIBITED = "allowed", "constrained", "prohibited"
UNREADABLE, UNSPECIFIED = "unreadable", "unspecified"
_Uses = tuple[str, str, str, str]
"""Generative training, other training, mining, inference."""
SILENT: _Uses = (UNSPECIFIED,) * 4
_LOST: _Uses = (UNREADABLE,) * 4


def _mining(permission: str) -> _Uses:
    return (permission, permission, permission, UNSPECIFIED)


def _training(permission: str) -> _Uses:
    return (permission, permission, UNSPECIFIED, UNSPECIFIED)


PLUS_VALUES: Mapping[str, _Uses] = {
    "UNSPECIFIED": SILENT,
    "ALLOWED": _mining(ALLOWED),
    "PROHIBITED": _mining(PROHIBITED),
    "PROHIBITED-AIMLTRAINING": _training(PROHIBITED),
    "PROHIBITED-GENAIMLTRAINING": (PROHIBITED, UNSPECIFIED, UNSPECIFIED, UNSPECIFIED),
    "PROHIBITED-EXCEPTSEARCHENGINEINDEXING": _mining(PROHIBITED),
    "PROHIBITED-SEECONSTRAINT": _mining(CONSTRAINED),
    "PROHIBITED-SEEEMBEDDEDRIGHTSEXPR": _mining(CONSTRAINED),
    "PROHIBITED-SEELINKEDRIGHTSEXPR": _mining(CONSTRAINED),
}


@dataclass(frozen=True)
class Case:
    """One picture with its row of a table, and what has to be read from both."""

    name: str
    make: Callable[[], bytes]
    names: tuple[str, ...] = ("unknown",)
    licence: str = "unknown"
    uses: _Uses = SILENT
    columns: Mapping[str, Any] = field(default_factory=dict)


def cases() -> list[Case]:
    """All cases, each with a name of its own."""
    return [*_xmp_everywhere(), *_names(), *_licences(), *_other_vocabularies(), *_conflicts(), *_manifests()]


def _in(container: str, **blocks: Any) -> Callable[[], bytes]:
    return lambda: picture(container, **blocks)


def _xmp_everywhere() -> Iterator[Case]:
    """Every container holds a packet; the nine values of PLUS, as URI and as code, are spread over them."""
    for number, (code, uses) in enumerate(PLUS_VALUES.items()):
        for form, prefix in (("URI", _PLUS), ("code", "DMI-")):
            container = CONTAINERS[(number + (form == "code") * 3) % len(CONTAINERS)]
            packet = xmp(sequence("dc:creator", "Ann"), plus_DataMining=prefix + code)
            yield Case(f"{container} {form} {code}", _in(container, packet=packet), ("Ann",), uses=uses)
    for container in CONTAINERS:
        element = f"<plus:DataMining>{_PLUS}PROHIBITED</plus:DataMining>"
        packet = xmp(element + sequence("dc:creator", "Ann", "Ben"), xmpRights_WebStatement="https://x.org/l")
        case = Case(f"{container} full XMP", _in(container, packet=packet), ("Ann", "Ben"), "https://x.org/l")
        yield Case(**{**vars(case), "uses": _mining(PROHIBITED)})
        if container != "GIF":
            data = exif(Artist="Ann; Ben", Copyright="(c) Ann")
            yield Case(f"{container} EXIF", _in(container, exif_data=data), ("Ann", "Ben"), "(c) Ann")
        broken = xmp("")[:-60]
        yield Case(f"{container} cut packet", _in(container, packet=broken), uses=_LOST)


def _names() -> Iterator[Case]:
    creator = sequence("dc:creator", "Ann")
    by_line = iptc((1, 90, b"\x1b%G"), (2, 80, "Béa".encode()), (2, 80, b"Cid"), (2, 116, b"(c) Cid"))
    for container in ("JPEG", "PNG", "TIFF"):
        yield Case(f"{container} by-lines", _in(container, iptc_data=by_line), ("Béa", "Cid"), "(c) Cid")
    everything = {"packet": xmp(creator), "iptc_data": by_line, "exif_data": exif(Artist="Dan")}
    yield Case("dc:creator before the others", _in("JPEG", **everything), ("Ann",), "(c) Cid")
    later = {"iptc_data": by_line, "exif_data": exif(Artist="Dan")}
    yield Case("by-line before EXIF", _in("JPEG", **later), ("Béa", "Cid"), "(c) Cid")
    table = {"contributor": "Eve", "licence": "CC0"}
    yield Case("the table first", _in("JPEG", **everything), ("Eve",), "CC0", columns=table)
    packet = xmp('<plus:ImageCreator><rdf:Seq><rdf:li rdf:parseType="Resource"><plus:ImageCreatorName>Flo'
                 "</plus:ImageCreatorName><plus:ImageCreatorID>7</plus:ImageCreatorID></rdf:li></rdf:Seq>"
                 "</plus:ImageCreator>")  # fmt: skip
    yield Case("PLUS creator", _in("WEBP", packet=packet), ("Flo",))
    packet = xmp("", cc_attributionName="Gil")
    yield Case("attribution name", _in("AVIF", packet=packet), ("Gil",))
    yield Case("PNG author", _in("PNG", texts={"Author": "Hal; Ida"}), ("Hal", "Ida"))
    link = sequence("dc:creator", "&lt;a href='https://x.org'&gt;Ann Lee&lt;/a&gt;")
    yield Case("a link is its text", _in("JPEG", packet=xmp(link)), ("Ann Lee",))
    yield Case(
        "one text, two people", _in("PNG", packet=xmp(sequence("dc:creator", "Ann; Ben"))), ("Ann", "Ben")
    )
    yield Case("a host is nobody", _in("JPEG"), columns={"source": "https://cdn.example.org/1.jpg"})
    uploader = {"uploader": "Uwe"}
    yield Case("an uploader where nobody else is named", _in("JPEG"), ("Uwe",), columns=uploader)
    yield Case("maker before uploader", _in("JPEG", exif_data=exif(Artist="Ann")), ("Ann",), columns=uploader)
    wide = exif(XPAuthor="Zoë".encode("utf-16-le") + b"\0\0")
    yield Case("Windows author", _in("JPEG", exif_data=wide), ("Zoë",))
    column = {"exif": '{"Image Artist": "Ann; Ben", "Image Copyright": "(c) Ann"}'}
    yield Case("img2dataset's exif", _in("JPEG"), ("Ann", "Ben"), "(c) Ann", columns=column)


def _licences() -> Iterator[Case]:
    cc = '<cc:license rdf:resource="https://creativecommons.org/licenses/by/4.0/"/>'
    rights = (
        '<dc:rights><rdf:Alt><rdf:li xml:lang="de">frei</rdf:li><rdf:li xml:lang="x-default">free</rdf:li>'
        "</rdf:Alt></dc:rights>"
    )
    address = "https://creativecommons.org/licenses/by/4.0/"
    yield Case("a licence is no consent", _in("JPEG", packet=xmp(cc)), licence=address)
    yield Case("licence before rights", _in("PNG", packet=xmp(rights + cc)), licence=address)
    yield Case("rights in the default language", _in("WEBP", packet=xmp(rights)), licence="free")


def _other_vocabularies() -> Iterator[Case]:
    reserved = xmp("<tdm:reservation>1</tdm:reservation>")
    yield Case("TDMRep reserved", _in("JPEG", packet=reserved), uses=_mining(PROHIBITED))
    with_policy = xmp("", tdm_reservation="1", tdm_policy="https://x.org/p.json")
    yield Case("TDMRep policy", _in("PNG", packet=with_policy), uses=_mining(CONSTRAINED))
    free = xmp("", tdm_reservation="0")
    only_mining = (UNSPECIFIED, UNSPECIFIED, ALLOWED, UNSPECIFIED)
    yield Case("TDMRep not reserved", _in("WEBP", packet=free), uses=only_mining)
    for words, uses in _RSL.items():
        block = f'<rsl:rsl><rsl:content url="/"><rsl:license>{words}</rsl:license></rsl:content></rsl:rsl>'
        yield Case(
            f"RSL {words[:60]}",
            _in("JPEG", packet=xmp(block + sequence("dc:creator", "Ann"))),
            ("Ann",),
            uses=uses,
        )
    for columns, uses in _COLUMNS:
        yield Case(f"column {columns}", _in("JPEG"), uses=uses, columns=columns)


_RSL: Mapping[str, _Uses] = {
    '<rsl:permits type="usage">ai-train</rsl:permits>': _training(ALLOWED),
    '<rsl:permits type="usage">ai-train</rsl:permits><rsl:payment type="royalty"/>': _training(CONSTRAINED),
    '<rsl:prohibits type="usage">ai-all</rsl:prohibits>': (PROHIBITED, PROHIBITED, UNSPECIFIED, PROHIBITED),
    '<rsl:permits type="usage">search</rsl:permits><rsl:prohibits type="usage">train-ai</rsl:prohibits>': (
        _training(PROHIBITED)
    ),
}
_COLUMNS: tuple[tuple[Mapping[str, Any], _Uses], ...] = (
    ({"noai": True}, _training(PROHIBITED)),
    ({"noai": False}, SILENT),
    ({"noai": False, "noimageai": "1"}, _training(PROHIBITED)),
    ({"ai_training": "no"}, _training(PROHIBITED)),
    ({"ai_training": "who knows"}, _training(UNREADABLE)),
    ({"content_usage": "train-ai=n, search=y"}, _training(PROHIBITED)),
    ({"content_usage": "train-ai=y, train-genai=n"}, (PROHIBITED, ALLOWED, UNSPECIFIED, UNSPECIFIED)),
    ({"tdm_reservation": 1}, _mining(PROHIBITED)),
    ({"tdm_reservation": "1", "tdm_policy": "https://x.org/p"}, _mining(CONSTRAINED)),
    ({"x_robots_tag": "otherbot: noindex, noai"}, _training(PROHIBITED)),
    ({"x_robots_tag": "noindex"}, SILENT),
    ({"headers": '{"X-Robots-Tag": "noai", "tdm-reservation": "1"}'}, _mining(PROHIBITED)),
    ({"data_mining": "Prohibited for AI/ML training"}, _training(PROHIBITED)),
)


def _conflicts() -> Iterator[Case]:
    allowed = xmp("", plus_DataMining=_PLUS + "ALLOWED")
    both = xmp("", plus_DataMining=_PLUS + "ALLOWED", tdm_reservation="1")
    yield Case("XMP allows and reserves", _in("JPEG", packet=both), uses=_mining(PROHIBITED))
    yield Case(
        "XMP allows, the table refuses",
        _in("PNG", packet=allowed),
        uses=(PROHIBITED, PROHIBITED, ALLOWED, UNSPECIFIED),
        columns={"noai": "yes"},
    )
    entity = b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "b">]><x>&a;</x>'
    yield Case("entities are refused", _in("JPEG", packet=entity), uses=_LOST)
    extension = xmp(sequence("dc:creator", "Ann"), plus_DataMining="DMI-PROHIBITED")
    main = xmp("", xmpNote_HasExtendedXMP="DIGEST")
    yield Case("extended XMP", lambda: extended_xmp(main, extension), ("Ann",), uses=_mining(PROHIBITED))
    bomb = b"XML:com.adobe.xmp\0\1\0\0\0" + _deflated(b" " * 20_000_000)
    yield Case("packet that inflates", lambda: with_chunk(picture("PNG"), b"iTXt", bomb), uses=_LOST)
    strange = xmp("", plus_DataMining=_PLUS + "PERHAPS")
    yield Case("unknown value of PLUS", _in("GIF", packet=strange), uses=_LOST)
    remote = xmp("", dcterms_provenance="https://x.org/manifest.c2pa")
    yield Case("remote manifest, not fetched", _in("JPEG", packet=remote), uses=_LOST)


def _deflated(content: bytes) -> bytes:
    return zlib.compress(content)


def _manifests() -> Iterator[Case]:
    uses = {"ai_generative_training": "notAllowed", "ai_training": "constrained", "data_mining": "allowed"}
    expected = (PROHIBITED, CONSTRAINED, ALLOWED, UNSPECIFIED)
    for number, container in enumerate(CONTAINERS):
        label = ("cawg", "c2pa")[number % 2]
        yield Case(
            f"{container} {label} manifest",
            _signed(container, author("Ann"), training_mining(label, **uses)),
            ("Ann",),
            uses=expected,
        )
    refused = training_mining("c2pa", ai_inference="notAllowed", ai_training="notAllowed")
    edited = _signed("JPEG", refused, then=training_mining("cawg", ai_training="allowed"))
    both = (UNSPECIFIED, PROHIBITED, UNSPECIFIED, PROHIBITED)
    yield Case("the parent's manifest after an edit", edited, uses=both)
    changed = _signed(
        "PNG", training_mining("cawg", ai_training="allowed", data_mining="notAllowed"), tail=b"x"
    )
    lost = (UNSPECIFIED, UNREADABLE, PROHIBITED, UNSPECIFIED)
    yield Case("a manifest that does not fit", changed, uses=lost)
    jumbf = lambda: with_chunk(picture("PNG"), b"caBX", b"no manifest at all")  # noqa: E731
    yield Case("a manifest that cannot be read", jumbf, uses=_LOST)


def _signed(
    container: str, *assertions: dict[str, Any], then: dict[str, Any] | None = None, tail: bytes = b""
) -> Callable[[], bytes]:
    def make() -> bytes:
        encoded = signed(picture(container), container, *assertions)
        if then:
            encoded = signed(encoded, container, then, is_edit=True)
        return with_chunk(encoded, b"tEXt", b"Comment\0" + tail) if tail else encoded

    return make
