"""Spellings of names that no reader can tell apart: each is left out of answers after one request.

Run `python -m tests.benchmarks.bring.spellings` (about a minute). A corpus has one work for each spelling of
five names, and works of people whose names resemble them. A gateway with the real embedder, index and ledger
answers about it; one withdrawal is requested for each name.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from creditline.api.answers import AttributionAnswer
from creditline.client import CreditlineClient
from creditline.corpus.openclipart import embedded_corpus
from creditline.corpus.works import Corpus, Work, write_corpus
from creditline.index import WorkIndex, index_release
from creditline.local.settings import LocalSettings
from creditline.local.stack import LocalStack
from tests.benchmarks.result_files import Figure, write_result
from tests.corpus.spellings import ONE_NAME
from tests.gateway.conftest import GENERATOR, gateway_settings, running_gateway
from tests.gateway.served import untrained_release

COMMAND = "make bench-bring"
SEED = 0
_WANTED = ("Ann Smith", "José Ángel Núñez-O’Neill", "Анна Ахматова", "محمد علي", "Straße Großmann")
NAMES: tuple[tuple[str, ...], ...] = tuple(
    next(spellings for spellings in ONE_NAME if spellings[0] == name) for name in _WANTED
)
OTHERS = ("Ann Smyth", "Anne Smith", "Jose Ángel Núñez-O’Neill", "Инна Ахматова", "محمد علا", "Ann 5mith")
_SECONDS = 120.0


@dataclass(frozen=True)
class Place:
    """A gateway that answers about a corpus."""

    client: CreditlineClient
    corpus: Corpus

    def ask(self) -> AttributionAnswer:
        """The credit line of the first work's picture, with every work of the corpus listed."""
        work = self.corpus.works[0]
        return self.client.attribute(
            work.thumbnail,
            prompt=work.caption,
            generator=GENERATOR,
            k=len(self.corpus),
            timeout_seconds=_SECONDS,
        )


def spelled_corpus(names: Sequence[Sequence[str]] = NAMES) -> Corpus:
    """One work for each spelling, and one for each name that only resembles them; no two are copies."""
    people = [spelling for spellings in names for spelling in spellings] + list(OTHERS)
    every = embedded_corpus().works
    works = every[:: len(every) // len(people)][: len(people)]
    return Corpus(
        "spelled",
        tuple(
            replace(work, contributor=name, duplicate_group=work.id, rights_holders=())
            for work, name in zip(works, people, strict=True)
        ),
    )


@contextlib.contextmanager
def running(corpus: Corpus, scratch: Path) -> Iterator[Place]:
    """Serve a corpus by real services on this machine."""
    release = untrained_release(scratch / "release", corpus, GENERATOR)
    write_corpus(corpus, scratch / "corpus.parquet")
    with LocalStack(
        state_directory=scratch / "stack",
        release_directory=release.directory,
        services=("redis", "qdrant", "embedder"),
        settings=LocalSettings(corpus_file=scratch / "corpus.parquet"),
    ) as stack:
        with WorkIndex.connect(grpc_port=stack.qdrant_port) as index:
            index_release(release, corpus, index)
        settings = gateway_settings(
            scratch,
            release,
            corpus_file=scratch / "corpus.parquet",
            embedder_target=stack.embedder_target,
            qdrant_grpc_port=stack.qdrant_port,
            broker_url=stack.broker_url,
            request_timeout_seconds=_SECONDS,
        )
        with running_gateway(settings) as gateway, gateway.client() as client:
            yield Place(client, corpus)


def judged(place: Place, names: Sequence[Sequence[str]] = NAMES) -> Iterator[dict[str, Any]]:
    """One row per spelling: whether one request for its name left it out, and the shares were one before."""
    for spellings in names:
        before = place.ask()
        works = [work for work in place.corpus if work.contributor in spellings]
        whole = _is_credited_as_one(before, works)
        place.client.withdraw_contributor(spellings[0])
        after = place.ask()
        listed = {work_id for work in after.works for work_id in (work.id, *work.copies)}
        others = {work.id for work in place.corpus if work.contributor in OTHERS}
        for work in works:
            yield {
                "part": "spellings",
                "name": spellings[0],
                "spelling": ascii(work.contributor),
                "one_share": whole,
                "others_listed": others <= listed,
                "left_out": work.id not in listed,
            }


def _is_credited_as_one(answer: AttributionAnswer, works: Sequence[Work]) -> bool:
    """Whether the works have one contributor, under the first spelling, with the sum of their shares."""
    ids = {work.id for work in works}
    named = {work.contributor for work in answer.works if work.id in ids}
    people = [person for person in answer.contributors if person.name in named]
    shares = sum(work.share for work in answer.works if work.id in ids)
    return (
        named == {works[0].contributor}
        and [person.works for person in people] == [len(works)]
        and people[0].share == pytest.approx(shares, abs=1e-6)
    )


def withdrawn_share(rows: Sequence[dict[str, Any]]) -> float:
    """Share of spellings that were left out, were credited as one name, and left all other names listed."""
    right = [row["one_share"] and row["others_listed"] and row["left_out"] for row in rows]
    return sum(right) / len(right)


def main() -> None:
    """Measure, print, and write the result."""
    with tempfile.TemporaryDirectory() as scratch, running(spelled_corpus(), Path(scratch)) as place:
        rows = list(judged(place))
    for row in rows:
        print(f"{row['name']:30} {row['spelling']:60} {'left out' if row['left_out'] else 'LISTED'}")
    what = (
        f"share of {len(rows)} indistinguishable spellings of {len(NAMES)} names that one request leaves out;"
        " exact: every spelling is counted, nothing is sampled"
    )
    figure = Figure(withdrawn_share(rows), target="== 1", what=what)
    print(f"spellings_withdrawn: {figure.value:g} of {len(rows)}")
    write_result("bring", COMMAND, SEED, {"spellings_withdrawn": figure}, rows, merge=True)


if __name__ == "__main__":
    main()
