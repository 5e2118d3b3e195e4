"""Conversion of works of the corpus to and from protobuf."""

from __future__ import annotations

from creditline.api.answers import WorkAnswer
from creditline.api.presence import present_moment
from creditline.api.timestamps import timestamp_message
from creditline.v1 import catalog_pb2


def work_message(work: WorkAnswer, thumbnail: bytes) -> catalog_pb2.Work:
    """Convert a work to `creditline.v1.Work`.

    Args:
        work: The work.
        thumbnail: Its thumbnail as a WebP file; empty for a withdrawn work.
    """
    since = timestamp_message(work.withdrawn_since)
    return catalog_pb2.Work(**{**vars(work), "withdrawn_since": since, "thumbnail": thumbnail})


def read_work(message: catalog_pb2.Work) -> WorkAnswer:
    """Convert `creditline.v1.Work` to a work; the thumbnail is left out."""
    return WorkAnswer(
        id=message.id,
        title=message.title,
        caption=message.caption,
        keywords=tuple(message.keywords),
        contributor=message.contributor,
        licence=message.licence,
        source=message.source,
        duplicate_group=message.duplicate_group,
        withdrawn=message.withdrawn,
        withdrawn_since=present_moment(message, "withdrawn_since"),
        contributor_id=message.contributor_id,
    )
