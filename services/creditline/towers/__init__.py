"""Frozen image and text towers and the coarse layout: the features that the encoder stands on."""
