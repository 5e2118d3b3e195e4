"""Case for kronfluence: random examples of the tests' generator, one draw each."""

from __future__ import annotations

from pathlib import Path

from creditline.generator.losses import Draws

ORACLE = Path(__file__).with_name("kronfluence.safetensors")
WORKS, QUERIES = 24, 3
DRAW = Draws(timesteps=1, repeats=1, salt="oracle")
