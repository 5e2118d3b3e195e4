"""Combinations of several methods or several models, and the map from scores to expected change of loss."""
