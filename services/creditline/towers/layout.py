"""Layout: where a picture has which colour, coarsely.

Image towers are trained to look past colour and place; a generator's gradients are not, and influence follows
them. As a raw feature it agrees with the teacher better than the embedded image tower does.
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
    """How far each of 16 × 16 areas is from white, in red, green and blue: (B, 768) float32 in 0 … 1.

    A white picture has none: all zeros.
    """
    areas = [picture.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BOX) for picture in pictures]
    colours = torch.from_numpy(np.stack([np.asarray(area, dtype=np.float32) for area in areas]))
    return 1.0 - colours.flatten(1) / 255.0
