"""The tokenizer of a pipeline directory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from creditline.errors import InvalidInput

# One of these holds the vocabulary; without any, transformers opens a tokenizer that knows no word.
_VOCABULARIES = ("tokenizer.json", "vocab.json", "vocab.txt", "spiece.model", "sentencepiece.bpe.model")
_MERGES = "merges.txt"


def open_tokenizer(folder: Path, kind: Any) -> Any:
    """Open the tokenizer.

    Args:
        folder: The folder `tokenizer`.
        kind: Class of the tokenizer.

    Raises:
        InvalidInput: The folder holds no vocabulary, or cannot be read.
    """
    held = [name for name in _VOCABULARIES if (folder / name).is_file()]
    if not held:
        raise InvalidInput(
            f"the pipeline in {folder.parent} has no readable tokenizer ({folder} holds none of"
            f" {', '.join(_VOCABULARIES)}); copy the folder again",
            field="generator",
        )
    if held == ["vocab.json"] and not (folder / _MERGES).is_file():
        raise InvalidInput(
            f"{folder} holds a vocab.json without {_MERGES}, so words would be read letter by letter; copy"
            " the folder again",
            field="generator",
        )
    try:
        return kind.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # what transformers raises depends on the damage
        raise InvalidInput(
            f"the tokenizer in {folder} cannot be read ({type(error).__name__}: {error}); copy the folder"
            " again",
            field="generator",
        ) from error
