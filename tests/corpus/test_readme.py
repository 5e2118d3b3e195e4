"""The page on formats says what the code does."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest

from creditline.corpus.columns import FIELDS
from creditline.corpus.sources import KINDS
from creditline.corpus.sources.formats.caption_table import FILE_COLUMNS, TABLE_NAMES
from creditline.corpus.works import PACKED_VERSION, WORK_SCHEMA

_PAGE = (files("creditline.corpus") / "README.md").read_text(encoding="utf-8")


def _kinds() -> str:
    rows = [f"| `{name}` | {kind.known_by} |" for name, kind in KINDS.items()]
    return "\n".join(["| kind | known by |", "|---|---|", *rows])


def _columns() -> str:
    rows = [
        f"| {name.replace('_', ' ')} | {', '.join(f'`{one}`' for one in field.names)} | {field.meaning} |"
        for name, field in FIELDS.items()
    ]
    return "\n".join(["| field | columns or keys | what it gives |", "|---|---|---|", *rows])


@pytest.mark.parametrize(("name", "table"), [("kinds", _kinds()), ("columns", _columns())])
def test_the_pages_tables_are_the_codes(name: str, table: str) -> None:
    found = re.search(rf"<!-- {name} -->\n(.*?)<!-- end of {name} -->", _PAGE, re.DOTALL)
    assert found is not None
    assert found[1].strip() == table, f"write this into services/creditline/corpus/README.md:\n{table}"


def test_the_page_lists_the_columns_of_the_packed_form_with_their_types() -> None:
    found = re.search(r"<!-- packed -->\n(.*?)<!-- end of packed -->", _PAGE, re.DOTALL)
    assert found is not None
    listed = re.findall(r"^\| `(\w+)` \| `(.+?)` \| \S", found[1], re.MULTILINE)
    assert listed == [(field.name, str(field.type).replace("element: ", "item: ")) for field in WORK_SCHEMA]
    assert f"the version of the form, now {PACKED_VERSION};" in _PAGE


@pytest.mark.parametrize("name", [*TABLE_NAMES, *FIELDS["picture"].names[:1], *FILE_COLUMNS])
def test_the_page_names_tables_and_their_columns(name: str) -> None:
    assert f"`{name}`" in _PAGE
