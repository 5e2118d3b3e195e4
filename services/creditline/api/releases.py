"""Conversion of releases and their audited accuracy to and from protobuf."""

from __future__ import annotations

from creditline.api.answers import AuditedAccuracy, ReleaseAnswer, ReleaseSummary
from creditline.api.presence import present_number
from creditline.api.timestamps import read_timestamp, timestamp_message
from creditline.v1 import release_pb2


def release_message(release: ReleaseSummary) -> release_pb2.Release:
    """Convert a summary to `creditline.v1.Release`."""
    return release_pb2.Release(**{**vars(release), "created": timestamp_message(release.created)})


def read_release(message: release_pb2.Release) -> ReleaseSummary:
    """Convert `creditline.v1.Release` to a summary."""
    return ReleaseSummary(
        name=message.name,
        created=read_timestamp(message.created),
        generator_fingerprint=message.generator_fingerprint,
        corpus_fingerprint=message.corpus_fingerprint,
        towers_fingerprint=message.towers_fingerprint,
        dimension=message.dimension,
        works=message.works,
        collection=message.collection,
    )


def accuracy_message(accuracy: AuditedAccuracy) -> release_pb2.AuditedAccuracy:
    """Convert an accuracy to `creditline.v1.AuditedAccuracy`; fields that are None stay absent."""
    return release_pb2.AuditedAccuracy(**vars(accuracy))


def read_accuracy(message: release_pb2.AuditedAccuracy) -> AuditedAccuracy:
    """Convert `creditline.v1.AuditedAccuracy` to an accuracy; absent fields become None."""
    return AuditedAccuracy(
        audits=message.audits,
        recall=present_number(message, "recall"),
        recall_low=present_number(message, "recall_low"),
        recall_high=present_number(message, "recall_high"),
        missed_influence=present_number(message, "missed_influence"),
    )


def release_response(answer: ReleaseAnswer) -> release_pb2.GetReleaseResponse:
    """Convert a release with its accuracy to `creditline.v1.GetReleaseResponse`."""
    return release_pb2.GetReleaseResponse(
        release=release_message(answer.release), accuracy=accuracy_message(answer.accuracy)
    )


def read_release_response(message: release_pb2.GetReleaseResponse) -> ReleaseAnswer:
    """Convert `creditline.v1.GetReleaseResponse` to a release with its accuracy."""
    return ReleaseAnswer(read_release(message.release), read_accuracy(message.accuracy))
