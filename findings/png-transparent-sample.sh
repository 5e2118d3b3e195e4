#!/usr/bin/env bash
# Pillow 13.0.0: the transparent sample of a PNG (tRNS) is compared at the wrong scale unless samples have 1 or 8 bits or
# the picture is 16-bit grey, so that what is transparent in every other reader becomes opaque.
#
# Setting: valid PNG files of two or more pixels in grey with 2 and 4 bits a sample, and in RGB with 16 bits, with a tRNS
#   chunk that names one colour of the picture as transparent, at the picture's own bit depth, as the PNG specification
#   (section 11.3.2.1) asks. Such files come from optimisers, which store an icon's white ground as one transparent sample.
# Expected: convert("RGBA") gives alpha 0 where the stored sample equals tRNS, as pypng 0.20220715.0 does, and as Pillow
#   does for 8-bit grey.
# Seen: info["transparency"] is right, has_transparency_data is True, yet every pixel has alpha 255. Pillow widens samples
#   of 2 and 4 bits to 8 (15 becomes 255) but leaves the tRNS value as it is (15); of 16-bit RGB it keeps the high bytes
#   (18 of 4660) and compares them with something else, which is right for 0 and 65535 only. In grey, a black ground
#   (sample 0) is right, a white one is not.
#
# Output seen:
#   grey, 8 bits, transparent 255   pypng [255, 0] Pillow [255, 0]
#   grey, 4 bits, transparent 0     pypng [0, 255] Pillow [0, 255]
#   grey, 4 bits, transparent 15    pypng [255, 0] Pillow [255, 255]
#   grey, 2 bits, transparent 3     pypng [255, 0] Pillow [255, 255]
#   RGB, 16 bits, transparent 4660  pypng [255, 0] Pillow [255, 255]
set -euo pipefail
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
python3 -m venv "$scratch/environment"
"$scratch/environment/bin/python" -m pip install --quiet pillow==13.0.0 pypng==0.20220715.0
cat > "$scratch/transparent_sample.py" <<'PYTHON'
import io
import sys

import png
from PIL import Image

# What is stored: (name, one row of samples, options of the writer, whether Pillow finds the transparent pixel).
PICTURES = (
    ("grey, 8 bits, transparent 255", [0, 255], {"greyscale": True, "bitdepth": 8, "transparent": 255}, True),
    ("grey, 4 bits, transparent 0", [0, 15], {"greyscale": True, "bitdepth": 4, "transparent": 0}, True),
    ("grey, 4 bits, transparent 15", [0, 15], {"greyscale": True, "bitdepth": 4, "transparent": 15}, False),
    ("grey, 2 bits, transparent 3", [0, 3], {"greyscale": True, "bitdepth": 2, "transparent": 3}, False),
    (
        "RGB, 16 bits, transparent 4660",
        [0, 0, 0, 4660, 4660, 4660],
        {"greyscale": False, "bitdepth": 16, "transparent": (4660, 4660, 4660)},
        False,
    ),
)


def by_pypng(content):
    _, _, rows, about = png.Reader(bytes=content).asRGBA()
    most = 2 ** about["bitdepth"] - 1
    return [sample * 255 // most for sample in next(iter(rows))[3::4]]


def by_pillow(content):
    with Image.open(io.BytesIO(content)) as picture:
        return list(picture.convert("RGBA").getchannel("A").tobytes())


as_before = True
for name, row, options, is_found in PICTURES:
    written = io.BytesIO()
    png.Writer(width=2, height=1, **options).write(written, [row])
    right, seen = by_pypng(written.getvalue()), by_pillow(written.getvalue())
    as_before &= sorted(right) == [0, 255] and seen == (right if is_found else [255, 255])
    print(f"{name:31} pypng {right} Pillow {seen}")
sys.exit(0 if as_before else "the behaviour has changed")
PYTHON
"$scratch/environment/bin/python" "$scratch/transparent_sample.py"
