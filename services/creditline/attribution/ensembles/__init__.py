"""Sums of several methods or of several models, and their map to expected change of loss."""
