"""Frozen image and text towers and the coarse layout: the input features of the encoder.

Public modules: `gallery_features`, `parts`, `precomputed`, `spec`, `towers`.
"""
