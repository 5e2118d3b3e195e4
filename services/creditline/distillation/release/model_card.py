"""The model card of a release: data, teacher, figures, limits and reproduction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_LIMITS = """\
- The encoder repeats its teacher: where unlearning is wrong about an influence, so is the release.
- Labels are those of the teacher named above. Audits run real unlearning on what was served and say how far
  the two are apart.
- Features cannot know what the generator was trained on: a picture that it never saw, put into the index, is
  credited by its likeness. The decoy figures show how much.
- Pictures for labels are the generator's own: its safety checker, if it has one, is not run.
- Calibrated influence is a mean over queries; one query may be more or less concentrated than that.
- It holds for this generator and this corpus only; both are named by fingerprint and others are refused."""


HISTORY = "## How it came about"
"""Heading of the paragraphs on how the encoder was made."""


def model_card(description: Mapping[str, Any], notes: str) -> str:
    """Compose the model card in Markdown.

    Args:
        description: Values of the keys of `release.json`, other than `collection` and `files`.
        notes: Paragraphs on how the encoder was made.
    """
    return f"""# Release {description["name"]}

Encoder of Creditline: (picture, text) → unit vector of dimension {description["width"]}. The cosine of a
generated picture with its prompt and a work with its caption, put through the calibration, is the influence
that the teacher is expected to find.

| | |
|---|---|
| created | {description["created"]} |
| works | {description["works"]} of {description["corpus_name"]} |
| corpus | `{description["corpus_fingerprint"]}` |
| generator | `{description["generator_fingerprint"]}` |
| towers | `{description["towers_fingerprint"]}` |

{HISTORY}
{notes or "Not stated."}

## Figures
{_figure_table(description["figures"])}

## Limits
{_LIMITS}

## How to make it again
`creditline distill run CONFIG --output DIR` with the same labels, seed and towers gives the same weights;
`creditline release verify DIR` recomputes every hash and encodes a sample of works again.
"""


def _figure_table(figures: Mapping[str, float]) -> str:
    if not figures:
        return "None were measured."
    rows = "\n".join(f"| {name} | {value:.4g} |" for name, value in figures.items())
    return f"| figure | value |\n|---|---|\n{rows}"
