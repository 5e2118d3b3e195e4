"""Use cases of the gateway, independent of the transport."""
