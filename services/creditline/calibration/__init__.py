"""From cosine to expected influence, shares and the remainder: numpy only."""

from creditline.calibration.curve import Calibration as Calibration
