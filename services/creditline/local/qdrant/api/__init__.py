"""Qdrant's gRPC API as the local server answers it."""
