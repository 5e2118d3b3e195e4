"""Builds of a release behind an alias: loading, ownership, verification, promotion and the way back."""
