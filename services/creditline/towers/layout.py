"""Layout: the colours of a picture on a coarse grid.

Image towers are trained to be invariant to colour and position; a generator's gradients are not, and
influence follows the gradients. As a raw feature, layout agrees with the teacher better than the embedded
image tower does.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

SIDE = 16
LAYOUT_WIDTH = SIDE * SIDE * 3


def layout_features(pictures: Sequence[Image.Image]) -> Tensor:
    """Distance from white of each cell of a 16 × 16 grid, in red, green and blue.

    Returns:
        (B, 768) float32 in 0 … 1; all zeros for a white picture.
    """
    coloured = (picture if picture.mode == "RGB" else picture.convert("RGB") for picture in pictures)
    areas = [picture.resize((SIDE, SIDE), Image.Resampling.BOX) for picture in coloured]
    colours = torch.from_numpy(np.stack([np.asarray(area, dtype=np.float32) for area in areas]))
    return 1.0 - colours.flatten(1) / 255.0
