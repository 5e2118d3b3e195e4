"""One API over all of it: gRPC and REST in one process, over the same use cases.

No other room imports its modules.
"""
