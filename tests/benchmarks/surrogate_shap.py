"""Part of `make lab`: SurrogateSHAP's values of contributors for the lab's pictures, with every aid.

Writes `surrogate-shap.safetensors` beside the lab's record, which `tests.benchmarks.groups` judges. The game
(its utility, how a coalition pools it) is chosen by agreement with the recorded models without a contributor,
on one half of the queries for the other half; the trees by their error on fresh coalitions of a few choosing
queries. Our shares have seen no such model.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from creditline.attribution.groups.conditions import Conditions
from creditline.attribution.groups.proxy_game import Pooling, ProxyGame, draw_coalitions, players_of
from creditline.attribution.groups.surrogate import Surrogate, TreeSettings
from creditline.corpus.works import Corpus
from creditline.evaluation.lab.judging.conditions import IMAGE, UTILITIES, ConditionTables, read_tables
from creditline.evaluation.lab.judging.groups import SEED, GroupScores, spearman_by_row, write_group_scores
from creditline.evaluation.lab.plan import draw_works
from creditline.evaluation.lab.record import read_record
from creditline.evaluation.lab.removal.counterfactuals import Counterfactuals
from creditline.evaluation.lab.removal.removals import read_removals
from creditline.evaluation.lab.setting import REFERENCE
from creditline.files import replace_file
from creditline.generator.reference import reference_corpus
from tests.benchmarks.result_files import REPOSITORY

COMMAND = "python -m tests.benchmarks.surrogate_shap"
TABLE = REFERENCE / "surrogate-shap.safetensors"
KEPT = REPOSITORY / "runs" / "surrogate-shap"
CHOSEN, EXACT, PUBLISHED = "surrogate-shap", "surrogate-shap-exact", "surrogate-shap-published"
# The last column: what all contributors together are worth, to which the others should sum.
WHOLE = "(all contributors)"
COALITIONS, _FRESH, _PERMUTATIONS, _TRIED_QUERIES = 1000, 500, 200, 4
# Number of coalitions in the published code.
_PAPERS_COALITIONS = 300
TREES = (
    TreeSettings(trees=300, depth=3),
    TreeSettings(trees=900, depth=3),
    TreeSettings(trees=300, depth=5),
    TreeSettings(trees=300, depth=3, rate=0.1),
)


@dataclass(frozen=True)
class Game:
    """A candidate: the utility of a condition and its pooling."""

    utility: str
    pooling: Pooling

    def __str__(self) -> str:
        counted = ", summed over works" if self.pooling.counted else ""
        return f"{self.utility}, sharpness {self.pooling.sharpness:g}{counted}"


GAMES = tuple(
    Game(utility, Pooling(sharpness, counted))
    for utility in UTILITIES
    for sharpness in (0.0, 1.0, 2.0, 4.0, 8.0)
    for counted in (False, True)
)
# The paper draws the contributors' conditions alike and looks at the pictures; its trees are the defaults.
PAPERS = Game(IMAGE, Pooling(0.0))


@dataclass(frozen=True)
class Players:
    """The games' players and the effects by which games are chosen."""

    utilities: Mapping[str, NDArray[np.float64]]
    """(Q, K) float64 by kind, of each caption and, last, of the empty prompt."""
    of_work: NDArray[np.intp]
    """(N,) place of each work's caption."""
    names: tuple[str, ...]
    """(G,) contributors."""
    rows: tuple[tuple[int, ...], ...]
    """Rows of each contributor's works."""
    measured: NDArray[np.float64]
    """(Q, measured contributors) float64: those come first among the players."""

    def play(self, game: Game, query: int) -> ProxyGame:
        utilities = self.utilities[game.utility][query]
        return ProxyGame(utilities[self.of_work], float(utilities[-1]), self.rows, game.pooling)

    def exact(self, game: Game, queries: Sequence[int]) -> NDArray[np.float64]:
        """Shapley values by permutations: (queries, G)."""
        return np.stack([self.play(game, query).permutation_values(_PERMUTATIONS, SEED) for query in queries])


def halves(queries: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The two halves of the queries: what is chosen on one is judged on the other."""
    order = np.random.default_rng(SEED).permutation(queries)
    return np.sort(order[: queries // 2]), np.sort(order[queries // 2 :])


def chosen_game(players: Players, choosing: NDArray[np.intp]) -> Game:
    """The game whose values agree best, query by query, with leaving contributors out."""
    judged = players.measured.shape[1]
    agreement = {
        game: float(
            spearman_by_row(
                players.exact(game, list(choosing))[:, :judged], players.measured[choosing]
            ).mean()
        )
        for game in GAMES
    }
    return max(GAMES, key=agreement.__getitem__)


def fitted(game: ProxyGame, trees: TreeSettings, coalitions: NDArray[np.bool_]) -> Surrogate:
    return Surrogate.fit(coalitions, game.values(coalitions), trees, SEED)


def chosen_trees(players: Players, game: Game, choosing: NDArray[np.intp]) -> TreeSettings:
    """The trees with the least error on coalitions that they have not seen, over some choosing queries."""
    seen, fresh = (draw_coalitions(len(players.names), count, SEED + count) for count in (COALITIONS, _FRESH))
    played = [players.play(game, int(query)) for query in choosing[:_TRIED_QUERIES]]

    def error(trees: TreeSettings) -> float:
        missed = [one.values(fresh) - fitted(one, trees, seen).values(fresh) for one in played]
        return float(
            np.mean(
                [
                    np.square(each).mean() / one.values(fresh).var()
                    for each, one in zip(missed, played, strict=True)
                ]
            )
        )

    return min(TREES, key=error)


def with_whole(players: Players, game: Game, query: int, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The values and, last, the game's value of all players."""
    everyone = np.ones((1, len(players.names)), dtype=bool)
    return np.append(values, players.play(game, query).values(everyone))


def values_by_trees(
    players: Players, game: Game, trees: TreeSettings, queries: Sequence[int], count: int = COALITIONS
) -> NDArray[np.float64]:
    """SurrogateSHAP's values and the value of the whole: (queries, G + 1)."""
    coalitions = draw_coalitions(len(players.names), count, SEED + count)
    return np.stack(
        [
            with_whole(players, game, query, kept_values(players.play(game, query), trees, coalitions))
            for query in queries
        ]
    )


def kept_values(game: ProxyGame, trees: TreeSettings, coalitions: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Values of one game by trees, kept by what they were computed from, so that a second run resumes."""
    worth = game.values(coalitions)
    digest = hashlib.sha256(worth.tobytes() + coalitions.tobytes() + str(trees).encode()).hexdigest()[:24]
    path = KEPT / f"{digest}.npy"
    if not path.exists():
        KEPT.mkdir(parents=True, exist_ok=True)
        with replace_file(path) as draft, draft.open("wb") as stream:
            np.save(stream, fitted(game, trees, coalitions).shapley_values())
    values: NDArray[np.float64] = np.load(path)
    return values


def crossed(players: Players) -> Mapping[str, NDArray[np.float64]]:
    """Values of each half's queries, by the game and the trees that were chosen on the other half."""
    queries, width = len(players.measured), len(players.names) + 1
    found = {name: np.zeros((queries, width)) for name in (CHOSEN, EXACT)}
    first, second = halves(queries)
    for choosing, judging in ((first, second), (second, first)):
        game = chosen_game(players, choosing)
        trees = chosen_trees(players, game, choosing)
        print(f"{game}; {trees}", flush=True)
        listed = [int(query) for query in judging]
        found[CHOSEN][judging] = values_by_trees(players, game, trees, listed)
        exact = players.exact(game, listed)
        found[EXACT][judging] = [
            with_whole(players, game, query, values) for query, values in zip(listed, exact, strict=True)
        ]
    return found


def open_players(
    works: Corpus, tables: ConditionTables, changes: Mapping[str, NDArray[np.float64]]
) -> Players:
    names, rows = players_of([work.contributor for work in works], list(changes))
    measured = np.stack(list(changes.values()), axis=1)[list(tables.rows)]
    conditions = Conditions.of(tuple(work.caption for work in works))
    if conditions.prompts != tables.prompts:
        raise ValueError("the tables are of other captions; make them again with `creditline lab conditions`")
    utilities = {kind: tables.utilities(kind) for kind in UTILITIES}
    return Players(utilities, conditions.of_work, names, rows, measured)


def write(values: Mapping[str, NDArray[np.float64]], players: Players, tables: ConditionTables) -> None:
    """Write the values; those of the paper's own game come last, and may be missing."""
    scores = GroupScores(
        (*players.names, WHOLE),
        {name: each.astype(np.float32) for name, each in values.items()},
        tables.rows,
        tables.made_from,
    )
    write_group_scores(scores, TABLE)


def main() -> None:
    record = read_record(REFERENCE / "record.safetensors")
    removals = read_removals(REFERENCE / "removals.safetensors")
    works, _ = draw_works(reference_corpus(), record.plan)
    tables = read_tables(REFERENCE / "conditions.safetensors", record)
    players = open_players(works, tables, Counterfactuals(record, removals).contributor_changes())
    values = dict(crossed(players))
    write(values, players, tables)
    values[PUBLISHED] = values_by_trees(
        players, PAPERS, TreeSettings(), range(len(tables.rows)), _PAPERS_COALITIONS
    )
    write(values, players, tables)
    print(f"{len(players.names)} contributors, {len(tables.rows)} queries: {TABLE}")


if __name__ == "__main__":
    main()
