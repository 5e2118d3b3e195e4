"""Output of a source survey, for the terminal and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from rich.console import Group, RenderableType
from rich.filesize import decimal
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from creditline.corpus.sources.survey import Survey
from creditline.corpus.works import Work

_ACCENT = "rgb(196,98,62)"
_FAINT = "grey58"
_BAD = "bold red"
_NAMED_LICENCES = 4
_UNSPECIFIED = "unspecified"


def survey_json(survey: Survey) -> dict[str, Any]:
    """The survey as JSON values; pictures are replaced by their sizes in bytes."""
    works = [{**asdict(work), "thumbnail": len(work.thumbnail)} for work in survey.sample]
    return {**asdict(survey), "sample": works}


def survey_view(survey: Survey) -> RenderableType:
    """The survey for `rich.console.Console.print`; it fits in 80 columns."""
    parts: list[RenderableType] = [_head(survey), Rule(style=_FAINT), _figures(survey)]
    parts += _section("Columns used", _pairs(survey.mapping)) if survey.mapping else []
    parts += _section("First works", _works(survey)) if survey.sample else []
    parts += _section(_counted("Repeated ids", survey.duplicates, 5), _duplicates(survey))
    parts += _section(_counted("Rows that hold no work", survey.broken, 20), _broken(survey))
    return Padding(Group(*parts, Text(), _verdict(survey)), (1, 2))


def _head(survey: Survey) -> Table:
    grid = Table.grid(expand=True)
    grid.add_column(ratio=1, overflow="ellipsis", no_wrap=True)
    grid.add_column(justify="right")
    name = Text.assemble((_plain(survey.name), "bold"), (f"  {survey.kind}", _ACCENT))
    parts = "1 part" if survey.parts == 1 else f"{survey.parts:,} parts"
    grid.add_row(name, Text(f"{parts}, {decimal(survey.size)}", style=_FAINT))
    return grid


def _figures(survey: Survey) -> Table:
    rows = {
        "works": Text(f"{survey.works:,}{_pictures(survey)}"),
        "broken rows": _count(survey.broken),
        **{f"  {loss}": Text(f"{count:,}", style=_BAD) for loss, count in survey.losses.items()},
        "repeated ids": _count(survey.duplicates),
        "contributors": Text(f"{survey.contributors:,}"),
        "licences": Text(_licences(survey.licences) or "none"),
        "features": Text(_features(survey)),
        **_consent(survey.consent),
    }
    for note, count in survey.notes.items():
        rows[note] = Text(f"{count:,}", style=_ACCENT)
    return _pairs(rows)


def _pictures(survey: Survey) -> str:
    if not survey.with_picture:
        return ", without pictures"
    check = "fully decoded" if survey.pictures_checked else "not decoded"
    those = "all" if survey.with_picture == survey.works else f"{survey.with_picture:,}"
    return f", {those} with a picture, {check}"


def _count(count: int) -> Text:
    return Text(f"{count:,}", style=_BAD if count else "")


def _licences(licences: Mapping[str, int]) -> str:
    first = [f"{_plain(name)} ({count:,})" for name, count in list(licences.items())[:_NAMED_LICENCES]]
    others = len(licences) - len(first)
    return ", ".join(first) + (f" and {others:,} others" if others else "")


def _consent(consent: Mapping[str, Mapping[str, int]]) -> dict[str, Text]:
    """A row for each use about which anything is said, else one row for all of them."""
    rows = {}
    for use, counts in consent.items():
        if set(counts) - {_UNSPECIFIED}:
            said = ", ".join(f"{count:,} {permission}" for permission, count in counts.items())
            rows[f"consent: {use}"] = Text(said)
    return rows or {"consent": Text("nothing is said about any use")}


def _features(survey: Survey) -> str:
    if not survey.has_features:
        return "none; pictures and captions must be embedded"
    dimensions = {"pictures": survey.image_width, "captions": survey.text_width}
    return " and ".join(f"{what} of dimension {count}" for what, count in dimensions.items() if count)


def _works(survey: Survey) -> Table:
    grid = Table.grid(padding=(0, 2), expand=True)
    grid.add_column(style=_FAINT, ratio=3, overflow="ellipsis", no_wrap=True)
    grid.add_column(ratio=3, overflow="ellipsis", no_wrap=True)
    grid.add_column(ratio=2, overflow="ellipsis", no_wrap=True)
    for work in survey.sample:
        grid.add_row(_plain(work.id), Text(_plain(work.caption), style="italic"), _holders(work))
    return grid


def _holders(work: Work) -> str:
    if not work.rights_holders:
        return _plain(work.contributor)
    return ", ".join(f"{_plain(one.name)} {one.percent:g} %" for one in work.rights_holders)


def _duplicates(survey: Survey) -> Group | None:
    lines = [
        Text.assemble(
            (_plain(one.work_id), "bold"),
            (f"  {one.first.part} row {one.first.row}, {one.again.part} row {one.again.row}", _FAINT),
        )
        for one in survey.first_duplicates
    ]
    return Group(*lines) if lines else None


def _broken(survey: Survey) -> Table | None:
    if not survey.first_broken:
        return None
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style=_FAINT, overflow="fold", max_width=24)
    grid.add_column(style=_FAINT, justify="right")
    grid.add_column(overflow="fold")
    for one in survey.first_broken:
        grid.add_row(_plain(one.part), f"{one.row:,}", _plain(one.reason))
    return grid


def _verdict(survey: Survey) -> Text:
    if not survey.works:
        return Text("The source holds no works; there is nothing to ingest.", style=_BAD)
    if not survey.is_whole:
        read = survey.works + survey.broken
        return Text(f"Only the first {read:,} rows were read; omit --limit to read all rows.", style=_FAINT)
    return Text("All rows were read; nothing was written.", style=_FAINT)


def _section(title: str, content: RenderableType | None) -> list[RenderableType]:
    return [] if content is None else [Text(), Text(title, style=f"bold {_ACCENT}"), content]


def _counted(title: str, count: int, named: int) -> str:
    return f"{title} (the first {named} of {count:,})" if count > named else title


def _pairs(rows: Mapping[str, str | Text]) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style=_FAINT, no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in rows.items():
        grid.add_row(name.replace("_", " "), value if isinstance(value, Text) else Text(_plain(value)))
    return grid


def _plain(text: str) -> str:
    """The printable characters on one line: foreign texts may contain terminal control sequences."""
    return " ".join("".join(_printable(text)).split())


def _printable(text: str) -> Iterator[str]:
    return (letter if letter.isprintable() else " " for letter in text)
