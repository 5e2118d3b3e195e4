"""Which release something fitted on an encoder belongs to: the SHA-256 of the encoder's file."""

from __future__ import annotations

from pathlib import Path

from creditline.errors import FingerprintMismatch


def refuse_other_encoder(path: Path, stated: str, encoder: str | None) -> None:
    """Check that an artifact was fitted for an encoder.

    Args:
        path: File of the artifact.
        stated: SHA-256 of the encoder's file that the artifact states; empty: made before it was stated.
        encoder: SHA-256 of the encoder's file that the artifact is used with; None: not checked.

    Raises:
        FingerprintMismatch: The artifact was fitted for another encoder.
    """
    if encoder is not None and stated and stated != encoder:
        raise FingerprintMismatch(
            f"{path} was fitted for encoder {stated[:16]}…, but the release has {encoder[:16]}…; copy the"
            " release again, or build it again",
            field=path.name,
        )
