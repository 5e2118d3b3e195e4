"""Storage of a credit line in a directory: picture, page, drawing and JSON."""

from __future__ import annotations

from pathlib import Path

from creditline.cli.credit_line.document import credit_line_document
from creditline.cli.credit_line.drawing import credit_line_drawing
from creditline.cli.credit_line.line import CreditLine
from creditline.cli.credit_line.page import credit_line_page
from creditline.errors import NotReady
from creditline.files import replace_file


def write_page(line: CreditLine, path: Path) -> Path:
    """Write the credit line as one HTML file, which is replaced if it exists; returns the path.

    Raises:
        NotReady: The file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replace_file(path) as draft:
            draft.write_text(credit_line_page(line), encoding="utf-8")
    except OSError as error:
        raise NotReady(
            f"{path} cannot be written ({error.strerror}); name a file in a directory of yours", field="html"
        ) from error
    return path


def write_credit_line(line: CreditLine, directory: Path) -> tuple[Path, ...]:
    """Write `picture.png`, if there is one, and `credit-line.{html,png,json}`; existing files are replaced.

    Returns:
        Paths of the files.
    """
    directory.mkdir(parents=True, exist_ok=True)
    picture, page, drawing, document = (
        directory / name
        for name in ("picture.png", "credit-line.html", "credit-line.png", "credit-line.json")
    )
    written = [page, drawing, document]
    if line.query.picture is not None:
        picture.write_bytes(line.query.picture)
        written.insert(0, picture)
    page.write_text(credit_line_page(line), encoding="utf-8")
    credit_line_drawing(line).save(drawing, optimize=True)
    document.write_text(credit_line_document(line), encoding="utf-8")
    return tuple(written)
