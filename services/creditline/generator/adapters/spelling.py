"""Spellings of LoRA's keys: diffusers, its old attention processors, peft and kohya.

| spelling | an example |
|---|---|
| diffusers | `unet.down_blocks.0.….attn1.to_q.lora_A.weight`, `….to_q.lora.down.weight` |
| old attention processors | `down_blocks.0.….attn1.processor.to_q_lora.down.weight` |
| peft | `base_model.model.down_blocks.0.….attn1.to_q.lora_A.default.weight` |
| kohya | `lora_unet_down_blocks_0_…_attn1_to_q.lora_down.weight`, `….alpha` |
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from creditline.errors import InvalidInput
from creditline.generator.parts.naming import some

Role = Literal["down", "up", "mid", "alpha"]

PEFT_PREFIX = "base_model.model."
_TENSOR = re.compile(
    r"(?:\.lora_(?P<one>A|B|down|up|mid)(?:\.(?!weight$)[^.]+)?"
    r"|\.lora(?:_linear_layer)?\.(?P<two>down|up)"
    r"|_lora\.(?P<three>down|up))\.weight$"
)
_ALPHA = re.compile(
    r"(?:\.lora_(?:A|B|down|up)|\.lora(?:_linear_layer)?|_lora)?(?:\.(?:down|up))?(?:\.weight)?\.alpha$"
)
_KOHYA = re.compile(r"^lora_(?P<part>unet|te|te1)_(?P<path>[^.]+)$")
_ROLES: dict[str, Role] = {"A": "down", "B": "up", "down": "down", "up": "up", "mid": "mid"}
_KOHYA_PARTS = {"unet": "unet", "te": "text_encoder", "te1": "text_encoder"}
# Adapters of other kinds, by the keys that only they have.
_RELATIVES = {
    "DoRA": r"dora_scale|lora_magnitude_vector",
    "LoHa": r"\.hada_",
    "LoKr": r"\.lokr_",
    "(IA)^3": r"ia3_l|\.on_input$",
    "OFT": r"\boft_|\bboft_",
    "VeRA": r"vera_",
    "GLoRA": r"\.[ab][12]\.weight$",
    "full weight differences": r"\.diff(_b)?$",
    "LoRA of an embedding": r"lora_embedding_",
    "textual inversion": r"^bundle_emb\.|^emb_params$|string_to_param",
    "IP-Adapter": r"ip_adapter|image_proj|_ip\.",
}


@dataclass(frozen=True)
class Key:
    """One key of an adapter file, taken apart."""

    part: str | None
    """"unet" or "text_encoder"; None where the key does not say."""
    path: str
    """The layer, as the file spells it."""
    flattened: bool
    """Whether the path has underscores instead of dots (kohya)."""
    role: Role
    """What the tensor is."""


def parse_key(name: str) -> Key | None:
    """Take a key apart; None for a key that is in none of the spellings."""
    for pattern in (_TENSOR, _ALPHA):
        found = pattern.search(name)
        if found:
            spelled = "".join(text for text in found.groupdict().values() if text)
            return _key(name[: found.start()], _ROLES.get(spelled, "alpha"))
    return None


def _key(path: str, role: Role) -> Key:
    kohya = _KOHYA.match(path)
    if kohya:
        return Key(_KOHYA_PARTS[kohya["part"]], kohya["path"], True, role)
    path = path.removeprefix(PEFT_PREFIX).replace(".processor.", ".")
    for part in ("unet", "text_encoder"):
        if path.startswith(f"{part}."):
            return Key(part, path.removeprefix(f"{part}."), False, role)
    return Key(None, path, False, role)


def refuse_relatives(names: Iterable[str], path: Path) -> None:
    """Refuse adapters that are no LoRA, by the name of their kind.

    Args:
        names: All keys of the file.
        path: The file, for the error.

    Raises:
        InvalidInput: A key belongs to another kind of adapter.
    """
    listed = list(names)
    for kind, pattern in _RELATIVES.items():
        found = [name for name in listed if re.search(pattern, name)]
        if found:
            raise InvalidInput(
                f"{path} is or holds {kind} ({some(found)}), which is not supported; merge it into the"
                " weights with the tool that made it, and give the merged pipeline",
                field="adapters",
            )
