"""Calibration of answers from one half of a query: from its picture alone, or from its prompt alone.

The other half is estimated (`creditline.encoder.imputation`), so the cosine means something else than with
both halves, and has curves of its own. Those of the picture serve answers from pictures alone; both of them
serve the division of a share between picture and prompt.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from creditline.calibration.curve import Calibration
from creditline.calibration.intervals import AnswerIntervals
from creditline.errors import InvalidInput


@dataclass(frozen=True)
class PictureRecall:
    """Recall of answers from pictures alone on held-out queries.

    Recall is the part of the ten most influential works, by the teacher, that are among the first ten.
    """

    recall: float
    """Mean over queries."""
    low: float
    """Lower end of its 95 % interval."""
    high: float
    """Upper end of its 95 % interval."""
    with_prompt: float
    """Mean recall of ordinary answers to the same queries."""


@dataclass(frozen=True)
class Halves:
    """Calibrations of both halves."""

    picture: Calibration
    """From the cosine of a picture alone to expected influence."""
    prompt: Calibration
    """From the cosine of a prompt alone to expected influence."""
    intervals: AnswerIntervals
    """Intervals of answers from pictures alone."""
    recall: PictureRecall
    """How good answers from pictures alone are."""
    encoder: str = ""
    """SHA-256 of the encoder's file that they were fitted for; empty: not stated."""

    def to_json(self) -> str:
        """The calibrations as JSON: `{"encoder", "picture", "prompt", "intervals", "recall"}`."""
        return json.dumps(
            {
                "encoder": self.encoder,
                "picture": json.loads(self.picture.to_json()),
                "prompt": json.loads(self.prompt.to_json()),
                "intervals": json.loads(self.intervals.to_json()),
                "recall": asdict(self.recall),
            }
        )

    @classmethod
    def from_json(cls, text: str | bytes) -> Halves:
        """Parse the output of `to_json`.

        Raises:
            InvalidInput: The text does not hold calibrations of both halves.
        """
        try:
            content = json.loads(text)
            picture, prompt = (
                Calibration.from_json(json.dumps(content[name])) for name in ("picture", "prompt")
            )
            return cls(
                picture,
                prompt,
                AnswerIntervals.from_json(json.dumps(content["intervals"])),
                PictureRecall(**{name: float(value) for name, value in content["recall"].items()}),
                str(content["encoder"]),
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InvalidInput(
                f"the text does not hold calibrations of pictures and prompts alone ({error}); fit them"
                " again",
                field="halves",
            ) from error


def divided(
    share: NDArray[np.float64], picture: NDArray[np.float64], prompt: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Divide shares between picture and prompt.

    These are the Shapley values of the game of two players whose worth is the share (Shapley, "A value for
    n-person games", 1953; Lundberg and Lee, arXiv 1705.07874): each half gets the mean of what it is worth
    alone and of what it adds to the other. Both parts sum to the share. A part is negative where that half
    speaks against the work, and may then exceed the share on the other side.

    Args:
        share: (W,) share by picture and prompt.
        picture: (W,) share that the picture alone would give.
        prompt: (W,) share that the prompt alone would give.

    Returns:
        (W,) parts from the picture, and (W,) parts from the prompt.
    """
    from_picture = (picture + share - prompt) / 2.0
    return from_picture, share - from_picture
