"""The parts of the joined features: image tower, layout and text tower."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Parts:
    """Dimensions of the parts of the joined features, in their order."""

    image: int
    """Dimension of the image tower's features."""
    layout: int
    """Dimension of the layout; 0: no layout."""
    text: int
    """Dimension of the text tower's features."""

    @property
    def width(self) -> int:
        """Dimension of the joined features."""
        return self.image + self.layout + self.text

    @property
    def widths(self) -> dict[str, int]:
        """Dimension of each part by name, in order."""
        return {"image": self.image, "layout": self.layout, "text": self.text}

    def slices(self) -> dict[str, slice]:
        """Columns of each part in the joined features, by name."""
        starts = (0, self.image, self.image + self.layout)
        return {
            name: slice(start, start + width)
            for (name, width), start in zip(self.widths.items(), starts, strict=True)
        }
