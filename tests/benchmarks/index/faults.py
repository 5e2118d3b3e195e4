"""Promotions under load, withdrawals under load, and an engine that is killed: writes `index-faults.json`.

Run `python -m tests.benchmarks.index.faults` (about 5 minutes on 2 cores).
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from creditline.ledger import Ledger
from tests.benchmarks.result_files import Figure, write_result
from tests.faults.killed_ingest import killed_ingest
from tests.faults.promotions import promotions
from tests.faults.withdrawn_seen import withdrawn_seen
from tests.local.qdrant_process import local_qdrant

COMMAND = "python -m tests.benchmarks.index.faults"
SEED = 0
_SWITCHES, _QUERIES_PER_SECOND = 200, 50.0
_SEARCHES = 10_000
_KILLS, _WORKS = 20, 200_000


def main() -> None:
    """Run all three, one after the other."""
    with tempfile.TemporaryDirectory() as place:
        directory = Path(place)
        with local_qdrant(directory / "qdrant") as running:
            switched = asyncio.run(
                promotions(running.port, switches=_SWITCHES, queries_per_second=_QUERIES_PER_SECOND)
            )
            with Ledger.open(f"sqlite:///{directory}/ledger.db") as ledger:
                hidden = asyncio.run(withdrawn_seen(running.port, ledger, searches=_SEARCHES, seed=SEED))
        killed = killed_ingest(directory, works=_WORKS, kills=_KILLS, seed=SEED)
    figures = {
        "promote_failures": Figure(
            len(switched.failures) + switched.mixed,
            target="== 0",
            what=(
                f"of {switched.queries:,} queries at 50 a second during 100 promotions and 100 rollbacks:"
                " failed, or of two builds"
            ),
        ),
        "withdrawn_seen": Figure(
            hidden.seen,
            target="== 0",
            what=(
                f"of {hidden.searches:,} searches after an acknowledgement ({hidden.withdrawals} wishes):"
                " showed what was withdrawn"
            ),
        ),
        "lost_after_kill": Figure(
            killed.lost + killed.doubled + killed.missing,
            target="== 0",
            what=f"works lost or doubled by {killed.kills} kill -9 during an ingest of {_WORKS:,}",
        ),
    }
    rows = [
        {"run": "promotions", "queries": switched.queries, **switched.answers},
        {"run": "kills", "acknowledged": killed.acknowledged},
        {"run": "withdrawals", "shown_before": hidden.shown_before},
    ]
    write_result("index-faults", COMMAND, SEED, figures, rows)
    for name, figure in figures.items():
        print(f"{name:20s} {figure.value:g} ({figure.what})")
    for failure in switched.failures[:5]:
        print(failure)


if __name__ == "__main__":
    main()
