"""Calibration: from cosines to expected influence, shares, the remainder and intervals; numpy only.

Public modules: `concentration`, `halves`, `holders`, `intervals`, `query_cosines`, `remainder`, `reranking`,
`shares`, `softmax`.
"""

from creditline.calibration.curve import Calibration as Calibration
