"""XMP packets, and the RDF of SVG files: properties by namespace, read with `defusedxml`."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from xml.etree.ElementTree import Element, ParseError

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring

from creditline.corpus.consent.plus import data_mining
from creditline.corpus.consent.preferences import reservation
from creditline.corpus.consent.rsl import is_rsl, licence_statements
from creditline.corpus.consent.uses import Statement
from creditline.corpus.embedded.containers.blocks import MOST_BLOCK_BYTES
from creditline.corpus.embedded.picture_metadata import (
    NO_METADATA,
    PictureMetadata,
    licences,
    people,
    seconds,
)

_RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
_LANGUAGE = "{http://www.w3.org/XML/1998/namespace}lang"
_CONTAINERS = (f"{_RDF}Seq", f"{_RDF}Bag", f"{_RDF}Alt")
# Beginnings of namespaces, without scheme and version: files differ in both.
_NAMESPACES = {
    "purl.org/dc/elements/1.": "dc",
    "purl.org/dc/terms": "dcterms",
    "ns.adobe.com/xap/1.0/rights": "xmpRights",
    "ns.adobe.com/xap/1.0": "xmp",
    "ns.adobe.com/photoshop/1.0": "photoshop",
    "ns.adobe.com/tiff/1.0": "tiff",
    "ns.adobe.com/exif/1.0": "exif",
    "ns.useplus.org/ldf/xmp": "plus",
    "iptc.org/std/Iptc4xmpExt": "Iptc4xmpExt",
    "creativecommons.org/ns": "cc",
    "web.resource.org/cc": "cc",
    "w3.org/ns/tdmrep": "tdm",
}
_NAMES = ("dc:creator", "tiff:Artist", "plus:ImageCreator", "cc:attributionName")
_LICENCES = ("xmpRights:WebStatement", "cc:license", "dcterms:license", "xmpRights:UsageTerms", "dc:rights")
_DATES = ("photoshop:DateCreated", "exif:DateTimeOriginal", "xmp:CreateDate", "dc:date")
_ENCODED_RIGHTS = "Iptc4xmpExt:EmbdEncRightsExpr"
REMOTE_MANIFEST = " remote manifest"
"""End of the place of statements about a C2PA manifest that lies elsewhere."""
_STATED = (
    *("plus:DataMining", "plus:OtherConstraints", "tdm:reservation", "tdm:policy", "dcterms:provenance"),
    *(_ENCODED_RIGHTS, "Iptc4xmpExt:DigitalSourceType"),
)
_READ = frozenset((*_NAMES, *_LICENCES, *_DATES, *_STATED))
_CACHED_TAGS = 4096
_RSL_MARK = "rslstandard.org/rsl"


def xmp_metadata(packet: bytes, origin: str = "XMP") -> PictureMetadata:
    """Names, licences and statements of a packet; one that cannot be parsed is an unreadable statement.

    Args:
        packet: The packet, or an SVG file.
        origin: Name of the place, before the names of its properties.
    """
    try:
        root = parsed(packet)
    except (ParseError, DefusedXmlException, ValueError, LookupError) as error:
        return PictureMetadata(statements=(Statement.unreadable(origin, f"not valid XML ({error})"),))
    if root is None:
        return NO_METADATA
    properties = _properties(root)
    texts = {name: list(_texts(elements)) for name, elements in properties.items()}
    return PictureMetadata(
        names=tuple(
            one for name in _NAMES if name in texts for one in people(f"{origin} {name}", texts[name])
        ),
        licences=tuple(
            one for name in _LICENCES if name in texts for one in licences(f"{origin} {name}", texts[name])
        ),
        statements=(
            *_statements(texts, origin),
            *(_rsl_statements(root, origin) if _may_hold_rsl(packet) else ()),
        ),
        created=seconds(next(filter(None, (_first(texts, name) for name in _DATES)), "")),
        digital_source=_first(texts, "Iptc4xmpExt:DigitalSourceType").rpartition("/")[2],
    )


def _may_hold_rsl(packet: bytes) -> bool:
    """Whether RSL's namespace is in a packet; of one in UTF-16 or UTF-32, whether it may be."""
    return _RSL_MARK.encode() in packet or b"\0" in packet


def parsed(packet: bytes) -> Element | None:
    """The root element of a packet; None for one without any element.

    Raises:
        ParseError: It is not well-formed.
        DefusedXmlException: It declares entities.
        ValueError: It is larger than 4 MB, or in an unknown encoding.
    """
    if len(packet) > MOST_BLOCK_BYTES:
        raise ValueError(f"{len(packet):,} bytes are too many")
    if packet[:2] not in (b"\xff\xfe", b"\xfe\xff") and b"\0<\0" not in packet and b"<\0" not in packet:
        start, end = packet.find(b"<"), packet.rfind(b">")
        packet = packet[start : end + 1] if start >= 0 else b""
    return fromstring(packet) if packet else None


def _properties(root: Element) -> dict[str, list[Element | str]]:
    """Elements and attribute values of the properties that are read, by their name with its usual prefix."""
    found: dict[str, list[Element | str]] = {}
    for rdf in root.iter(f"{_RDF}RDF"):
        for description in rdf:
            given: list[tuple[str, Element | str]] = [
                *description.attrib.items(),
                *((child.tag, child) for child in description),
            ]
            for tag, value in given:
                if _prefixed(tag) in _READ:
                    found.setdefault(_prefixed(tag), []).append(value)
    return found


@lru_cache(maxsize=_CACHED_TAGS)
def _prefixed(tag: str) -> str:
    namespace, _, name = tag.removeprefix("{").rpartition("}")
    address = namespace.partition("://")[2].removeprefix("www.")
    prefix = next((prefix for start, prefix in _NAMESPACES.items() if address.startswith(start)), "")
    return f"{prefix}:{name}"


def _texts(values: list[Element | str]) -> Iterator[str]:
    """The texts of a property: of its items, or of itself; of alternatives in several languages, one."""
    for value in values:
        if isinstance(value, str):
            yield value
            continue
        container = next((child for child in value if child.tag in _CONTAINERS), None)
        if container is None:
            yield _text(value)
        elif container.tag == f"{_RDF}Alt" and any(item.get(_LANGUAGE) for item in container):
            default = [item for item in container if item.get(_LANGUAGE) == "x-default"]
            yield from map(_text, (default or list(container))[:1])
        else:
            yield from map(_text, container)


def _text(element: Element) -> str:
    """The text of an element; of a structure with a name, the name; of a reference, its address."""
    if element.get(f"{_RDF}resource"):
        return element.get(f"{_RDF}resource", "")
    for inner in element.iter():
        if inner.tag.endswith("}ImageCreatorName"):
            return _flat(inner)
        named = next((text for tag, text in inner.attrib.items() if tag.endswith("}ImageCreatorName")), "")
        if named:
            return named
    return _flat(element)


def _flat(element: Element) -> str:
    return " ".join("".join(element.itertext()).split())


def _statements(texts: dict[str, list[str]], origin: str) -> Iterator[Statement]:
    constraint = _first(texts, "plus:OtherConstraints")
    for value in filter(str.strip, texts.get("plus:DataMining", ())):
        yield data_mining(f"{origin} plus:DataMining", value, constraint)
    policy = _first(texts, "tdm:policy")
    for value in texts.get("tdm:reservation", ()):
        statement = reservation(f"{origin} tdm:reservation", value, policy)
        if statement is not None:
            yield statement
    for address in texts.get("dcterms:provenance", ()):
        if "://" in address:
            yield Statement.unreadable(f"{origin}{REMOTE_MANIFEST}", f"{address} is not fetched")
    for text in texts.get(_ENCODED_RIGHTS, ()):
        if _RSL_MARK in text:
            yield from rsl_text_statements(f"{origin} {_ENCODED_RIGHTS}", text)


def _rsl_statements(root: Element, origin: str) -> Iterator[Statement]:
    """Statements of the RSL elements that are not inside another RSL element."""
    waiting = [root]
    while waiting:
        element = waiting.pop()
        if is_rsl(element):
            yield from licence_statements(f"{origin} RSL", element)
        else:
            waiting.extend(reversed(list(element)))


def rsl_text_statements(place: str, text: str) -> Iterator[Statement]:
    """Statements of an RSL document in a text; one that cannot be parsed is unreadable."""
    start = text.find("<")
    try:
        root = parsed(text[max(start, 0) :].encode())
    except (ParseError, DefusedXmlException, ValueError, LookupError) as error:
        yield Statement.unreadable(place, f"not valid XML ({error})")
        return
    if root is not None:
        yield from _rsl_statements(root, place)


def _first(texts: dict[str, list[str]], name: str) -> str:
    return next(filter(None, texts.get(name, ())), "")
