"""A credit line as terminal output."""

from __future__ import annotations

from PIL import Image
from rich.color import Color
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.style import Style
from rich.table import Table
from rich.text import Text

from creditline.api.answers import CreditedWork
from creditline.cli.credit_line import words
from creditline.cli.credit_line.line import CreditLine

_ACCENT = "rgb(196,98,62)"
_FAINT = "grey58"
_BAR_CELLS = 12
# Characters are about twice as high as wide, so one character shows two pixels above each other.
_PICTURE_COLUMNS = 32
_EIGHTHS = " ▏▎▍▌▋▊▉█"


def credit_line_view(line: CreditLine, *, in_colour: bool) -> RenderableType:
    """The credit line for `rich.console.Console.print`.

    Args:
        line: The credit line.
        in_colour: Whether the terminal shows colours; the picture is shown only then.
    """
    image = line.query.image()
    parts: list[RenderableType] = [
        _label(line) if image is None or not in_colour else _with_picture(line, image),
        Text(),
        _works_table(line),
        Text(),
        *_section("The audit of this picture", words.audit_sentences(line.audit)),
        Text(),
        *_section(
            "How sure the answers are",
            [*words.uncertainty_sentences(line), words.release_sentence(line)],
        ),
        Text(),
        _footer(line),
    ]
    return Padding(Group(*parts), (1, 2))


def picture_in_blocks(picture: Image.Image, *, columns: int = _PICTURE_COLUMNS) -> Text:
    """The picture as coloured half-block characters, `columns` characters wide."""
    rows = max(2, round(columns * picture.height / picture.width / 2) * 2)
    small = picture.convert("RGB").resize((columns, rows), Image.Resampling.LANCZOS)
    text = Text(no_wrap=True)
    for y in range(0, rows, 2):
        for x in range(columns):
            upper, lower = _colour(small, x, y), _colour(small, x, y + 1)
            text.append("▀", Style(color=upper, bgcolor=lower))
        text.append("\n" if y + 2 < rows else "")
    return text


def bar(part: float, *, cells: int = _BAR_CELLS) -> str:
    """A bar that fills `part` (0 to 1) of `cells` characters, to an eighth of a character."""
    eighths = round(max(0.0, min(1.0, part)) * cells * 8)
    if part > 0:
        eighths = max(1, eighths)
    full, rest = divmod(eighths, 8)
    return (_EIGHTHS[8] * full + (_EIGHTHS[rest] if rest else "")).ljust(cells)


def _colour(picture: Image.Image, x: int, y: int) -> Color:
    pixel = picture.getpixel((x, y))
    assert isinstance(pixel, tuple)
    return Color.from_rgb(*pixel[:3])


def _label(line: CreditLine) -> Group:
    return Group(
        Text(words.title(line), style="bold italic"),
        Text(words.picture_note(line).removesuffix(", shown enlarged"), style=_FAINT),
        Text(),
        Text(words.credit_sentence(line)),
        Text(),
        Text(_remainder_text(line), style=_FAINT),
    )


def _remainder_text(line: CreditLine) -> str:
    return f"{words.remainder_sentence(line)} {words.withdrawal_sentence(line)}".strip()


def _with_picture(line: CreditLine, image: Image.Image) -> Table:
    grid = Table.grid(padding=(0, 3))
    grid.add_column(width=_PICTURE_COLUMNS)
    grid.add_column(ratio=1, vertical="middle")
    grid.add_row(picture_in_blocks(image), _label(line))
    return grid


def _works_table(line: CreditLine) -> Table:
    table = Table(box=None, pad_edge=False, header_style=_FAINT, expand=False, padding=(0, 2, 0, 0))
    table.add_column("", justify="right", style=_FAINT)
    table.add_column("share", justify="right", no_wrap=True, min_width=6)
    table.add_column("range", justify="right", style=_FAINT, no_wrap=True)
    table.add_column("", width=_BAR_CELLS, no_wrap=True, style=_ACCENT)
    # In a narrow terminal these two columns wrap; the numbers beside them do not.
    table.add_column("work", overflow="fold", max_width=44)
    table.add_column("contributor", overflow="fold", max_width=32)
    table.add_column("score", justify="right", style=_FAINT, no_wrap=True, min_width=5)
    for work in line.works:
        table.add_row(*_work_cells(work, line.largest_share))
    others = f"{line.other_works:,} other works of the corpus"
    table.add_row("", words.percent(line.remainder), "", "", others, "", "", style=_FAINT)
    return table


def _work_cells(work: CreditedWork, largest: float) -> tuple[str | Text, ...]:
    title = Text(work.title, style="italic")
    if work.copies:
        title.append(f" {words.copies_note(work)}", style=_FAINT)
    if words.withdrawn_note(work):
        title.append(f" ({words.withdrawn_note(work)})", style=_FAINT)
    share = words.percent(work.share)
    contributor = Text(words.credited_people(work))
    between, length = words.share_between(work), bar(work.share / largest)
    return str(work.rank), share, between, length, title, contributor, f"{work.score:.3f}"


def _section(title: str, sentences: list[str]) -> list[Text]:
    return [Text(title, style=_ACCENT), *(Text(sentence) for sentence in sentences)]


def _footer(line: CreditLine) -> Text:
    facts = " · ".join(f"{name} {value}" for name, value in words.small_print(line))
    return Text(f"{words.timing_sentence(line)} {facts}".strip(), style=_FAINT)
