"""What a collection's vectors were made by, recorded in its metadata and compared before it is used."""

from __future__ import annotations

from creditline.errors import FingerprintMismatch
from creditline.index.builds.ownership import mark_of
from creditline.index.works import WorkIndex

METADATA_KEY = "creditline_vectors"


def record_encoder(index: WorkIndex, collection: str, encoder: str) -> None:
    """Record what makes a collection's vectors.

    Args:
        index: Client of the index.
        collection: Name of the collection.
        encoder: Identity of the function that makes the vectors, such as `release NAME, towers FINGERPRINT`.

    Raises:
        NotReady: The collection is missing.
    """
    index.set_metadata(collection, {METADATA_KEY: encoder})


def recorded_encoder(index: WorkIndex, collection: str) -> str | None:
    """What made a collection's vectors.

    Returns:
        `release NAME, towers FINGERPRINT`, or another identity as it was recorded; `release NAME` for the
        build of a release's load; None for collections of earlier versions, which do not record it.

    Raises:
        NotReady: The collection is missing.
    """
    recorded = index.metadata(collection).get(METADATA_KEY)
    if recorded is not None:
        return recorded
    mark = mark_of(index, collection)
    return f"release {mark.release}" if mark is not None else None


def is_same_encoder(recorded: str | None, encoder: str) -> bool:
    """Whether vectors by `encoder` can be compared with those of a collection.

    Args:
        recorded: Result of `recorded_encoder`.
        encoder: Identity of the function that makes the other vectors.
    """
    return recorded is not None and (encoder == recorded or encoder.startswith(f"{recorded}, "))


def check_encoder(index: WorkIndex, collection: str, encoder: str) -> None:
    """Verify that vectors by `encoder` belong into a collection; one that records nothing takes any.

    Raises:
        FingerprintMismatch: Another encoder made the collection's vectors.
        NotReady: The collection is missing.
    """
    recorded = recorded_encoder(index, collection)
    if recorded is not None and not is_same_encoder(recorded, encoder):
        raise FingerprintMismatch(
            f"the vectors of collection {collection!r} were made by {recorded}, these by {encoder}; the two"
            " cannot be compared: use that encoder, or another collection",
            field="collection",
        )
