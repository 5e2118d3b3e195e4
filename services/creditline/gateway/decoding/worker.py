"""A decoder process: one picture after the other from its connection, each under the same limits.

The kernel keeps the limits: a timer of processor time ends the process in the middle of any C code, and no
memory beyond the limit can be allocated. The process can neither write files nor start processes.
"""

from __future__ import annotations

import os
import resource
import signal
import socket

from creditline.errors import InvalidInput
from creditline.gateway.decoding.frames import Frame, Kind, pixels_frame, receive, send
from creditline.gateway.decoding.limits import DecoderLimits
from creditline.pictures.decoding import ran_out_of_memory
from creditline.pictures.queries import query_pixels, recorded_file

_MIB = 1 << 20
_MOST_OPEN_FILES = 32
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_DATA_PAGES_FIELD = 5


def run(connection: socket.socket, limits: DecoderLimits) -> None:
    """Decode pictures until the connection ends, or a picture passes a limit of memory.

    Args:
        connection: Connection to the gateway.
        limits: The limits of each picture.
    """
    confine(limits)
    while (job := receive(connection)) is not None:
        # Its default action ends the process, and counts the time of C code too.
        signal.setitimer(signal.ITIMER_PROF, limits.cpu_seconds)
        is_usable = _answer(connection, job.content, limits)
        signal.setitimer(signal.ITIMER_PROF, 0.0)
        if not is_usable:
            return


def confine(limits: DecoderLimits) -> None:
    """Set this process's limits; they cannot be lifted again."""
    os.nice(limits.niceness)
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    data_bytes = _data_bytes() + limits.memory_mib * _MIB
    resource.setrlimit(resource.RLIMIT_DATA, (data_bytes, data_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (_MOST_OPEN_FILES, _MOST_OPEN_FILES))
    # The superuser is exempt from this one.
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))


def _data_bytes() -> int:
    """Memory that counts for RLIMIT_DATA now."""
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[_DATA_PAGES_FIELD]) * _PAGE_BYTES


def _answer(connection: socket.socket, image: bytes, limits: DecoderLimits) -> bool:
    """Send what the picture is; False when the process should not decode another one."""
    try:
        pixels = query_pixels(image, most_pixels=limits.pixels)
        # Sent first: the gateway goes on with the pixels while the file is made.
        send(connection, pixels_frame(pixels))
        send(connection, Frame(Kind.RECORD, recorded_file(pixels)))
    except (InvalidInput, MemoryError) as error:
        if ran_out_of_memory(error):
            send(connection, Frame(Kind.OUT_OF_MEMORY, b""))
            return False
        send(connection, Frame(Kind.FAULT, str(error).encode()))
    return True
