"""Use cases of the gateway, one module each, independent of the transport."""
