"""Finds tensors on another device than their model's, on a machine without a GPU.

Two checks, to which later code is added by one line each:

- `with one_device():` runs code whose models were opened on `META` (torch's `meta` device has shapes and no
  numbers). Every operation whose tensors are on several devices fails, and so does a conversion to numpy
  without a copy to the host. Forward, backward and optimiser steps run; a copy to the host gives made-up
  numbers, so that the code goes on behind it.
- `with fake_cuda() as place:` runs forward passes of modules that `place` has put on a pretended `cuda:0`
  (torch's FakeTensorMode). Backward passes ask for a real CUDA context there; use `one_device` for them.

`needs_gpu` marks tests of the real thing.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

META = "meta"
Module = TypeVar("Module", bound=nn.Module)
_aten = torch.ops.aten
# Operations that take values from one device to another.
_COPIES = {_aten._to_copy.default, _aten.copy_.default}
_GROWTH, _ALIKE = 1.101, 3

needs_gpu = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="torch sees no GPU here: the real device cannot be tried"
)


class MixedDevices(AssertionError):
    """An operation's tensors are on several devices."""


class OneDevice(TorchDispatchMode):
    """Refuses mixed devices, and makes up the numbers that are asked of tensors on `meta`.

    Floats that are asked for rise by a tenth at every third, so that a search for such a rise ends soon;
    integers are 1, truth values False; a tensor that is copied to the host is all ones. host_copies counts
    them all.
    """

    def __init__(self) -> None:
        super().__init__()
        self.host_copies = 0
        self._floats = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        # In inference mode composite operations come whole: what they are made of is looked at.
        with self:
            made_of = func.decompose(*args, **kwargs)
        if made_of is not NotImplemented:
            return made_of
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        if func not in _COPIES:
            _refuse_mixed(func, tensors)
        if any(tensor.is_meta for tensor in tensors):
            made_up = self._made_up(func, args, kwargs)
            if made_up is not None:
                self.host_copies += 1
                return made_up
        return func(*args, **kwargs)

    def _made_up(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """What a copy to the host gives; None for any other operation."""
        if func is _aten._local_scalar_dense.default:
            return self._number(args[0].dtype)
        if func is _aten.nonzero.default:
            return torch.empty((0, args[0].ndim), dtype=torch.long, device=META)
        if func is _aten._to_copy.default and _is_host(kwargs.get("device")) and args[0].is_meta:
            return torch.ones(args[0].shape, dtype=kwargs.get("dtype") or args[0].dtype)
        if func is _aten.copy_.default and not args[0].is_meta:
            return args[0].fill_(1)
        return None

    def _number(self, dtype: torch.dtype) -> float | int | bool:
        if dtype is torch.bool:
            return False
        if not dtype.is_floating_point:
            return 1
        self._floats += 1
        return _GROWTH ** (self._floats // _ALIKE)


def _is_host(device: torch.device | str | None) -> bool:
    return device is not None and torch.device(device).type == "cpu"


def _refuse_mixed(func: Any, tensors: list[Tensor]) -> None:
    """As on a GPU, a number in a tensor without dimensions may be on the host."""
    devices = {tensor.device for tensor in tensors if tensor.ndim > 0}
    devices |= {tensor.device for tensor in tensors if tensor.device.type != "cpu"}
    if len(devices) > 1:
        places = [f"{tuple(tensor.shape)} on {tensor.device}" for tensor in tensors]
        raise MixedDevices(f"{func} was given {', '.join(places)}")


@contextmanager
def one_device() -> Iterator[OneDevice]:
    """While open, operations on mixed devices raise MixedDevices; models may be opened on `META`."""
    with warnings.catch_warnings(), OneDevice() as mode:
        warnings.filterwarnings("ignore", "for .* copying from a non-meta parameter")
        yield mode


@contextmanager
def fake_cuda() -> Iterator[Callable[[Module], Module]]:
    """While open, tensors have shapes and no numbers; yields what puts a module on a pretended `cuda:0`."""
    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
        yield _on_fake_cuda


def _on_fake_cuda(module: Module) -> Module:
    """The same module: its parameters and buffers are replaced."""
    for part in module.modules():
        for name, value in part._parameters.items():
            if value is not None:
                part._parameters[name] = nn.Parameter(_fake(value), requires_grad=False)
        for name, buffer in part._buffers.items():
            if buffer is not None:
                part._buffers[name] = _fake(buffer)
    return module


def _fake(value: Tensor) -> Tensor:
    return torch.empty(value.shape, dtype=value.dtype, device="cuda:0")
