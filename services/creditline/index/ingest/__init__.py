"""Ingest of a source into a collection, resumed from a checkpoint."""
