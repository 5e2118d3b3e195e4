"""One process that runs Qdrant Edge and serves the part of Qdrant's gRPC API that Creditline uses.

Start it with `python -m creditline.local.qdrant --directory DIR --grpc-port PORT`.
"""
