"""Limits of one decoder process."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class DecoderLimits:
    """What decoding one picture may take."""

    cpu_seconds: float
    """Processor time for one picture."""
    memory_mib: int
    """Memory for one picture, in MiB, beyond what an idle decoder has."""
    pixels: int
    """Number of pixels that are decoded."""
    niceness: int = 0
    """Added to the niceness of the gateway: more gives way to all other processes."""
