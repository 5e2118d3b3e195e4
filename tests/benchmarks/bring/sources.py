"""The share of source forms that reach an answer by the same commands, typed as a new user would.

A form with pictures is distilled, served and asked for a credit line. CLIP features hold no pictures, which a
teacher needs, so their works are ingested and searched: they are listed as similar, without shares.

Run `python -m tests.benchmarks.bring.sources` (about a quarter of an hour).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from creditline.towers.spec import TowerSpec
from creditline.towers.towers import Towers
from tests.benchmarks.bring.source_forms import (
    CONTRIBUTORS,
    SIDE,
    WITH_PICTURES,
    drawings,
    write_clip_features,
)
from tests.benchmarks.result_files import Figure, write_result
from tests.pipelines import stable_diffusion_15

COMMAND = "make bench-bring"
SEED = 0
CLIP_FEATURES = "CLIP features"
_WORKS, _QUERIES = 36, 16
_SECONDS = 900.0


class CommandFailed(Exception):
    """A command ended with an error; the message is its last line."""


class NewUser:
    """Somebody with a home directory of their own, who types commands.

    Args:
        home: Directory for everything that the commands write.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        home.mkdir(parents=True)
        state = {"HOME": str(home), "CREDITLINE_STATE_DIRECTORY": str(home / "state")}
        self._environment = {**os.environ, **state, "COLUMNS": "200", "NO_COLOR": "1"}
        self.commands = 0

    def types(self, *arguments: object) -> str:
        """Run one command of `creditline`; its output. Raises CommandFailed."""
        self.commands += 1
        command = [sys.executable, "-m", "creditline.cli.main", *map(str, arguments)]
        done = subprocess.run(
            command,
            cwd=self.home,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
        if done.returncode:
            last = (done.stderr or done.stdout).strip().splitlines()[-1:]
            raise CommandFailed(f"{arguments[0]} {arguments[1]}: {' '.join(last)}")
        return done.stdout

    def leaves(self) -> None:
        """Stop the services, whatever happened before."""
        try:
            self.types("local", "down")
        except CommandFailed as nothing_runs:
            print(nothing_runs)


def judged(scratch: Path) -> Iterator[dict[str, Any]]:
    """One row per form: whether it reached an answer, by how many commands, and why not."""
    works = drawings(_WORKS, seed=SEED)
    pipeline = stable_diffusion_15(scratch / "pipeline", seed=SEED, side=SIDE)
    query = scratch / "query.png"
    query.write_bytes(drawings(1, seed=SEED + 1)[0].picture)
    for name, write in WITH_PICTURES.items():
        source = write(scratch / name.replace(" ", "-"), works)
        user = NewUser(scratch / f"home of {name}")
        yield _row(name, user, lambda user=user, source=source: _credit_line(user, source, pipeline, query))
    user = NewUser(scratch / f"home of {CLIP_FEATURES}")
    features = image_features([work.picture for work in works])
    source = write_clip_features(scratch / "clip", works, features)
    np.save(scratch / "query.npy", image_features([query.read_bytes()]))
    yield _row(CLIP_FEATURES, user, lambda: _similar_works(user, source, scratch / "query.npy"))


def _row(name: str, user: NewUser, answer: Any) -> dict[str, Any]:
    began, found, why = time.perf_counter(), list[str](), ""
    try:
        found = answer()
    except (CommandFailed, subprocess.TimeoutExpired, ValueError, KeyError) as error:
        why = str(error)
    commands = user.commands
    user.leaves()
    seconds = round(time.perf_counter() - began, 1)
    is_answered = bool(found) and set(found) <= set(CONTRIBUTORS)
    return {"source": name, "answered": is_answered, "commands": commands, "seconds": seconds, "why_not": why}


def _credit_line(user: NewUser, source: Path, pipeline: Path, query: Path) -> list[str]:
    """Contributors of the works that an answer lists."""
    release = user.home / "releases" / "mine"
    given = ("--corpus", source, "--generator", pipeline, "--into", release, "--queries", _QUERIES)
    user.types("distill", "run", *given)
    user.types("local", "up", "--release", release, "--detach")
    answer = json.loads(user.types("attribute", query, "--prompt", "a red circle", "--json"))
    return [work["contributor"] for work in answer["works"]]


def _similar_works(user: NewUser, source: Path, features: Path) -> list[str]:
    """Contributors of the works that a search lists."""
    user.types("local", "up", "--without", "teacher", "--detach")
    user.types("index", "ingest", source, "--into", "mine")
    found = json.loads(user.types("index", "search", "mine", "--features", features, "--json"))
    return [work["contributor"] for work in found]


def image_features(pictures: Sequence[bytes]) -> np.ndarray:
    """Features of pictures by the embedded image tower: (N, dimension) float32."""
    import io

    opened = [Image.open(io.BytesIO(picture)).convert("RGB") for picture in pictures]
    towers = Towers.open(TowerSpec.parse("embedded"))
    return towers.image_features(opened).cpu().numpy()


def main() -> None:
    """Try every form, print it and write the figure."""
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        for row in judged(Path(scratch)):
            print(json.dumps(row), flush=True)
            rows.append({"part": "sources", **row})
    share = sum(row["answered"] for row in rows) / len(rows)
    what = f"of {len(rows)} forms of a corpus, those that reach an answer by the same commands"
    print(f"{share:.3f} {what}")
    figure = Figure(share, "share", target="== 1", what=what)
    write_result("bring", COMMAND, SEED, {"sources_answered": figure}, rows, merge=True)


if __name__ == "__main__":
    main()
