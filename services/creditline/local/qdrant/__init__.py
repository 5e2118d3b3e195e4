"""One process that owns Qdrant Edge and serves the part of Qdrant's gRPC API that Creditline uses.

Run it as `python -m creditline.local.qdrant --directory DIR --grpc-port PORT`.
"""
