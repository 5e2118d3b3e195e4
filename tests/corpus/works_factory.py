"""Works without pictures."""

from __future__ import annotations

from creditline.corpus.works import Work


def plain_works(count: int) -> list[Work]:
    """Works w0, w1 … with a caption each."""
    return [
        Work(f"w{row}", f"t{row}", f"a drawing of {row}", (), "x", "?", "", f"w{row}", b"")
        for row in range(count)
    ]
