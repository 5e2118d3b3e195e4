"""The gateway: the public API as gRPC and REST in one process, over the same use cases.

No other room imports its modules.
"""
