"""Evaluation on held-out queries: agreement with the teacher, calibration, intervals and OOD detector."""
