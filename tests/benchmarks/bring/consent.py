"""Names, licences and consent in pictures, and what it costs to read them.

Run `python -m tests.benchmarks.bring.consent` (about two minutes).
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from creditline.corpus.consent.uses import Use
from creditline.corpus.sources import open_source, survey
from creditline.corpus.sources.found import Found
from tests.benchmarks.result_files import Figure, write_result
from tests.corpus.embedded.cases import cases
from tests.corpus.embedded.written_pictures import exif, iptc, picture, sequence, xmp

COMMAND = "make bench-bring"
SEED = 0
PICTURES, ROUNDS = 240, 9
_SIDE_PIXELS = 512
# Of every six pictures, the containers in which collections of photographs mostly come.
_CONTAINERS = ("JPEG", "JPEG", "JPEG", "JPEG", "PNG", "WEBP")
_PADDING = b" " * 2048
_XMP_END = b'<?xpacket end="w"?>'


def judged(scratch: Path) -> Iterator[dict[str, Any]]:
    """One row per case: what has to be read from its file, what was read, and whether that is right."""
    listed = {f"{number:03}": case for number, case in enumerate(cases())}
    for name, case in listed.items():
        encoded = case.make()
        (scratch / f"{name}{_suffix(encoded)}").write_bytes(encoded)
        record = {"caption": "a red barn", **case.columns}
        (scratch / f"{name}.json").write_text(json.dumps(record))
    source = open_source(scratch)
    found = {Path(one.work.id).stem: one for one in _rows(source) if one.work}
    for name, case in listed.items():
        read = _read(found[name]) if name in found else "no work"
        expected = {"names": case.names, "licence": case.licence, "uses": case.uses}
        yield {"case": case.name, "expected": expected, "found": read, "right": read == expected}


def _suffix(encoded: bytes) -> str:
    signatures = {
        b"\xff\xd8": ".jpg",
        b"\x89PNG": ".png",
        b"RIFF": ".webp",
        b"GIF8": ".gif",
        b"II*\0": ".tif",
    }
    return next((suffix for start, suffix in signatures.items() if encoded.startswith(start)), ".avif")


def _rows(source: Any) -> Iterator[Found]:
    for part in source.parts():
        yield from source.rows(part)


def _read(found: Found) -> dict[str, Any]:
    work = found.work
    assert work is not None
    return {
        "names": tuple(holder.name for holder in work.holders),
        "licence": work.licence,
        "uses": tuple(work.consent.by_use[use.value] for use in Use),
    }


def write_pictures(directory: Path, count: int = PICTURES) -> None:
    """Photograph-like pictures of 512 pixels that carry XMP, EXIF, and IPTC where the container can."""
    dice = np.random.default_rng(SEED)
    for number in range(count):
        container = _CONTAINERS[number % len(_CONTAINERS)]
        packet = xmp(
            sequence("dc:creator", f"Ann {number}")
            + '<dc:rights><rdf:Alt><rdf:li xml:lang="x-default">(c) Ann</rdf:li></rdf:Alt></dc:rights>',
            plus_DataMining="http://ns.useplus.org/ldf/vocab/DMI-PROHIBITED-AIMLTRAINING",
            xmpRights_WebStatement=f"https://example.org/licences/{number}",
        ).replace(_XMP_END, _PADDING + _XMP_END)
        encoded = picture(
            container,
            packet=packet,
            exif_data=exif(
                Artist=f"Ann {number}", Copyright="(c) Ann", DateTimeOriginal="2024:05:06 07:08:09"
            ),
            iptc_data=iptc((1, 90, b"\x1b%G"), (2, 80, f"Ann {number}".encode()), (2, 116, b"(c) Ann")),
            image=_photograph(dice),
        )
        (directory / f"{number:04}{_suffix(encoded)}").write_bytes(encoded)
        (directory / f"{number:04}.txt").write_text(f"a photograph of barn {number}")


def _photograph(dice: np.random.Generator) -> Image.Image:
    """Soft shapes with grain: its files have about the size of photographs' files."""
    coarse = dice.integers(0, 256, (12, 12, 3), dtype=np.uint8)
    soft = Image.fromarray(coarse).resize((_SIDE_PIXELS, _SIDE_PIXELS), Image.Resampling.BICUBIC)
    grain = dice.normal(0.0, 6.0, (_SIDE_PIXELS, _SIDE_PIXELS, 1))
    return Image.fromarray(np.clip(np.asarray(soft) + grain, 0, 255).astype(np.uint8))


def seconds_with_and_without(directory: Path, rounds: int = ROUNDS) -> list[tuple[float, float]]:
    """Seconds of a survey with and without reading embedded data, for each round; both in either order."""
    seconds = []
    for number in range(rounds + 1):
        order = (True, False) if number % 2 else (False, True)
        taken = {embedded: _seconds(directory, embedded=embedded) for embedded in order}
        seconds.append((taken[True], taken[False]))
    return seconds[1:]  # The first round warms the caches.


def _seconds(directory: Path, *, embedded: bool) -> float:
    started = time.perf_counter()
    found = survey(open_source(directory, embedded=embedded))
    taken = time.perf_counter() - started
    assert found.contributors == (found.works if embedded else 1)
    return taken


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        rows = list(judged(Path(name)))
    with tempfile.TemporaryDirectory() as name:
        write_pictures(Path(name))
        rounds = seconds_with_and_without(Path(name))
    for row in rows:
        if not row["right"]:
            print(f"wrong: {row['case']}: {row['found']} instead of {row['expected']}")
    ratios = [with_data / without for with_data, without in rounds]
    cost = statistics.median(one for one, _ in rounds) / statistics.median(one for _, one in rounds)
    print(f"{sum(row['right'] for row in rows)} of {len(rows)} files right; cost {cost:.3f}")
    figures = {
        "consent_right": Figure(
            sum(row["right"] for row in rows) / len(rows),
            target="== 1",
            what=f"of {len(rows)} files (container × statement × conflict), names, licence and consent right",
        ),
        "metadata_cost": Figure(
            cost,
            low=min(ratios),
            high=max(ratios),
            target="<= 1.15",
            what=f"corpus inspect with over without reading embedded data, {PICTURES} pictures of 512 pixels",
        ),
    }
    timings = [{"with": one, "without": other} for one, other in rounds]
    write_result(
        "bring", COMMAND, SEED, figures, [{"part": "consent", **row} for row in (*rows, *timings)], merge=True
    )


if __name__ == "__main__":
    main()
