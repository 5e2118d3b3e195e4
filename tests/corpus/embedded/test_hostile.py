"""Damaged and hostile blocks: no error, little time, and never a silence where something may be said."""

from __future__ import annotations

import random
import sys
import time

import pytest

from creditline.corpus.consent.uses import Consent
from creditline.corpus.embedded.reading import picture_metadata
from tests.corpus.embedded.signed_pictures import signed, training_mining
from tests.corpus.embedded.written_pictures import CONTAINERS, exif, iptc, picture, sequence, xmp

_PACKET = xmp(sequence("dc:creator", "Ann"), plus_DataMining="DMI-PROHIBITED")
_ENTITIES = b"".join(b'<!ENTITY a%d "&a%d;&a%d;">' % (n + 1, n, n) for n in range(40))
_DEEP = 20_000
_MOST_SECONDS = 10.0


@pytest.mark.parametrize("container", CONTAINERS)
def test_no_cut_and_no_flipped_bytes_raise_an_error(container: str) -> None:
    blocks = {"exif_data": exif(Artist="Ann"), "iptc_data": iptc((2, 80, b"Ben"))}
    whole, dice = picture(container, packet=_PACKET, **blocks), random.Random(7)
    assert picture_metadata(whole).names[0].name == "Ann"
    started = time.monotonic()
    for _ in range(150):
        damaged = bytearray(whole)
        for _ in range(dice.randint(1, 12)):
            damaged[dice.randrange(len(damaged))] = dice.randrange(256)
        found = picture_metadata(bytes(damaged[: dice.randint(1, len(damaged))]))
        assert all(isinstance(one.name, str) for one in found.names)
    assert time.monotonic() - started < _MOST_SECONDS


@pytest.mark.parametrize(
    "packet",
    [
        b"<!DOCTYPE x [" + _ENTITIES + b"]><x>&a40;</x>",
        b'<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><x>&a;</x>',
        _PACKET.replace(b"DMI", b"\xff\xfe\xfd"),
        b"<x>" * _DEEP,
    ],
    ids=["entities", "outside entity", "no UTF-8", "unclosed"],
)
def test_a_packet_that_is_no_xml_is_unreadable(packet: bytes) -> None:
    found = picture_metadata(picture("WEBP", packet=packet))
    assert set(Consent(found.statements).by_use.values()) == {"unreadable"}


def test_deep_and_long_packets_are_read_in_bounded_time() -> None:
    deep = xmp("<a>" * _DEEP + "</a>" * _DEEP + sequence("dc:creator", "Ann"))
    many = xmp(sequence("dc:creator", *(f"Ann {number}" for number in range(_DEEP))))
    started = time.monotonic()
    assert picture_metadata(picture("WEBP", packet=deep)).names[0].name == "Ann"
    assert len(picture_metadata(picture("WEBP", packet=many)).names) == 50
    assert time.monotonic() - started < _MOST_SECONDS


def test_a_cut_file_does_not_turn_a_prohibition_into_silence() -> None:
    for container in CONTAINERS:
        whole = picture(container, packet=_PACKET)
        cut = picture_metadata(whole[: whole.index(b"<rdf:RDF") + 9] if container != "PNG" else whole[:90])
        assert Consent(cut.statements).by_use["mining"] == "unreadable", container


def test_without_the_extra_a_manifest_is_unreadable_and_the_way_to_read_it_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    encoded = signed(picture("JPEG"), "JPEG", training_mining("cawg", ai_training="notAllowed"))
    monkeypatch.setitem(sys.modules, "c2pa", None)  # As where it is not installed.
    (statement,) = picture_metadata(encoded).statements
    assert statement.is_unreadable
    assert "creditline[provenance]" in statement.text
