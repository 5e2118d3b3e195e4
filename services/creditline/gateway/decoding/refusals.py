"""Sentences about pictures that are not decoded: each names the limit and what to do."""

from __future__ import annotations

from creditline.errors import InvalidInput, ResourceExhausted, Unavailable
from creditline.pictures.queries import QUERY_FIELD


def takes_long(cpu_seconds: float) -> InvalidInput:
    """The error for a picture that passed the limit of processor time."""
    return InvalidInput(
        f"image takes more than {cpu_seconds:g} s of processor time to decode, which is the limit; scale it"
        " down, or send it as PNG or baseline JPEG",
        field=QUERY_FIELD,
    )


def needs_memory(memory_mib: int) -> InvalidInput:
    """The error for a picture that passed the limit of memory."""
    return InvalidInput(
        f"image needs more than {memory_mib} MiB of memory to decode, which is the limit; scale it down, or"
        " use 8 bits per channel and no layers, pages or animation",
        field=QUERY_FIELD,
    )


def ends_decoders(number: int, attempts: int) -> InvalidInput:
    """The error for a picture whose decoders ended.

    Args:
        number: Signal that ended the last one; 0 if there was none, or it is not known.
        attempts: Number of decoders that ended.
    """
    return InvalidInput(
        f"image cannot be decoded ({attempts} decoders ended with it, the last by signal {number}); it may be"
        " damaged: save it anew",
        field=QUERY_FIELD,
    )


def stuck() -> Unavailable:
    """The error for a decoder that did not answer."""
    return Unavailable(
        "a decoder did not answer and was ended; retry, and see the load of the gateway's machine",
        service="decoder",
    )


def queue_full(queued: int) -> ResourceExhausted:
    """The error for a picture for which there is no room.

    Args:
        queued: Number of pictures that wait.
    """
    return ResourceExhausted(
        f"{queued} pictures wait to be decoded, and there is no room for this one; send fewer at once, or"
        " retry in a few seconds"
    )
