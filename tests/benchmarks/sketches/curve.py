"""LDS against bytes per work: every compression of the same exact rows, under the kernels that use them.

λ of D-TRAK's kernel and of DAS is chosen for every point, the exact rows included, on the choosing subsets;
the LDS is that of the judging subsets. The maps are drawn from several seeds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from creditline.attribution.ensembles.consensus import consensus
from creditline.attribution.gradients.parameters import chosen_layers
from creditline.attribution.gradients.sketches.formats import RowFormat
from creditline.attribution.methods.gradient_methods import divided, row_norms
from creditline.attribution.methods.gradient_rows import products
from creditline.attribution.methods.hyperparameters import CONSENSUSES
from creditline.attribution.methods.trak import DualKernel
from creditline.evaluation.lab.judging.scoring import CHOOSING
from creditline.evaluation.lab.judging.tuning import best, evaluate_regularisations
from creditline.evaluation.lab.record import LabRecord, read_record
from creditline.evaluation.lab.setting import REFERENCE, LabSetting, open_setting
from creditline.evaluation.lds import RetrainedModels, lds, lds_by_query, lds_difference
from creditline.generator.reference import reference_corpus
from tests.benchmarks.result_files import Figure
from tests.benchmarks.sketches.compressions import (
    CONTROL,
    EXACT,
    Compressed,
    Compression,
    compressions,
    sparse,
)
from tests.benchmarks.sketches.exact_rows import LOSS, OUTPUT, ExactRows, exact_rows, residuals, whitened

SEED = 0
SEEDS = (SEED, 1)
KEPT = 0.98
_REGULARISATIONS = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
# Dimensions and formats of the pairs of rows, of output and of whitened loss, that the consensus may use.
_OUTPUT_PAIRS: tuple[tuple[int, RowFormat], ...] = ((8192, "int8"), (8192, "int4"), (4096, "int4"))
_LOSS_SIZES = (196_608, 131_072, 65_536, 32_768)
_LOSS_FORMATS: tuple[RowFormat, ...] = ("int4", "sign")
_MEMBERS = ("d-trak-attn", "das-attn", "influence-noise-attn")
_CONSENSUS = CONSENSUSES["consensus-gradients-attn"]
CONSENSUS = "consensus"
_SHOWN = ("compression", "dimensions", "format", "kernel", "bytes_per_work", "lds", "kept")
KERNELS = ("d-trak", "das", "influence", CONSENSUS)
# Of the bootstrap over queries and subsets, for each of some two hundred rows.
_RESAMPLES = 100


# Scores (queries, N) and the λ of their kernel, None where it has none.
_Tuned = tuple[NDArray[np.float64], float | None]
# Kind, size and format of a point.
_Name = tuple[str, str, str]


@dataclass(frozen=True)
class Point:
    """One compression under one kernel, at one seed of its map."""

    kind: str
    """Name of the map."""
    size: str
    """Its dimensions."""
    format: str
    """Number format of the stored rows."""
    kernel: str
    """Name of the kernel, or of the consensus of all three."""
    bytes_per_work: float
    """Bytes stored for a work."""
    values: NDArray[np.float64]
    """(queries, N) scores of the generated queries."""
    regularisation: float | None
    """λ, chosen on the choosing subsets; None: the kernel has none, or the members have their own."""
    choosing: float
    """Mean LDS on the choosing subsets."""


@dataclass
class Curve:
    """Scores of the generated queries under every kernel, from compressed rows."""

    record: LabRecord
    """The lab's record."""
    output: ExactRows
    """Rows of the squared output: D-TRAK and DAS."""
    loss: ExactRows
    """Rows of the loss, whitened: influence."""
    residuals: NDArray[np.float64]
    """(N,) root mean squared error of each work."""

    @cached_property
    def queries(self) -> list[int]:
        """Rows of the generated queries in the record."""
        return [int(row) for row in self.record.query_rows("generated")]

    def points(self, compression: Compression, seed: int) -> Iterator[Point]:
        """The compression in each of its formats, under every kernel."""
        output, loss = compression.of(self.output, seed), compression.of(self.loss, seed)
        for form in compression.formats:
            yield from self._points(compression, form, output[form], loss[form])

    def _points(
        self, compression: Compression, form: RowFormat, output: Compressed, loss: Compressed
    ) -> Iterator[Point]:
        members = [*self._output_members(output), self._influence(loss)]
        stored = (output.bytes_per_work, output.bytes_per_work, loss.bytes_per_work)
        name = (compression.kind, compression.size, form)
        for kernel, held, tuned in zip(KERNELS[:-1], stored, members, strict=True):
            yield self._point(name, kernel, held, tuned)
        yield self._joint(name, output, loss, members)

    def pairs(self, width: int, seed: int) -> Iterator[Point]:
        """The consensus from rows of different sizes: output rows bear fewer numbers than whitened ones."""
        losses = {size: sparse(width, size).of(self.loss, seed) for size in _LOSS_SIZES}
        for output_size, output_form in _OUTPUT_PAIRS:
            output = sparse(width, output_size).of(self.output, seed)[output_form]
            members = list(self._output_members(output))
            for size, by_format in losses.items():
                for form in _LOSS_FORMATS:
                    loss = by_format[form]
                    name = ("SJLT pair", f"{output_size} and {size}", f"{output_form} and {form}")
                    yield self._joint(name, output, loss, [*members, self._influence(loss)])

    def _joint(self, name: _Name, output: Compressed, loss: Compressed, members: Sequence[_Tuned]) -> Point:
        """The consensus of the three kernels, with its fixed weights."""
        by_name = {member: values for member, (values, _) in zip(_MEMBERS, members, strict=True)}
        joint = consensus([by_name[member] for member in _CONSENSUS], list(_CONSENSUS.values()))
        return self._point(name, CONSENSUS, output.bytes_per_work + loss.bytes_per_work, (joint, None))

    def _point(self, name: _Name, kernel: str, held: float, tuned: _Tuned) -> Point:
        values, regularisation = tuned
        return Point(*name, kernel, held, values, regularisation, self._choosing(values))

    def _output_members(self, output: Compressed) -> Iterator[_Tuned]:
        kernel = DualKernel(products(output.works, output.works))
        between = products(output.queries, output.works)
        yield self._tuned(self._trak(kernel, between))
        yield self._tuned(self._das(kernel, between))

    def _influence(self, loss: Compressed) -> _Tuned:
        return divided(products(loss.queries, loss.works), row_norms(loss.works)), None

    def _trak(self, kernel: DualKernel, between: NDArray[np.float64]) -> dict[float, NDArray[np.float64]]:
        return {value: kernel.scores(between, value) for value in _REGULARISATIONS}

    def _das(self, kernel: DualKernel, between: NDArray[np.float64]) -> dict[float, NDArray[np.float64]]:
        scores = {}
        for value in _REGULARISATIONS:
            unexplained = np.maximum(1.0 - kernel.leverages(value), np.finfo(np.float64).eps)
            scores[value] = np.abs(kernel.scores(between, value)) * self.residuals / unexplained
        return scores

    def _tuned(self, by_value: Mapping[float, NDArray[np.float64]]) -> _Tuned:
        """Scores at the λ that is best on the choosing subsets, and that λ."""
        found = best(evaluate_regularisations(self.record, self.queries, by_value)).regularisation
        return by_value[found], found

    def _choosing(self, values: NDArray[np.float64]) -> float:
        return float(lds_by_query(values, _models(self.record, slice(CHOOSING))).mean())


def _models(record: LabRecord, subsets: slice) -> RetrainedModels:
    """The models of some subsets, with the losses of the generated queries."""
    whole = record.retrained("generated")
    return RetrainedModels(whole.subsets[subsets], whole.losses[subsets])


def open_curve(setting: LabSetting, record: LabRecord, directory: Path) -> Curve:
    """The curve's exact rows, computed or opened from a directory."""
    rows = record.query_rows("generated")
    plain = exact_rows(setting, LOSS, directory)
    parts = [exact_rows(setting, OUTPUT, directory), whitened(setting, plain, directory)]
    generated = [ExactRows(part.works, part.queries[rows]) for part in parts]
    return Curve(
        record,
        generated[0],
        generated[1],
        residuals(setting, directory),
    )


def measure(directory: Path) -> tuple[dict[str, Figure], list[Mapping[str, Any]]]:
    """Figures and rows of the curve."""
    record = read_record(REFERENCE / "record.safetensors")
    with open_setting(record, reference_corpus()) as setting:
        curve = open_curve(setting, record, directory)
        every = list(compressions(chosen_layers(setting.generator.unet, OUTPUT.parameters)))
    judging = _models(record, slice(CHOOSING, None))
    by_kernel: dict[str, list[Sequence[Point]]] = {kernel: [] for kernel in KERNELS}
    rows: list[Mapping[str, Any]] = []
    for points in _all_points(curve, every):
        by_kernel[points[0].kernel].append(points)
        rows.append(_row(points, by_kernel[points[0].kernel][0][0], judging))
        print({key: rows[-1][key] for key in _SHOWN}, flush=True)
    figures = _figures(rows)
    chosen = smallest(rows, CONSENSUS)
    number = [row for row in rows if row["kernel"] == CONSENSUS].index(chosen)
    exact, ours = by_kernel[CONSENSUS][0][0].values, by_kernel[CONSENSUS][number][0].values
    figures["lds_kept"] = _kept_figure(chosen, exact, ours, judging)
    return figures, rows


def _all_points(curve: Curve, every: Sequence[Compression]) -> Iterator[Sequence[Point]]:
    """Every point, at all seeds of its map; that of exact rows first."""
    for compression in every:
        seeds = SEEDS if compression.kind != EXACT else SEEDS[:1]
        yield from zip(*(curve.points(compression, seed) for seed in seeds), strict=True)
    width = curve.output.works.shape[1]
    yield from zip(*(curve.pairs(width, seed) for seed in SEEDS), strict=True)


def _kept_figure(
    chosen: Mapping[str, Any], exact: NDArray[np.float64], ours: NDArray[np.float64], judging: RetrainedModels
) -> Figure:
    """LDS of the chosen sketches over that of exact rows, on the same resamples of queries and subsets."""
    limit = float(lds_by_query(exact, judging).mean())
    lost = lds_difference(ours, exact, judging, seed=SEED)
    return Figure(
        1 + lost.value / limit,
        low=1 + lost.low / limit,
        high=1 + lost.high / limit,
        what=f"its LDS over that of exact rows, judging subsets (over {chosen['seeds']} seeds of the map:"
        f" {chosen['kept_least']:.3f} to {chosen['kept_most']:.3f})",
    )


def _row(points: Sequence[Point], exact: Point, judging: RetrainedModels) -> dict[str, Any]:
    """One row of the table: a compression under a kernel, over the seeds of its map."""
    point = points[0]
    lds_of = [float(lds_by_query(one.values, judging).mean()) for one in points]
    limit = float(lds_by_query(exact.values, judging).mean())
    estimate = lds(point.values, judging, seed=SEED, resamples=_RESAMPLES)
    kept = [value / limit for value in lds_of]
    return {
        "compression": point.kind,
        "dimensions": point.size,
        "format": point.format,
        "kernel": point.kernel,
        "bytes_per_work": point.bytes_per_work,
        "lds": float(np.mean(lds_of)),
        "lds_low": estimate.low,
        "lds_high": estimate.high,
        "kept": float(np.mean(kept)),
        "kept_least": min(kept),
        "kept_most": max(kept),
        "kept_choosing": float(np.mean([one.choosing for one in points])) / exact.choosing,
        "regularisation": point.regularisation,
        "seeds": len(points),
    }


def smallest(rows: Sequence[Mapping[str, Any]], kernel: str) -> Mapping[str, Any]:
    """The row of fewest bytes that keeps enough LDS on the choosing subsets; these alone choose."""
    kept = [
        row
        for row in rows
        if row["kernel"] == kernel and row["kept_choosing"] >= KEPT and row["compression"] != CONTROL
    ]
    return min(kept, key=lambda row: row["bytes_per_work"])


def _figures(rows: Sequence[Mapping[str, Any]]) -> dict[str, Figure]:
    chosen = smallest(rows, CONSENSUS)
    exact = next(row for row in rows if row["kernel"] == CONSENSUS and row["compression"] == EXACT)
    name = " ".join(str(chosen[key]) for key in ("compression", "dimensions", "format"))
    kept = chosen["kept"]
    figures = {
        "bytes_per_work": Figure(
            chosen["bytes_per_work"] if kept >= KEPT else float("nan"),
            "bytes",
            target="<= 32768",
            what=f"fewest that keep 98 % of the LDS on the choosing subsets and on the judging ones: {name},"
            f" two rows (exact: {exact['bytes_per_work']:,.0f}; a count)",
        ),
    }
    for kernel in KERNELS[:-1]:
        one = smallest(rows, kernel)
        name = " ".join(str(one[key]) for key in ("compression", "dimensions", "format"))
        figures[f"{kernel.replace('-', '_')}_bytes"] = Figure(
            one["bytes_per_work"],
            "bytes",
            what=f"the same for {kernel} alone: {name}; keeps {one['kept']:.3f} on the judging subsets",
        )
    return figures
