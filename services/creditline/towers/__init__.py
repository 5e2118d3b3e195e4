"""Frozen image and text towers and the coarse layout: the features that the encoder stands on.

Public modules: `gallery_features`, `parts`, `precomputed`, `spec`, `towers`.
"""
