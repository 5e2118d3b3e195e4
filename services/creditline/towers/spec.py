"""Specifications of towers: one line of text, for configurations, commands and the embedder's settings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from creditline.errors import InvalidInput
from creditline.towers.embedded import EMBEDDED_NAME

_TIMM, _NO_LAYOUT, _SEPARATOR = "timm:", "no-layout", "+"


@dataclass(frozen=True)
class TimmSpec:
    """An image tower of timm with a local checkpoint."""

    name: str
    """timm's name of the model."""
    checkpoint: Path
    """File of the weights."""
    side: int | None = None
    """Width and height of the input, in pixels; None: the model's default."""

    @classmethod
    def parse(cls, text: str) -> TimmSpec:
        """Parse `NAME@CHECKPOINT` or `NAME@CHECKPOINT#SIDE`.

        Raises:
            InvalidInput: The text has neither form.
        """
        name, at, rest = text.partition("@")
        checkpoint, hash_, side = rest.partition("#")
        if not (name and at and checkpoint) or (hash_ and not side.isdecimal()):
            raise InvalidInput(
                f"'{_TIMM}{text}' names no tower; write {_TIMM}NAME@CHECKPOINT or"
                f" {_TIMM}NAME@CHECKPOINT#SIDE",
                field="towers",
            )
        return cls(name, Path(checkpoint), int(side) if side else None)


@dataclass(frozen=True)
class TowerSpec:
    """An image tower, a text tower and, optionally, the layout."""

    name: str
    """An open_clip model name (with `checkpoint`), a directory that open_clip saved, or "embedded"."""
    checkpoint: Path | None = None
    """File of the open_clip model's weights."""
    image: TimmSpec | None = None
    """An image tower of timm that replaces open_clip's."""
    layout: bool = True
    """Whether the joined features include the picture's layout, which needs the picture itself."""

    @classmethod
    def parse(cls, text: str) -> TowerSpec:
        """Parse `embedded`, `NAME@CHECKPOINT` (e.g. `ViT-B-32@weights.safetensors`) or `DIRECTORY`.

        Optional suffixes: `+timm:NAME@CHECKPOINT`, an image tower of timm, and `+no-layout`.

        Raises:
            InvalidInput: The text has none of these forms.
        """
        pieces = text.split(_SEPARATOR)
        joint = [piece for piece in pieces if piece != _NO_LAYOUT and not piece.startswith(_TIMM)]
        images = [TimmSpec.parse(piece.removeprefix(_TIMM)) for piece in pieces if piece.startswith(_TIMM)]
        if len(joint) != 1 or not joint[0] or len(images) > 1:
            raise InvalidInput(
                f"{text!r} names no towers; write embedded, NAME@CHECKPOINT or DIRECTORY, and append"
                f" '+{_TIMM}NAME@CHECKPOINT' for another image tower or '+{_NO_LAYOUT}' to leave out the"
                " layout",
                field="towers",
            )
        name, at, checkpoint = joint[0].partition("@")
        return cls(
            name if at else joint[0],
            Path(checkpoint) if at else None,
            images[0] if images else None,
            _NO_LAYOUT not in pieces,
        )


EMBEDDED = TowerSpec(EMBEDDED_NAME)
