"""Judging of attribution methods by the lab's record: LDS, tuning, weights of an ensemble."""
