"""The embedder: a gRPC service that encodes pictures with their texts to vectors, in dynamic batches.

No other room imports its modules.
"""
