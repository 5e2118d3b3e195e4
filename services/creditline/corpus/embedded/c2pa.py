"""C2PA manifests: signed statements about a picture, its parents' included. Nothing is fetched."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache
from typing import Any

from creditline.corpus.consent.plus import data_mining
from creditline.corpus.consent.training_mining import entries_statement, is_training_mining
from creditline.corpus.consent.uses import Permission, Statement, Use
from creditline.corpus.embedded.picture_metadata import NO_METADATA, PictureMetadata, licences, people
from creditline.corpus.row_batches import one_line

PLACE = "C2PA"
# Ingredients whose pixels are in the picture; other ones were only looked at.
_KEPT_INGREDIENTS = ("parentOf", "componentOf")
_MOST_MANIFESTS = 100
_CREATIVE_WORK, _METADATA = "stds.schema-org.CreativeWork", ("c2pa.metadata", "cawg.metadata", "stds.iptc")
_SETTINGS = {
    "core": {"allowed_network_hosts": [], "decode_identity_assertions": False},
    "verify": {
        "remote_manifest_fetch": False,
        "ocsp_fetch": False,
        "verify_trust": False,
        "verify_timestamp_trust": False,
    },
}


def manifest_metadata(encoded: bytes, mime_type: str) -> PictureMetadata:
    """Authors, licences and statements of the manifest in a picture, and of those of its ingredients.

    Whether the signer is trusted is left open. Where the signature or the picture's hash does not match,
    restrictions hold and permissions are unreadable.

    Args:
        encoded: The encoded picture, which has a manifest.
        mime_type: Its media type.

    Returns:
        The metadata; an unreadable statement where the manifest cannot be read, or without `c2pa-python`.
    """
    try:
        import c2pa
    except ImportError:
        reason = "a signed manifest; `pip install 'creditline[provenance]'` to read it"
        return PictureMetadata(statements=(Statement.unreadable(PLACE, reason),))
    try:
        with c2pa.Reader(mime_type, io.BytesIO(encoded), context=_context()) as reader:
            store = json.loads(reader.json())
    except (c2pa.C2paError, ValueError, RecursionError) as error:
        return PictureMetadata(statements=(Statement.unreadable(PLACE, one_line(error)),))
    return _store_metadata(store)


@cache
def _context() -> Any:
    """The reader's settings, once per process: no network at all."""
    import c2pa

    return c2pa.Context(c2pa.Settings.from_dict(_SETTINGS))


def _store_metadata(store: Mapping[str, Any]) -> PictureMetadata:
    manifests = list(_manifests(store))
    if not manifests:
        return PictureMetadata(statements=(Statement.unreadable(PLACE, "no manifest in the store"),))
    found = NO_METADATA.joined(*(_manifest_metadata(place, manifest) for place, manifest in manifests))
    if store.get("validation_state") == "Invalid":
        found = replace(found, statements=tuple(map(_without_permission, found.statements)))
    return found


def _manifests(store: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Place and content of the active manifest and of those of its ingredients, each once."""
    known = store.get("manifests") or {}
    seen: set[Any] = set()
    waiting = [(PLACE, store.get("active_manifest"))]
    while waiting and len(seen) < _MOST_MANIFESTS:
        place, label = waiting.pop(0)
        if label in seen or label not in known:
            continue
        seen.add(label)
        yield place, known[label]
        for ingredient in known[label].get("ingredients") or ():
            if ingredient.get("relationship") in _KEPT_INGREDIENTS:
                waiting.append((f"{PLACE} ingredient", ingredient.get("active_manifest")))


def _manifest_metadata(place: str, manifest: Mapping[str, Any]) -> PictureMetadata:
    assertions = [one for one in manifest.get("assertions") or () if isinstance(one, Mapping)]
    return NO_METADATA.joined(*(_assertion_metadata(place, one) for one in assertions))


def _assertion_metadata(place: str, assertion: Mapping[str, Any]) -> PictureMetadata:
    label, data = str(assertion.get("label", "")), assertion.get("data")
    kind = label.partition("__")[0]
    if is_training_mining(label):
        return PictureMetadata(statements=(entries_statement(f"{place} {kind}", data),))
    if not isinstance(data, Mapping):
        return NO_METADATA
    if kind == _CREATIVE_WORK:
        return PictureMetadata(
            names=people(f"{place} author", _texts(data.get("author"))),
            licences=licences(f"{place} license", _texts(data.get("license"))),
        )
    if kind.startswith(_METADATA):
        return _described(place, data)
    if kind.startswith("c2pa.actions"):
        return PictureMetadata(digital_source=_digital_source(data))
    return NO_METADATA


def _described(place: str, data: Mapping[str, Any]) -> PictureMetadata:
    """The metadata of an assertion that holds XMP properties as JSON-LD."""
    mining = [text for text in _texts(data.get("plus:DataMining")) if text]
    rights = [data.get(name) for name in ("xmpRights:WebStatement", "cc:license", "xmpRights:UsageTerms")]
    return PictureMetadata(
        names=people(f"{place} dc:creator", _texts(data.get("dc:creator"))),
        licences=licences(
            f"{place} rights", [t for one in (*rights, data.get("dc:rights")) for t in _texts(one)]
        ),
        statements=tuple(data_mining(f"{place} plus:DataMining", text) for text in mining),
    )


def _texts(value: Any) -> list[str]:
    """Texts of a JSON-LD value: a text, an object with a name or a text per language, or a list of those."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, Mapping):
        named = next((value[key] for key in ("name", "@value", "x-default", "@id") if key in value), None)
        return _texts(named if named is not None else next(iter(value.values()), None))
    return [text for one in value for text in _texts(one)] if isinstance(value, list) else []


def _digital_source(data: Mapping[str, Any]) -> str:
    actions = [one for one in data.get("actions") or () if isinstance(one, Mapping)]
    sources = (str(one.get("digitalSourceType") or "") for one in actions)
    return next(filter(None, sources), "").rpartition("/")[2]


def _without_permission(statement: Statement) -> Statement:
    """The statement of an invalid manifest: what it allows, somebody else may have written."""
    permissions = {use: statement.about(use) for use in Use}
    unclear = {
        use: Permission.UNREADABLE if permission is Permission.ALLOWED else permission
        for use, permission in permissions.items()
    }
    return Statement.of(statement.place, f"{statement.text} (signature or hash does not match)", unclear)
