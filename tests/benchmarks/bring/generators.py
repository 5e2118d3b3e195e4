"""Pipeline directories as people bring them: read with the right fingerprint, or refused in one sentence.

Run `python -m tests.benchmarks.bring.generators` (about a minute).
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from creditline.errors import InvalidInput
from creditline.generator.fingerprint import generator_fingerprint
from tests.benchmarks.result_files import Figure, write_result
from tests.pipeline_variations import BAD, GOOD, Fault, opened
from tests.pipelines import stable_diffusion_15

COMMAND = "make bench-bring"
SEED = 0
_MOST_CHARACTERS = 500


def judged(scratch: Path) -> Iterator[dict[str, Any]]:
    """One row per kind of directory: what was right for it, what happened, and whether that was right."""
    plain = stable_diffusion_15(scratch / "plain", seed=SEED)
    fingerprints = {kind: _fingerprint(plain, scratch, kind) for kind in GOOD}
    for kind, found in fingerprints.items():
        yield {
            "kind": kind,
            "expected": f"the fingerprint of {GOOD[kind].same_as}"
            if GOOD[kind].same_as
            else "one of its own",
            "found": found,
            "right": _is_related_rightly(kind, fingerprints),
        }
    for kind, fault in BAD.items():
        found, right = _refusal(plain, scratch, kind, fault)
        yield {"kind": kind, "expected": f"refused: {fault.file} {fault.key}", "found": found, "right": right}


def _fingerprint(plain: Path, scratch: Path, kind: str) -> str:
    """The fingerprint of a kind, as of its directory and as of the generator opened from it; or its error."""
    directory = shutil.copytree(plain, scratch / "varied")
    try:
        GOOD[kind].change(directory)
        with opened(directory, GOOD[kind]) as generator:
            generator.sample(["a red barn"], [SEED], steps=2)
            is_directory_alone = generator.fingerprint == generator_fingerprint(directory)
            expected = not GOOD[kind].adapters
            return (
                generator.fingerprint if is_directory_alone is expected else "not of directory and adapters"
            )
    except Exception as error:  # the figure counts what is read; a traceback is one that is not
        return f"{type(error).__name__}: {error}".replace(str(scratch), "")
    finally:
        shutil.rmtree(directory)


def _is_related_rightly(kind: str, fingerprints: Mapping[str, str]) -> bool:
    """Whether a kind has the fingerprint of the kind that it equals, and of no other kind of its own."""
    own = GOOD[kind].same_as or kind
    originals = [name for name, variation in GOOD.items() if variation.same_as is None]
    return len(fingerprints[kind]) == 64 and [
        name for name in originals if fingerprints[name] == fingerprints[kind]
    ] == [own]


def _refusal(plain: Path, scratch: Path, kind: str, fault: Fault) -> tuple[str, bool]:
    directory = shutil.copytree(plain, scratch / "varied")
    try:
        fault.change(directory)
        with opened(directory, fault) as generator:
            return f"read as {generator.fingerprint}", False
    except InvalidInput as refused:
        names_it = str(directory / fault.file) in refused.message and fault.key in refused.message
        one_sentence = "\n" not in refused.message and len(refused.message) < _MOST_CHARACTERS
        return refused.message.replace(str(scratch), ""), names_it and one_sentence
    except Exception as error:  # a traceback is never right
        return f"{type(error).__name__}: {error}", False
    finally:
        shutil.rmtree(directory)


def main() -> None:
    """Judge every kind, print it and write the figure."""
    with tempfile.TemporaryDirectory() as scratch:
        rows = [{"part": "generators", **row} for row in judged(Path(scratch))]
    for row in rows:
        print("right" if row["right"] else "WRONG", f"{row['kind']}: {row['found']}", sep="  ")
    share = sum(row["right"] for row in rows) / len(rows)
    what = f"{len(GOOD)} good and {len(BAD)} bad pipeline directories that are read or refused rightly"
    print(f"{share:.3f} of {what}")
    figure = Figure(share, "share", target="== 1", what=what)
    write_result("bring", COMMAND, SEED, {"generators_right": figure}, rows, merge=True)


if __name__ == "__main__":
    main()
