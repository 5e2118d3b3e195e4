"""Retraining of the lab's generator on subsets of its works."""
