"""A credit line as a picture drawn with Pillow, with the same content as the HTML page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from PIL import Image, ImageDraw, ImageFilter, ImageFont

from creditline.api.answers import CreditedWork
from creditline.cli.credit_line import words
from creditline.cli.credit_line.line import CreditLine
from creditline.cli.credit_line.picture import enlarged

_INK = "#23201c"
_SOFT = "#6a635a"
_RULE = "#ddd6ca"
_PAPER = "#faf8f4"
_MAT = "#fffefc"
_MARK = "#9c3d1f"

# Lengths in pixels of the drawing.
_WIDTH = 2400
_MARGIN = 170
_CONTENT = _WIDTH - 2 * _MARGIN
_FRAME = 980
_MAT_WIDTH = 80
_GUTTER = 130
_COLUMNS = 5
_COLUMN_GAP = 64
_THUMB_MAT = 22

_FACES = {"regular": "SourceSerifPro-Regular.ttf", "italic": "SourceSerifPro-It.ttf"}
_LINE_HEIGHT = 1.42


@dataclass(frozen=True)
class Type:
    """A font face with size and colour."""

    face: str
    """Name of the face, a key of `_FACES`."""
    size: int
    """Size in pixels."""
    colour: str = _INK
    """Colour in CSS notation."""

    @property
    def font(self) -> ImageFont.FreeTypeFont:
        """The font at this size."""
        return _font(self.face, self.size)

    @property
    def leading(self) -> int:
        """Distance between two lines in pixels."""
        return round(self.size * _LINE_HEIGHT)


_TITLE = Type("italic", 72)
_CREDIT = Type("regular", 46)
_TEXT = Type("regular", 36)
_NOTE = Type("regular", 32, _SOFT)
_HEADING = Type("regular", 36, _MARK)
_SHARE = Type("regular", 40)
_WORK_TITLE = Type("italic", 32)
_WORK_WHO = Type("regular", 32)
_WORK_NOTE = Type("regular", 28, _SOFT)
_SMALL = Type("regular", 27, _SOFT)


@cache
def _font(face: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(files("font_source_serif_pro") / "files" / _FACES[face]), size)


def wrapped(text: str, style: Type, width: int, *, most_lines: int | None = None) -> list[str]:
    """Break a text into lines.

    Args:
        text: The text.
        style: Font of the text.
        width: Maximum width of a line in pixels; longer words are broken.
        most_lines: Maximum number of lines; a longer text is cut off with an ellipsis. None: no limit.
    """
    lines: list[str] = []
    current = ""
    for word in _breakable(text, style, width):
        joined = f"{current} {word}".strip()
        if style.font.getlength(joined) <= width or not current:
            current = joined
        else:
            lines.append(current)
            current = word
    lines.append(current)
    if most_lines is not None and len(lines) > most_lines:
        lines = [*lines[: most_lines - 1], _cut(" ".join(lines[most_lines - 1 :]), style, width)]
    return lines


def _breakable(text: str, style: Type, width: int) -> list[str]:
    """The words of a text, where words wider than a line are split."""
    pieces: list[str] = []
    for word in text.split(" "):
        while style.font.getlength(word) > width:
            count = next(n for n in range(len(word) - 1, 0, -1) if style.font.getlength(word[:n]) <= width)
            pieces.append(word[:count])
            word = word[count:]
        pieces.append(word)
    return pieces


def _cut(text: str, style: Type, width: int) -> str:
    while text and style.font.getlength(f"{text}…") > width:
        text = text[:-1]
    return f"{text.rstrip(' ,;')}…"


class _Sheet:
    """A sheet of paper that is drawn on and then cropped to its final height."""

    def __init__(self) -> None:
        self.image = Image.new("RGB", (_WIDTH, 6000), _PAPER)
        self.draw = ImageDraw.Draw(self.image)

    def text(self, x: int, y: int, lines: Sequence[str], style: Type) -> int:
        """Draw lines of text from (x, y) downwards; returns the y coordinate of the next line."""
        for line in lines:
            self.draw.text((x, y), line, font=style.font, fill=style.colour)
            y += style.leading
        return y

    def rule(self, y: int) -> None:
        self.draw.rectangle((_MARGIN, y, _WIDTH - _MARGIN, y + 1), fill=_RULE)

    def bar(self, x: int, y: int, width: int, height: int, parts: Sequence[float]) -> None:
        """Draw a bar with its marked parts one after another; the rest stays faint."""
        self.draw.rectangle((x, y, x + width, y + height), fill=_RULE)
        left = float(x)
        for part in parts:
            right = left + part * width
            if part > 0:
                self.draw.rectangle(
                    (round(left), y, max(round(left), round(right) - 2), y + height), fill=_MARK
                )
            left = right

    def cut(self, height: int) -> Image.Image:
        return self.image.crop((0, 0, _WIDTH, height))


def credit_line_drawing(line: CreditLine) -> Image.Image:
    """The complete credit line as an RGB picture, 2400 pixels wide and as high as its content."""
    sheet = _Sheet()
    y = _draw_head(sheet, line, _MARGIN)
    y = _draw_works(sheet, line, y + 150)
    y = _draw_certainty(sheet, line, y + 90)
    y = _draw_footer(sheet, line, y + 100)
    return sheet.cut(y + 110)


def _draw_head(sheet: _Sheet, line: CreditLine, top: int) -> int:
    bottom = _draw_framed(sheet, line.query.image(), top)
    x = _MARGIN + _FRAME + _GUTTER
    width = _WIDTH - _MARGIN - x
    blocks = [
        (wrapped(words.title(line), _TITLE, width, most_lines=5), _TITLE, 18),
        (wrapped(words.picture_note(line), _NOTE, width), _NOTE, 70),
        (wrapped(words.credit_sentence(line), _CREDIT, width, most_lines=7), _CREDIT, 70),
    ]
    note = (
        f"{words.percent(1 - line.remainder)} goes to the {words.counted(len(line.works), 'work')} below; "
        f"{words.remainder_sentence(line)} {words.withdrawal_sentence(line)}"
    )
    note_lines = wrapped(note.strip(), _NOTE, width)
    height = sum(len(lines) * style.leading + gap for lines, style, gap in blocks)
    height += 34 + len(note_lines) * _NOTE.leading
    y = max(top, bottom - height)
    for lines, style, gap in blocks:
        y = sheet.text(x, y, lines, style) + gap
    sheet.bar(x, y, width, 14, [work.share for work in line.works])
    return max(bottom, sheet.text(x, y + 34, note_lines, _NOTE))


def _draw_framed(sheet: _Sheet, picture: Image.Image | None, top: int) -> int:
    """Draw the picture on a mat with a soft shadow; returns the lower edge of the frame.

    Without a picture the mat is empty.
    """
    inner = _FRAME - 2 * _MAT_WIDTH
    shown = Image.new("RGB", (inner, inner), _MAT) if picture is None else enlarged(picture, side=inner)
    shown.thumbnail((inner, inner))
    height = shown.height + 2 * _MAT_WIDTH
    box = (_MARGIN, top, _MARGIN + _FRAME, top + height)
    _draw_shadow(sheet, box)
    sheet.draw.rectangle(box, fill=_MAT, outline=_RULE, width=2)
    sheet.image.paste(shown, (_MARGIN + (_FRAME - shown.width) // 2, top + _MAT_WIDTH))
    return top + height


def _draw_shadow(sheet: _Sheet, box: tuple[int, int, int, int]) -> None:
    left, top, right, bottom = box
    reach = 90
    region = (left - reach, top - reach, right + reach, bottom + reach)
    mask = Image.new("L", (region[2] - region[0], region[3] - region[1]), 0)
    low = (reach + 30, reach + 60, reach + right - left - 30, reach + bottom - top + 26)
    ImageDraw.Draw(mask).rectangle(low, fill=70)
    mask = mask.filter(ImageFilter.GaussianBlur(28))
    sheet.image.paste(Image.new("RGB", mask.size, "#3c2d19"), region[:2], mask)


def _draw_works(sheet: _Sheet, line: CreditLine, top: int) -> int:
    sheet.rule(top)
    y = sheet.text(_MARGIN, top + 48, ["The works it owes"], _HEADING) + 40
    width = (_CONTENT - (_COLUMNS - 1) * _COLUMN_GAP) // _COLUMNS
    for start in range(0, len(line.works), _COLUMNS):
        row = line.works[start : start + _COLUMNS]
        lower = [
            _draw_work(sheet, line, work, _MARGIN + column * (width + _COLUMN_GAP), y, width)
            for column, work in enumerate(row)
        ]
        y = max(lower) + 60
    return y


def _draw_work(sheet: _Sheet, line: CreditLine, work: CreditedWork, x: int, y: int, width: int) -> int:
    """Draw one work with its share, title and contributor; returns its lower edge."""
    sheet.draw.rectangle((x, y, x + width, y + width), fill="white", outline=_RULE, width=2)
    inner = width - 2 * _THUMB_MAT
    picture = line.image_of(work)
    if picture is not None:
        shown = enlarged(picture, side=inner)
        shown.thumbnail((inner, inner))
        sheet.image.paste(shown, (x + (width - shown.width) // 2, y + (width - shown.height) // 2))
    y = sheet.text(x, y + width + 18, [words.percent(work.share)], _SHARE)
    sheet.bar(x, y + 4, width, 4, [work.share / line.largest_share])
    y = sheet.text(x, y + 24, wrapped(work.title, _WORK_TITLE, width, most_lines=3), _WORK_TITLE)
    y = sheet.text(x, y, wrapped(words.credited_people(work), _WORK_WHO, width, most_lines=2), _WORK_WHO)
    between = words.share_between(work)
    notes = [
        words.copies_note(work),
        f"range {between}" if between else "",
        words.withdrawn_note(work),
    ]
    lines = [line for note in notes if note for line in wrapped(note, _WORK_NOTE, width)]
    return sheet.text(x, y, lines, _WORK_NOTE)


def _draw_certainty(sheet: _Sheet, line: CreditLine, top: int) -> int:
    sheet.rule(top)
    width = (_CONTENT - _GUTTER) // 2
    columns = (
        ("The audit of this picture", words.audit_sentences(line.audit)),
        (
            "How sure the answers are",
            [*words.uncertainty_sentences(line), words.release_sentence(line), words.SHARE_MEANS],
        ),
    )
    lower = []
    for number, (title, sentences) in enumerate(columns):
        x = _MARGIN + number * (width + _GUTTER)
        y = sheet.text(x, top + 48, [title], _HEADING)
        for sentence in sentences:
            y = sheet.text(x, y + 24, wrapped(sentence, _TEXT, width), _TEXT)
        lower.append(y)
    return max(lower)


def _draw_footer(sheet: _Sheet, line: CreditLine, top: int) -> int:
    sheet.rule(top)
    facts = " · ".join(f"{name} {value}" for name, value in words.small_print(line))
    y = sheet.text(_MARGIN, top + 36, wrapped(facts, _SMALL, _CONTENT), _SMALL)
    closing = f"{words.timing_sentence(line)} {words.licence_sentence(line)}".strip()
    return sheet.text(_MARGIN, y, wrapped(closing, _SMALL, _CONTENT), _SMALL)
