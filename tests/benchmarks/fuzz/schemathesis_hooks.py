"""What schemathesis cannot know: how texts of some formats are made. Named by `SCHEMATHESIS_HOOKS`."""

from __future__ import annotations

import io
from base64 import b64encode

import schemathesis
from hypothesis import strategies as st
from PIL import Image

_FORM = "multipart/form-data"


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


@schemathesis.hook
def filter_case(context: schemathesis.HookContext, case: schemathesis.Case) -> bool:
    """Leave out what a form cannot say: that a field is no list.

    A form has only texts, one or more of each name: `true` in place of a list is sent as a list of the one
    text "true". Schemathesis 4.32 calls that a violation of the field's type, and expects a refusal.
    """
    if case.media_type != _FORM or not isinstance(case.body, dict):
        return True
    content = case.operation.definition.raw["requestBody"]["content"]
    fields = content[_FORM]["schema"].get("properties", {})
    return all(
        isinstance(value, list) or fields.get(name, {}).get("type") != "array"
        for name, value in case.body.items()
    )
