"""Which of the joined features come from where."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Parts:
    """Widths of the parts of joined features, in their order: image tower, layout, text tower."""

    image: int
    layout: int
    text: int

    @property
    def width(self) -> int:
        """Numbers of the joined features."""
        return self.image + self.layout + self.text

    @property
    def widths(self) -> dict[str, int]:
        """By name, in order."""
        return {"image": self.image, "layout": self.layout, "text": self.text}

    def slices(self) -> dict[str, slice]:
        """Where each part lies, by name."""
        starts = (0, self.image, self.image + self.layout)
        return {
            name: slice(start, start + width)
            for (name, width), start in zip(self.widths.items(), starts, strict=True)
        }
