"""From cosine to expected influence, shares and the remainder: numpy only.

Public modules: `concentration`, `intervals`, `remainder`, `shares`.
"""

from creditline.calibration.curve import Calibration as Calibration
