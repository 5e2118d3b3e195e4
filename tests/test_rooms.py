"""Each room's docstring names its public modules, and other rooms import those and no others."""

from __future__ import annotations

import re

import pytest

from tests.rooms import Rooms

_ROOMS = Rooms.of_the_source()
_PUBLIC = re.compile(r"^Public modules: (.+?)\.(?=\s|$)(?!\w)", re.MULTILINE | re.DOTALL)
# Files side by side in one folder; commands of the command line are a list, not a room.
_MOST_FILES = 14
_LISTS = {"creditline.cli"}


def _named_public(room: str) -> set[str]:
    found = _PUBLIC.search(_ROOMS.documentation(room))
    return set(re.findall(r"`([\w.]+)`", found[1])) if found else set()


@pytest.mark.parametrize("room", _ROOMS.names)
def test_other_rooms_import_what_the_docstring_names_public(room: str) -> None:
    assert _ROOMS.imported_from_outside(room) == _named_public(room)
    assert _named_public(room) <= _ROOMS.modules(room) | {"sources"}


@pytest.mark.parametrize("room", _ROOMS.names)
def test_every_room_says_in_a_sentence_what_it_is_for(room: str) -> None:
    first_line = _ROOMS.documentation(room).split("\n", 1)[0]
    assert len(first_line.split()) >= 3
    assert first_line.endswith((".", ":"))


def test_no_folder_is_a_corridor() -> None:
    by_folder: dict[str, int] = {}
    for name, path in _ROOMS.paths.items():
        folder = name.rpartition(".")[0]
        if path.name != "__init__.py" and folder not in _LISTS:
            by_folder[folder] = by_folder.get(folder, 0) + 1
    assert {folder: count for folder, count in by_folder.items() if count > _MOST_FILES} == {}
