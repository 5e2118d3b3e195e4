"""What schemathesis cannot know: how texts of some formats are made. Named by `SCHEMATHESIS_HOOKS`."""

from __future__ import annotations

import io
from base64 import b64encode

import schemathesis
from hypothesis import strategies as st
from PIL import Image


def _picture(shade: int, kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16), (shade, 255 - shade, 64)).save(buffer, format=kind)
    return buffer.getvalue()


_PICTURES = [_picture(shade, kind) for shade in (0, 128, 255) for kind in ("PNG", "JPEG", "WEBP")]

# Pictures, as files and in base64.
schemathesis.openapi.format("binary", st.sampled_from(_PICTURES))
schemathesis.openapi.format("byte", st.sampled_from([b64encode(each).decode() for each in _PICTURES]))
# A token is what the page before gave; without one it is the first page.
schemathesis.openapi.format("page-token", st.just(""))
