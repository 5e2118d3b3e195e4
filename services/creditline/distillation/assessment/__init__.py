"""Held-out agreement of the encoder with its teacher, and the calibration fitted there."""
