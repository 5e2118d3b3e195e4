"""Readers of the corpus formats, one module per format."""
