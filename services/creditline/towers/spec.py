"""Which towers: a line of text, the same in a configuration, on the command line and for the embedder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from creditline.errors import InvalidInput
from creditline.towers.embedded import EMBEDDED_NAME

_TIMM, _NO_LAYOUT, _AND = "timm:", "no-layout", "+"


@dataclass(frozen=True)
class TimmSpec:
    """An image tower of timm with a local checkpoint. side: pixels to a side, the model's own if None."""

    name: str
    checkpoint: Path
    side: int | None = None

    @classmethod
    def parse(cls, text: str) -> TimmSpec:
        """`NAME@CHECKPOINT` or `NAME@CHECKPOINT#SIDE`. Raises InvalidInput."""
        name, at, rest = text.partition("@")
        checkpoint, hash_, side = rest.partition("#")
        if not (name and at and checkpoint) or (hash_ and not side.isdecimal()):
            raise InvalidInput(
                f"{_TIMM}{text} is no tower; say {_TIMM}NAME@CHECKPOINT, or {_TIMM}NAME@CHECKPOINT#SIDE",
                field="towers",
            )
        return cls(name, Path(checkpoint), int(side) if side else None)


@dataclass(frozen=True)
class TowerSpec:
    """An open_clip name with a local checkpoint, a directory as open_clip saves it, or "embedded".

    image: a tower of timm in the place of open_clip's own; layout: whether the picture's coarse layout is
    between the two, which takes the picture itself.
    """

    name: str
    checkpoint: Path | None = None
    image: TimmSpec | None = None
    layout: bool = True

    @classmethod
    def parse(cls, text: str) -> TowerSpec:
        """`embedded`, `NAME@CHECKPOINT` (e.g. `ViT-B-32@weights.safetensors`) or `DIRECTORY`.

        Joined with `+` to it: `timm:NAME@CHECKPOINT`, which takes the image, and `no-layout`.
        Raises InvalidInput when it is none of these.
        """
        pieces = text.split(_AND)
        joint = [piece for piece in pieces if piece != _NO_LAYOUT and not piece.startswith(_TIMM)]
        images = [TimmSpec.parse(piece.removeprefix(_TIMM)) for piece in pieces if piece.startswith(_TIMM)]
        if len(joint) != 1 or not joint[0] or len(images) > 1:
            raise InvalidInput(
                f"{text!r} are no towers; say one of embedded, NAME@CHECKPOINT or DIRECTORY, and add"
                f" '+{_TIMM}NAME@CHECKPOINT' for another image tower, '+{_NO_LAYOUT}' for none of the layout",
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
