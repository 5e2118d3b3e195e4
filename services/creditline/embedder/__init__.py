"""The embedder: a gRPC service that turns pictures with their texts into the encoder's vectors, in batches.

No other room imports its modules.
"""
