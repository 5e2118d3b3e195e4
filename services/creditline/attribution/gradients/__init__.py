"""Gradients of single examples: what they are taken of, of which weights, projected and stored."""
