"""API keys in the ledger: made, rotated, revoked and followed."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import create_engine, text

from creditline.errors import Conflict, InvalidInput, NotFound
from creditline.ledger import KeyState, Ledger, Scope
from creditline.ledger.keys import id_in
from tests.ledger.conftest import MovableClock

_DAY = timedelta(days=1)


def test_a_key_is_256_random_bits_behind_a_public_id(ledger: Ledger) -> None:
    first, second = (ledger.keys.create("museum", [Scope.READ]) for _ in range(2))
    prefix, key_id, secret = first.text.split("_")
    assert (prefix, key_id, len(bytes.fromhex(secret))) == ("clk", first.record.id, 32)
    assert id_in(first.text) == key_id
    assert first.text != second.text
    assert first.text not in repr(first)


def test_the_database_holds_no_key_but_what_recognises_it(ledger: Ledger, ledger_url: str) -> None:
    issued = ledger.keys.create("museum", [Scope.READ, Scope.ATTRIBUTE], note="kiosk")
    engine = create_engine(ledger_url)
    with engine.connect() as connection:
        row = connection.execute(text("SELECT * FROM api_keys")).mappings().one()
    engine.dispose()
    secret = issued.text.split("_")[2]
    assert not any(secret in str(value) for value in row.values())
    assert row["scopes"] == "attribute,read"
    (kept,) = ledger.keys.all()
    assert kept == issued.record
    assert kept.matches(issued.text)
    assert not kept.matches(issued.text[:-1] + ("0" if issued.text[-1] != "0" else "1"))


def test_a_key_expires_at_its_moment(ledger: Ledger, clock: MovableClock) -> None:
    key = ledger.keys.create("museum", [Scope.READ], expires_in=_DAY).record
    assert key.state(clock.now + _DAY - timedelta(seconds=1)) is KeyState.VALID
    assert key.state(clock.now + _DAY) is KeyState.EXPIRED


def test_a_rotation_leaves_two_valid_keys_for_the_overlap(ledger: Ledger, clock: MovableClock) -> None:
    old = ledger.keys.create("museum", [Scope.AUDIT], expires_in=30 * _DAY, note="kiosk").record
    clock.now += 20 * _DAY
    new = ledger.keys.rotate(old.id, overlap=_DAY).record
    assert (new.owner, new.scopes, new.note) == (old.owner, old.scopes, old.note)
    assert new.expires == clock.now + 30 * _DAY
    old = ledger.keys.all()[0]
    assert old.replaced_by == new.id
    clock.now += _DAY - timedelta(seconds=1)
    assert [key.state(clock.now) for key in ledger.keys.all()] == [KeyState.VALID, KeyState.VALID]
    clock.pass_seconds(1)
    assert [key.state(clock.now) for key in ledger.keys.all()] == [KeyState.EXPIRED, KeyState.VALID]


def test_an_overlap_does_not_prolong_the_old_key(ledger: Ledger, clock: MovableClock) -> None:
    old = ledger.keys.create("museum", [Scope.READ], expires_in=_DAY).record
    ledger.keys.rotate(old.id, overlap=7 * _DAY)
    assert ledger.keys.all()[0].expires == clock.now + _DAY


@pytest.mark.parametrize("ending", ["rotated", "revoked", "expired"])
def test_only_a_valid_key_is_rotated_and_only_once(ledger: Ledger, clock: MovableClock, ending: str) -> None:
    key = ledger.keys.create("museum", [Scope.READ], expires_in=_DAY).record
    if ending == "rotated":
        ledger.keys.rotate(key.id, overlap=_DAY)
    elif ending == "revoked":
        ledger.keys.revoke(key.id)
    else:
        clock.now += _DAY
    with pytest.raises(Conflict, match=ending):
        ledger.keys.rotate(key.id, overlap=_DAY)


def test_a_revocation_stays_as_it_was_first_made(ledger: Ledger, clock: MovableClock) -> None:
    key = ledger.keys.create("museum", [Scope.READ]).record
    revoked = ledger.keys.revoke(key.id)
    assert (revoked.revoked, revoked.state(clock.now)) == (clock.now, KeyState.REVOKED)
    clock.pass_seconds(60)
    assert ledger.keys.revoke(key.id) == revoked


def test_changes_are_followed_by_version_and_uses_are_none(ledger: Ledger, clock: MovableClock) -> None:
    keys = ledger.keys
    first, second = (keys.create("museum", [Scope.READ]).record for _ in range(2))
    assert [key.id for key in keys.changed_after(0)] == [first.id, second.id]
    assert keys.changed_after(second.version) == ()
    keys.record_uses({first.id: clock.now})
    assert keys.changed_after(second.version) == ()
    keys.revoke(first.id)
    assert [key.id for key in keys.changed_after(second.version)] == [first.id]


def test_the_last_use_never_goes_back(ledger: Ledger, clock: MovableClock) -> None:
    key = ledger.keys.create("museum", [Scope.READ]).record
    for used in (clock.now, clock.now - _DAY):
        ledger.keys.record_uses({key.id: used, "0" * 16: used})
    assert ledger.keys.all()[0].last_used == clock.now


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("owner", {"owner": ""}),
        ("owner", {"owner": "o" * 201}),
        ("owner", {"owner": "museum\n"}),
        ("note", {"note": "n" * 201}),
        ("scopes", {"scopes": []}),
        ("expires_in", {"expires_in": timedelta(0)}),
        ("expires_in", {"expires_in": timedelta(days=10_000)}),
    ],
)
def test_a_key_that_cannot_be_made_names_the_reason(
    ledger: Ledger, field: str, change: dict[str, object]
) -> None:
    fields = {"owner": "museum", "scopes": [Scope.READ], **change}
    with pytest.raises(InvalidInput) as refused:
        ledger.keys.create(**fields)
    assert refused.value.field == field
    assert ledger.keys.all() == ()


@pytest.mark.parametrize(("key_id", "error"), [("0" * 16, NotFound), ("x", InvalidInput), ("", InvalidInput)])
def test_an_unknown_key_is_refused(ledger: Ledger, key_id: str, error: type[Exception]) -> None:
    with pytest.raises(error, match="creditline keys list"):
        ledger.keys.revoke(key_id)
    with pytest.raises(error, match="creditline keys list"):
        ledger.keys.rotate(key_id, overlap=_DAY)
