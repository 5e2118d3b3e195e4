"""Ingest of a source into a collection, resumable from a checkpoint."""
