"""The contract of the REST API as documents: OpenAPI, and the reference that is made from it."""
