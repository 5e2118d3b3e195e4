"""Tests of the embedder's two clients."""
