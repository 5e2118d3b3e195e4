"""Readers of the formats in which corpora are kept."""
