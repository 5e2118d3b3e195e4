"""`creditline index`: a source into a collection, promoted, rolled back, planned; errors are sentences."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

from creditline.calibration import Calibration
from creditline.cli.index import app
from creditline.cli.index_plan import number_of
from creditline.errors import Conflict, InvalidInput, NotFound, NotReady
from creditline.index import IndexPlan, WorkIndex
from creditline.index.builds.ownership import METADATA_KEY, BuildMark
from creditline.index.builds.promotion import live_build
from creditline.index.plan import Quantization
from creditline.ledger import Ledger, WithdrawalKind
from creditline.local.state import StackState, StateDirectory
from creditline.release import CALIBRATION, ENCODER, MODEL_CARD, write_manifest, write_work_vectors
from tests.index.works_made_up import unit_vectors
from tests.local.qdrant_process import local_qdrant

_WORKS = 120


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with local_qdrant(tmp_path_factory.mktemp("qdrant")) as running:
        yield running.port


@pytest.fixture(autouse=True)
def place(port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of its own with a ledger, and the index of this module."""
    monkeypatch.setenv("CREDITLINE_QDRANT_GRPC_PORT", str(port))
    monkeypatch.setenv("CREDITLINE_LEDGER_URL", f"sqlite:///{tmp_path}/ledger.db")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.chdir(tmp_path)
    Ledger.open(f"sqlite:///{tmp_path}/ledger.db").close()
    return tmp_path


@pytest.fixture
def source(place: Path) -> Path:
    """CLIP features of 120 works, two of them without a caption."""
    directory = place / "features"
    directory.mkdir()
    np.save(directory / "img_emb_0.npy", unit_vectors(_WORKS).astype(np.float16))
    captions = ["" if row in (3, 90) else f"picture {row}" for row in range(_WORKS)]
    columns = {"key": [f"w{row}" for row in range(_WORKS)], "caption": captions}
    pq.write_table(pa.table(columns), directory / "metadata_0.parquet")
    return directory


def _run(*arguments: str) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)


@pytest.fixture
def ingested(source: Path, port: int) -> Iterator[WorkIndex]:
    """Two builds of `works-cli`, the first of them live."""
    for build in ("works-cli.1", "works-cli.2"):
        _run("ingest", str(source), "--into", build)
    _run("promote", "works-cli.1")
    with WorkIndex.connect(grpc_port=port) as index:
        yield index
        for build in index.collections():
            index.delete(build)


def test_an_ingest_reports_its_result_and_lists_broken_rows(source: Path, place: Path, port: int) -> None:
    said = _run("ingest", str(source), "--into", "works-told.1").output
    assert "118 works written into works-told.1" in said
    assert "2 rows hold no work; works-told.1.ingest/features lists them" in said
    (listed,) = (place / "works-told.1.ingest" / "features").glob("*.broken.jsonl")
    assert [json.loads(line)["row"] for line in listed.read_text().splitlines()] == [3, 90]
    again = _run("ingest", str(source), "--into", "works-told.1").output
    assert "0 works written into works-told.1" in again
    assert "118 in total" in again
    _run("drop", "works-told.1")


def test_builds_are_promoted_and_rolled_back(ingested: WorkIndex) -> None:
    assert "works-cli is works-cli.2 now, and was works-cli.1" in _run("promote", "works-cli.2").output
    assert live_build(ingested, "works-cli") == "works-cli.2"
    assert "works-cli is works-cli.1 again" in _run("rollback", "works-cli").output
    with pytest.raises(NotFound, match="no earlier build to roll back to"):
        _run("rollback", "works-cli")
    assert "118" in _run("show").output
    # The table may break a cell's line between two aliases.
    shown = {each["collection"]: each for each in json.loads(_run("show", "--json").output)}
    assert shown["works-cli.1"]["aliases"] == ["works-cli", "works-cli.before"]


def test_what_was_withdrawn_after_the_ingest_is_withdrawn_when_a_build_is_promoted(
    ingested: WorkIndex, place: Path
) -> None:
    with Ledger.open(f"sqlite:///{place}/ledger.db") as ledger:
        ledger.withdraw(WithdrawalKind.WORK, "w5")
    _run("promote", "works-cli.2")
    assert ingested.withdrawn_works("works-cli.2") == {"w5"}


def test_a_live_build_is_not_dropped(ingested: WorkIndex) -> None:
    with pytest.raises(Conflict, match="is live as 'works-cli'"):
        _run("drop", "works-cli.1")
    with pytest.raises(NotFound, match="no collection 'works-cli'"):
        _run("drop", "works-cli")


def test_works_are_removed(ingested: WorkIndex) -> None:
    assert "works-cli.2: 117 works" in _run("remove", "works-cli.2", "w7").output


def test_a_live_build_takes_no_works_without_a_statement(ingested: WorkIndex, source: Path) -> None:
    for into in ("works-cli", "works-cli.1"):
        with pytest.raises(Conflict, match=r"live as .works-cli..*creditline index add"):
            _run("ingest", str(source), "--into", into)


@pytest.mark.parametrize("command", [("ingest", "features", "--into", "x.1"), ("promote", "works-cli.2")])
def test_where_no_ledger_is_found_none_is_made_and_the_command_is_refused(
    ingested: WorkIndex, monkeypatch: pytest.MonkeyPatch, place: Path, command: tuple[str, ...]
) -> None:
    monkeypatch.delenv("CREDITLINE_LEDGER_URL")
    monkeypatch.setenv("XDG_STATE_HOME", str(place / "home"))
    with pytest.raises(NotReady, match=r"no ledger at .*--ledger URL.*--no-ledger"):
        _run(*command)
    with pytest.raises(NotReady, match=r"no ledger at sqlite:///elsewhere\.db"):
        _run(*command, "--ledger", "sqlite:///elsewhere.db")
    assert not (place / "home").exists()
    assert not (place / "elsewhere.db").exists()
    assert _run(*command, "--no-ledger").exit_code == 0


def test_the_running_local_stack_is_found_with_its_index_and_its_ledger(
    source: Path, monkeypatch: pytest.MonkeyPatch, place: Path, port: int
) -> None:
    monkeypatch.delenv("CREDITLINE_QDRANT_GRPC_PORT")
    monkeypatch.delenv("CREDITLINE_LEDGER_URL")
    with Ledger.open(f"sqlite:///{place}/ledger.db") as ledger:
        ledger.withdraw(WithdrawalKind.WORK, "w5")
    directory = StateDirectory(place / ".creditline" / "local")
    owned = directory.own()
    qdrant, url = f"127.0.0.1:{port}", f"sqlite:///{place}/ledger.db"
    directory.write(StackState(os.getpid(), "key", "", "", "", qdrant, "", url, ()))
    assert "1 left out of answers" in _run("ingest", str(source), "--into", "works-found.1").output
    os.close(owned)
    with WorkIndex.connect(grpc_port=port) as index:
        assert index.withdrawn_works("works-found.1") == {"w5"}
        index.delete("works-found.1")


def test_collections_are_shown_whole_and_as_json_with_what_is_left_of_a_killed_load(
    ingested: WorkIndex,
) -> None:
    name = f"works-{'long' * 40}.1"
    ingested.create_new(name, 8, {METADATA_KEY: BuildMark("cli", "f" * 64, 10).to_json()})
    shown = _run("show").output
    assert name in shown
    assert f"delete it with `creditline index drop {name}`" in shown
    found = {each["collection"]: each for each in json.loads(_run("show", "--json").output)}
    assert (found[name]["release"], found[name]["state"]) == ("cli", "filling")
    live = found["works-cli.1"]
    assert (live["works"], live["aliases"], live["vectors_of"]) == (
        118,
        ["works-cli"],
        "features as they are",
    )


def test_a_collection_of_features_is_searched_by_given_features_only(
    ingested: WorkIndex, place: Path
) -> None:
    (place / "picture.png").write_bytes(b"a picture")
    with pytest.raises(InvalidInput, match=r"features that its source brought.*--features FILE\.npy"):
        _run("search", "works-cli", "picture.png")
    np.save(place / "query.npy", 2.0 * unit_vectors(_WORKS)[7])
    found = json.loads(_run("search", "works-cli", "--features", "query.npy", "-k", "3", "--json").output)
    assert (found[0]["work"], len(found)) == ("w7", 3)
    assert found[0]["similarity"] == pytest.approx(1.0, abs=1e-2)
    assert "share" not in found[0]
    np.save(place / "query.npy", np.zeros(5))
    with pytest.raises(InvalidInput, match="one row of 32 numbers"):
        _run("search", "works-cli", "--features", "query.npy")
    with pytest.raises(NotReady, match="there is no collection 'missing'"):
        _run("search", "missing", "picture.png")


def test_ids_of_other_works_are_refused_with_their_number(ingested: WorkIndex, place: Path) -> None:
    more = place / "more"
    more.mkdir()
    np.save(more / "img_emb_0.npy", unit_vectors(2, seed=9).astype(np.float16))
    pq.write_table(pa.table({"key": ["m0", "w1"], "caption": ["a", "b"]}), more / "metadata_0.parquet")
    with pytest.raises(Conflict, match="1 works were not written"):
        _run("ingest", str(more), "--into", "works-cli.2")
    again = _run("ingest", str(more), "--into", "works-cli.2", "--replace", "--checkpoint", "other")
    assert "0 new, 1 replaced, 1 kept as they were, 0 refused" in again.output
    assert ingested.count("works-cli.2") == 119


def test_a_plan_is_chosen_and_lays_out_what_is_ingested_by_it(source: Path, place: Path, port: int) -> None:
    (place / "plan.json").write_text(IndexPlan(quantization=Quantization.BINARY, segments=3).to_json())
    _run("ingest", str(source), "--into", "works-planned.1", "--plan", "plan.json")
    with WorkIndex.connect(grpc_port=port) as index:
        assert index.plan("works-planned.1").quantization is Quantization.BINARY
        index.delete("works-planned.1")


def test_the_planner_shows_its_formulas_and_writes_what_was_chosen(place: Path) -> None:
    said = _run(
        "plan", "--works", "400M", "--budget-ram", "128GB", "--write", "p.json", "--values", "planned"
    )
    assert "int8" in said.output
    assert "works x 256 x 2 B" in said.output
    assert "measured here" in said.output
    plan = IndexPlan.from_json((place / "p.json").read_text())
    assert plan == IndexPlan.from_json((place / "planned" / "plan.json").read_text())


def test_the_planner_speaks_json(place: Path) -> None:
    options = json.loads(_run("plan", "--works", "5B", "--json").output)
    assert sum(option["chosen"] for option in options) == 1
    assert {option["plan"]["quantization"] for option in options} == {"int8", "turbo4", "binary"}


@pytest.mark.parametrize(
    ("text", "number"), [("400M", 4e8), ("5B", 5e9), ("128GB", 1.28e11), ("1.5 TB", 1.5e12), ("12", 12)]
)
def test_numbers_are_read_as_people_write_them(text: str, number: float) -> None:
    assert number_of(text) == number


@pytest.mark.parametrize("text", ["", "many", "4X", "-3M"])
def test_a_text_that_is_not_a_number_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="is not a number"):
        number_of(text)


def test_an_unknown_loader_and_a_missing_plan_are_refused(source: Path) -> None:
    with pytest.raises(InvalidInput, match="no loader 3 of 2"):
        _run("ingest", str(source), "--into", "works-x.1", "--loader", "3/2")
    with pytest.raises(NotReady, match="no plan at missing"):
        _run("ingest", str(source), "--into", "works-x.1", "--plan", "missing.json")


def _release_of(directory: Path, vectors: np.ndarray, name: str = "cli") -> Path:
    """A release whose works are those of `source`."""
    directory.mkdir()
    write_work_vectors(directory, [f"w{row}" for row in range(_WORKS)], vectors)
    (directory / ENCODER).write_bytes(b"no encoder")
    (directory / CALIBRATION).write_text(Calibration((0.0, 1.0), (0.0, 1.0)).to_json())
    (directory / MODEL_CARD).write_text("# A release for tests\n")
    description = {
        "name": name,
        "created": "2026-05-04T12:00:00+00:00",
        "generator_fingerprint": "a" * 64,
        "corpus_name": "features",
        "corpus_fingerprint": "b" * 64,
        "towers_fingerprint": "c" * 64,
        "width": vectors.shape[1],
        "works": _WORKS,
        "figures": {},
    }
    return write_manifest(directory, description).directory


def test_a_build_of_the_release_is_promoted_with_it(ingested: WorkIndex, place: Path) -> None:
    release = _release_of(place / "release", unit_vectors(_WORKS))
    said = _run("promote", "works-cli.2", "--release", str(release)).output
    assert "works-cli is works-cli.2 now" in said
    assert "Not compared" not in said
    other = _release_of(place / "other", unit_vectors(_WORKS), name="other")
    assert "Not compared with a release" in _run("promote", "works-cli.1", "--release", str(other)).output


@pytest.mark.parametrize(("dimension", "seed", "why"), [(32, 5, "another encoder"), (16, 0, "32 dimensions")])
def test_a_build_that_cannot_serve_the_release_is_refused(
    ingested: WorkIndex, place: Path, dimension: int, seed: int, why: str
) -> None:
    release = _release_of(place / "release", unit_vectors(_WORKS, dimension, seed=seed))
    with pytest.raises(Conflict, match=why):
        _run("promote", "works-cli.2", "--release", str(release))
    assert live_build(ingested, "works-cli") == "works-cli.1"
