"""gRPC and REST transports of the gateway: both call the same use cases."""
