"""Safetensors files of every writer hold the given numbers, whatever the arrays' memory layout."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from numpy.typing import NDArray
from torch import Tensor

from creditline.attribution.attributor import Cost
from creditline.attribution.fisher.ekfac import EkfacFisher, LayerFisher
from creditline.attribution.fisher.ekfac_store import read_fisher, write_fisher
from creditline.encoder.encoder import Encoder, EncoderShape
from creditline.encoder.ood import OodDetector
from creditline.evaluation.lab.draws import DrawRecord, read_draws, write_draws
from creditline.evaluation.lab.judging.groups import GroupScores, read_group_scores, write_group_scores
from creditline.evaluation.lab.judging.kernels import KernelTables, StoredKernel, read_kernel, write_kernel
from creditline.evaluation.lab.judging.scoring import MethodScores, read_scores, write_scores
from creditline.evaluation.lab.plan import LabPlan
from creditline.evaluation.lab.record import LabRecord, read_record, write_record
from creditline.evaluation.lab.removal.removals import Removal, RemovalRecord, read_removals, write_removals
from creditline.evaluation.lab.retraining.workshop import save_tensors
from creditline.tensor_files import read_arrays, read_artifact, write_arrays, write_tensors

_Array = NDArray[Any]
_Arrays = Mapping[str, _Array]
# A writer and reader: writes arrays that it makes by the given function, and gives them with those it read.
_RoundTrip = Callable[[Path, Callable[..., _Array]], tuple[_Arrays, _Arrays]]


def fortran(*shape: int) -> _Array:
    return np.asfortranarray(drawn(*shape))


def strided(*shape: int) -> _Array:
    """A strided array: every second number along the last axis."""
    return drawn(*shape[:-1], 2 * shape[-1])[..., ::2]


def backwards(*shape: int) -> _Array:
    return drawn(*shape)[::-1]


def broadcast(*shape: int) -> _Array:
    """A broadcast array: one row, repeated."""
    return np.broadcast_to(drawn(*shape[1:]), shape)


def drawn(*shape: int) -> _Array:
    return np.random.default_rng(sum(shape)).random(shape, dtype=np.float32)


def _plain(path: Path, make: Callable[..., _Array]) -> tuple[_Arrays, _Arrays]:
    written = {"a": make(3, 4), "b": make(2, 3, 5), "c": make(7)}
    write_arrays(path, written, {"of": "words"})
    read, metadata = read_arrays(path)
    assert metadata == {"of": "words"}
    return written, read


def _artifact(path: Path, make: Callable[..., _Array]) -> tuple[_Arrays, _Arrays]:
    written = {"a": make(3, 4), "b": make(2, 3, 5)}
    write_arrays(path, written, {"of": "words"})
    read, metadata = read_artifact(path, what="file", command="make", remedy="make it again", field="file")
    assert metadata == {"of": "words"}
    return written, read


def _scores(path: Path, make: Callable[..., _Array]) -> tuple[_Arrays, _Arrays]:
    record = _lab_record(drawn)
    written = MethodScores("method", (1, 0), make(2, 9), Cost(1.0, 2.0, 3.0, 4.0), record.fingerprints)
    read = read_scores(write_scores(written, path.parent), record)
    return {"values": written.values}, {"values": read.values}


def _groups(path: Path, make: Callable[..., _Array]) -> tuple[_Arrays, _Arrays]:
    record, values = _lab_record(drawn), {"guda": make(4, 2), "trak": make(4, 2)}
    written = GroupScores(("Ann", "Bob"), values, (3, 2, 1, 0), record.fingerprints)
    write_group_scores(written, path)
    return written.values, read_group_scores(path, record, "make lab").values


def _draws(path: Path, make: Callable[..., _Array]) -> tuple[_Arrays, _Arrays]:
    record = DrawRecord(
        rows=np.arange(8)[::2],
        changes=make(4, 5, 3),
        first_order=make(4, 5, 3),
        controls=make(4, 5),
        step_passes=make(4),
    )
    write_draws(record, path)
    read = vars(read_draws(path))
    for name in ("changes", "first_order"):  # kept in float16
        np.testing.assert_allclose(read[name], vars(record)[name], atol=1e-3)
    exact = ("rows", "controls", "step_passes")
    return {name: vars(record)[name] for name in exact}, {name: read[name] for name in exact}


def _lab_record(make: Callable[..., _Array]) -> LabRecord:
    arrays = {
        "subsets": make(4, 6) < 0.5,
        "losses": make(4, 2, 3, 5),
        "pictures": (255 * make(2, 3, 3, 3)).astype(np.uint8),
        "latents": make(3, 1, 2, 2),
    }
    return LabRecord(LabPlan(), "generator", "corpus", ("a",), (), **arrays)


def _record(path: Path, make: Callable[..., _Array]) -> tuple[_Arrays, _Arrays]:
    written = _lab_record(make)
    write_record(written, path)
    read = read_record(path)
    assert read.fingerprints == written.fingerprints
    names = ("subsets", "losses", "pictures", "latents")
    return {name: getattr(written, name) for name in names}, {name: getattr(read, name) for name in names}


def _kernel(path: Path, make: Callable[..., _Array]) -> tuple[_Arrays, _Arrays]:
    root, record = make(4, 9).astype(np.float64), _lab_record(drawn)
    gram = (root @ root.T).astype(np.float32).astype(np.float64)
    tables = KernelTables(gram, make(2, 4).astype(np.float64), make(4).astype(np.float64))
    write_kernel(StoredKernel((1, 0), {"own": tables}), path, record)
    read = read_kernel(path, record).models["own"]
    return vars(tables), vars(read)


def _removals(path: Path, make: Callable[..., _Array]) -> tuple[_Arrays, _Arrays]:
    removal = Removal("trak-query", "trak", "query", (0, 1), ("query",))
    picture = (255 * make(4, 4, 3)).astype(np.uint8)
    record = RemovalRecord((removal,), make(1, 3, 5), ({"query": picture},))
    write_removals(record, path)
    read = read_removals(path)
    return (
        {"losses": record.losses, "picture": picture},
        {"losses": read.losses, "picture": read.pictures[0]["query"]},
    )


def _ood_detector(path: Path, make: Callable[..., _Array]) -> tuple[_Arrays, _Arrays]:
    written = OodDetector(make(6), make(3, 6), limit=2.5)
    written.save(path)
    read = OodDetector.load(path)
    assert read.limit == written.limit
    return (
        {"mean": written.mean, "directions": written.directions},
        {"mean": read.mean, "directions": read.directions},
    )


_ROUND_TRIPS = (_plain, _artifact, _scores, _kernel, _groups, _draws, _record, _removals, _ood_detector)


@pytest.mark.parametrize("make", [drawn, fortran, strided, backwards, broadcast])
@pytest.mark.parametrize("round_trip", _ROUND_TRIPS)
def test_arrays_come_back_as_they_were_however_they_lie_in_memory(
    tmp_path: Path, round_trip: _RoundTrip, make: Callable[..., _Array]
) -> None:
    written, read = round_trip(tmp_path / "file.safetensors", make)
    assert written.keys() == read.keys()
    for name, array in written.items():
        np.testing.assert_array_equal(read[name], array, err_msg=name)
        assert read[name].dtype == array.dtype


@pytest.mark.parametrize(
    "array", [np.array(3.0), np.zeros((0, 4)), np.arange(6, dtype=">f4"), np.arange(6, dtype=np.int8)[::-2]]
)
def test_scalars_empty_arrays_and_other_byte_orders_come_back_too(tmp_path: Path, array: _Array) -> None:
    write_arrays(tmp_path / "file", {"a": array})
    read = read_arrays(tmp_path / "file")[0]["a"]
    np.testing.assert_array_equal(read, array)
    assert read.shape == array.shape


def test_a_failed_write_leaves_the_file_that_was_there(tmp_path: Path) -> None:
    write_arrays(tmp_path / "file", {"a": drawn(3)})
    with pytest.raises(safetensors.SafetensorError, match="object"):
        write_arrays(tmp_path / "file", {"a": np.array([None])})
    np.testing.assert_array_equal(read_arrays(tmp_path / "file")[0]["a"], drawn(3))
    assert len(list(tmp_path.iterdir())) == 1


def _transposed() -> Tensor:
    return torch.from_numpy(drawn(4, 3)).T


def _strided() -> Tensor:
    return torch.from_numpy(drawn(3, 8))[:, ::2]


def _expanded() -> Tensor:
    return torch.from_numpy(drawn(4)).expand(3, 4)


@pytest.mark.parametrize("make", [_transposed, _strided, _expanded])
def test_tensors_come_back_as_they_were_where_safetensors_itself_refuses_them(
    tmp_path: Path, make: Callable[[], Tensor]
) -> None:
    with pytest.raises(ValueError, match="non contiguous"):
        safetensors.torch.save_file({"a": make()}, tmp_path / "refused")
    write_tensors(tmp_path / "file", {"a": make()})
    save_tensors({"a": make()}, tmp_path / "lab" / "file")
    for path in (tmp_path / "file", tmp_path / "lab" / "file"):
        assert torch.equal(safetensors.torch.load_file(path)["a"], make())


def test_a_fisher_of_transposed_bases_comes_back_as_it_was(tmp_path: Path) -> None:
    written = EkfacFisher({"layer": LayerFisher(_transposed(), _strided(), _expanded())}, {"layer": False})
    write_fisher(written, tmp_path / "fisher.safetensors", {"generator": "g"})
    read = read_fisher(tmp_path / "fisher.safetensors", {"generator": "g"})
    for part in ("outputs", "inputs", "eigenvalues"):
        assert torch.equal(getattr(read.layers["layer"], part), getattr(written.layers["layer"], part))


def test_an_encoder_with_transposed_weights_comes_back_as_it_was(tmp_path: Path) -> None:
    torch.manual_seed(0)
    shape = EncoderShape(8, width=8, hidden=8, layers=1)
    encoder = Encoder(shape).rounded()
    for parameter in encoder.parameters():
        if parameter.dim() == 2:
            parameter.data = parameter.data.T.contiguous().T
    encoder.save(tmp_path / "encoder.safetensors")
    read = Encoder.load(tmp_path / "encoder.safetensors").state_dict()
    assert all(torch.equal(read[name], value) for name, value in encoder.state_dict().items())


def test_arrays_in_npy_and_npz_files_come_back_as_they_were(tmp_path: Path) -> None:
    """numpy's own formats record the memory layout."""
    for make in (fortran, strided, backwards, broadcast):
        array = make(3, 4)
        np.save(tmp_path / "a.npy", array)
        np.savez(tmp_path / "a.npz", a=array)
        np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), array)
        np.testing.assert_array_equal(np.load(tmp_path / "a.npz")["a"], array)


def test_importing_the_module_imports_no_torch() -> None:
    check = "import creditline.tensor_files, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0


def test_the_same_content_gives_the_same_bytes(tmp_path: Path) -> None:
    metadata = {name: f"of {name}, “quoted” \n\t\\" for name in "abcdefgh"}
    arrays = {"numbers": np.arange(5, dtype=np.float32)}
    written = set()
    for number in range(6):
        path = tmp_path / f"{number}.safetensors"
        write_arrays(path, arrays, metadata)
        written.add(path.read_bytes())
        found, stored = read_arrays(path)
        assert stored == metadata
        np.testing.assert_array_equal(found["numbers"], arrays["numbers"])
    assert len(written) == 1
