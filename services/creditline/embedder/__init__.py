"""The embedder.

A gRPC service that turns pictures with their texts into the encoder's vectors, in batches.
"""
