"""ICC profiles made from their definition: RGB and grey by primaries and gamma, CMYK by a small table."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

_D50 = (0.9642, 1.0, 0.8249)
# Columns: XYZ (adapted to D50) of the primaries, from the published definitions.
SRGB_TO_XYZ = np.array([[0.4361, 0.3851, 0.1431], [0.2225, 0.7169, 0.0606], [0.0139, 0.0971, 0.7141]])
P3_TO_XYZ = np.array([[0.5151, 0.2920, 0.1571], [0.2412, 0.6922, 0.0666], [-0.0011, 0.0419, 0.7841]])
ADOBE_TO_XYZ = np.array([[0.6097, 0.2053, 0.1492], [0.3111, 0.6257, 0.0632], [0.0195, 0.0609, 0.7446]])
GAMMA = 2.2


def rgb_profile(to_xyz: NDArray[np.float64]) -> bytes:
    """A profile with primaries `to_xyz` (3, 3) and gamma 2.2."""
    curve = _curve(GAMMA)
    columns = {name: _xyz(to_xyz[:, column]) for column, name in enumerate((b"rXYZ", b"gXYZ", b"bXYZ"))}
    return _profile(b"mntr", b"RGB ", b"XYZ ", {**columns, b"rTRC": curve, b"gTRC": curve, b"bTRC": curve})


def grey_profile(gamma: float) -> bytes:
    return _profile(b"mntr", b"GRAY", b"XYZ ", {b"kTRC": _curve(gamma)})


def cmyk_profile() -> bytes:
    """Inks that mix as in Pillow's own conversion, but whose black leaves a grey of 80."""
    corners = bytearray()
    for cyan, magenta, yellow, black in itertools.product((0, 1), repeat=4):
        rgb = np.array([1 - cyan, 1 - magenta, 1 - yellow], dtype=float) * (80 / 255 if black else 1.0)
        corners += bytes(_lab(rgb))
    identity = bytes(range(256))
    matrix = struct.pack(">9i", *(65536 * int(row == column) for row in range(3) for column in range(3)))
    table = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + matrix + identity * 4 + bytes(corners) + identity * 3
    return _profile(b"prtr", b"CMYK", b"Lab ", {b"A2B0": table})


def encoded_in(rgb: NDArray[np.uint8], to_xyz: NDArray[np.float64]) -> NDArray[np.uint8]:
    """sRGB colours (…, 3) in the space of `rgb_profile(to_xyz)`."""
    linear = _linear(rgb / 255.0) @ (np.linalg.inv(to_xyz) @ SRGB_TO_XYZ).T
    encoded: NDArray[np.uint8] = np.rint(255.0 * linear.clip(0, 1) ** (1 / GAMMA)).astype(np.uint8)
    return encoded


def _linear(encoded: NDArray[np.float64]) -> NDArray[np.float64]:
    linear: NDArray[np.float64] = np.where(
        encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4
    )
    return linear


def _lab(rgb: NDArray[np.float64]) -> Sequence[int]:
    """Lab of an sRGB colour (0 to 1) in eight bits."""
    ratio = SRGB_TO_XYZ @ _linear(rgb) / np.array(_D50)
    x, y, z = np.where(ratio > 0.008856, np.cbrt(ratio), 7.787 * ratio + 16 / 116)
    lab = ((116 * y - 16) * 2.55, 500 * (x - y) + 128, 200 * (y - z) + 128)
    return [round(min(max(value, 0), 255)) for value in lab]


def _curve(gamma: float) -> bytes:
    return b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256)) + bytes(2)


def _xyz(values: Sequence[float] | NDArray[np.float64]) -> bytes:
    return b"XYZ " + bytes(4) + struct.pack(">3i", *(round(value * 65536) for value in values))


def _text(kind: bytes, text: bytes) -> bytes:
    if kind == b"text":
        return b"text" + bytes(4) + text + b"\0"
    return b"desc" + bytes(4) + struct.pack(">I", len(text) + 1) + text + bytes(1 + 4 + 4 + 2 + 1 + 67)


def _profile(device: bytes, space: bytes, connection: bytes, tags: Mapping[bytes, bytes]) -> bytes:
    entries = {
        b"desc": _text(b"desc", b"made up"),
        b"cprt": _text(b"text", b"none"),
        b"wtpt": _xyz(_D50),
        **tags,
    }
    place, table, content = 132 + 12 * len(entries), b"", b""
    for name, entry in entries.items():
        padded = entry + bytes(-len(entry) % 4)
        table += name + struct.pack(">II", place + len(content), len(entry))
        content += padded
    body = struct.pack(">I", len(entries)) + table + content
    header = struct.pack(">I4sI4s4s4s", 128 + len(body), b"", 0x02400000, device, space, connection)
    header += bytes(12) + b"acsp" + bytes(28) + struct.pack(">3i", *(round(v * 65536) for v in _D50))
    return header + bytes(128 - len(header)) + body
