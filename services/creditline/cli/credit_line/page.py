"""A credit line as one HTML file without scripts or network requests, for display beside the picture."""

from __future__ import annotations

import base64
import io
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from PIL import Image

from creditline.cli.credit_line import words
from creditline.cli.credit_line.line import CreditLine
from creditline.cli.credit_line.picture import enlarged

# Side of the embedded picture in pixels; sharp on screens with twice the usual pixel density.
_PICTURE_SIDE = 1024


def credit_line_page(line: CreditLine) -> str:
    """The HTML page. Texts from callers and contributors are escaped."""
    image = line.query.image()
    return _template().render(
        line=line,
        words=words,
        picture="" if image is None else _data_uri(_webp(enlarged(image, side=_PICTURE_SIDE)), "image/webp"),
        thumbnails=[
            _data_uri(line.thumbnails[work.id], "image/webp") if line.shows(work) else ""
            for work in line.works
        ],
    )


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("creditline.cli.credit_line", "."),
        autoescape=True,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
    return environment.get_template("page.html")


def _data_uri(content: bytes, media_type: str) -> str:
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"


def _webp(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format="WEBP", quality=92)
    return buffer.getvalue()
