"""Names of tensors: today's name for each name in a file, and names that belong to adapters."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

TEXT_PREFIX = "text_model."
_SHOWN_NAMES = 3
# Marks of LoRA in the spellings of diffusers, peft and kohya, of its relatives, and of IP-Adapter.
_ADAPTER_NAME = re.compile(
    r"lora[_.]|\.lora|hada_w|lokr_|dora_scale|oft_(?:diag|blocks|R)|\.processor\.|_ip\.|ip_adapter|image_proj|base_model\.model\."
)
# Names of published files, and of today's modules (SD 1.5's VAE; BERT before 2019).
_RENAMED = (
    (re.compile(r"\.query\.(weight|bias)$"), r".to_q.\1"),
    (re.compile(r"\.key\.(weight|bias)$"), r".to_k.\1"),
    (re.compile(r"\.value\.(weight|bias)$"), r".to_v.\1"),
    (re.compile(r"\.proj_attn\.(weight|bias)$"), r".to_out.0.\1"),
    (re.compile(r"LayerNorm\.gamma$"), "LayerNorm.weight"),
    (re.compile(r"LayerNorm\.beta$"), "LayerNorm.bias"),
)
# A buffer of older text encoders, which is computed today.
_COMPUTED = re.compile(r"(^|\.)position_ids$")


def todays_name(name: str, expected: Collection[str], *, prefixes: Collection[str] = ()) -> str | None:
    """The module's name for a tensor of a file.

    Args:
        name: Name in the file.
        expected: Names of the module.
        prefixes: Prefixes that the file's names may have and the module's names lack, or the reverse.

    Returns:
        A name in `expected`; None where the module has no such tensor.
    """
    for spelling in _spellings(name, prefixes):
        if spelling in expected:
            return spelling
    return None


def is_computed(name: str) -> bool:
    """Whether a file's tensor is one that today's modules compute themselves."""
    return bool(_COMPUTED.search(name))


def is_adapter_name(name: str) -> bool:
    """Whether a tensor's name is that of an adapter (LoRA and its relatives, IP-Adapter)."""
    return bool(_ADAPTER_NAME.search(name))


def some(names: Iterable[str]) -> str:
    """The first names of a list and the number of others, for errors."""
    listed = list(names)
    rest = len(listed) - _SHOWN_NAMES
    return ", ".join(listed[:_SHOWN_NAMES]) + (f" and {rest} more" if rest > 0 else "")


def _spellings(name: str, prefixes: Collection[str]) -> Iterable[str]:
    renamed = name
    for old, new in _RENAMED:
        renamed = old.sub(new, renamed)
    for spelling in (name, renamed):
        yield spelling
        for prefix in prefixes:
            yield spelling.removeprefix(prefix) if spelling.startswith(prefix) else prefix + spelling
