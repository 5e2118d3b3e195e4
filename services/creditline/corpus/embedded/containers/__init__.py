"""Metadata blocks of encoded pictures, container by container."""
