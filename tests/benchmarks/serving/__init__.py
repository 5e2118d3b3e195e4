"""The serving path: how fast gateway and embedder answer. One module for each group of figures.

Each fills its own figures of `serving.json`.
"""
