"""Builds of a release behind an alias: loading, ownership, verification, promotion and rollback."""
