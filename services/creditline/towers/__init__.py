"""Frozen image and text towers and the coarse layout: the input features of the encoder.

Public modules: `compiled.opening`, `gallery_features`, `parts`, `precomputed`, `spec`, `towers`.
"""
