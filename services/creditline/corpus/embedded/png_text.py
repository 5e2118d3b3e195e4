"""Texts of PNG files under the keywords of the PNG specification."""

from __future__ import annotations

from collections.abc import Sequence

from creditline.corpus.embedded.picture_metadata import PictureMetadata, licences, people, seconds


def png_text_metadata(texts: Sequence[tuple[str, str]]) -> PictureMetadata:
    """Authors, licences and date in the texts of a PNG file, by keyword."""
    return PictureMetadata(
        names=people("PNG Author", _under("author", texts)) + people("PNG Artist", _under("artist", texts)),
        licences=licences("PNG License", _under("license", texts))
        + licences("PNG Copyright", _under("copyright", texts)),
        created=seconds(next(iter(_under("creation time", texts)), "")),
    )


def _under(keyword: str, texts: Sequence[tuple[str, str]]) -> list[str]:
    return [text for name, text in texts if name.strip().lower() == keyword]
