"""A network's ONNX file, run by ONNX Runtime on the processor in float32."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from creditline.towers.compiled.export import INPUT, OUTPUT
from creditline.towers.compiled.runtime import onnxruntime

_PROVIDER = "CPUExecutionProvider"


class CompiledRunner:
    """Runs one network; several threads may call it at the same time, each pass uses one thread.

    Args:
        path: The ONNX file, which is read once.
    """

    def __init__(self, path: Path) -> None:
        self._session = onnxruntime.InferenceSession(str(path), _options(), providers=[_PROVIDER])

    def __call__(self, inputs: NDArray[np.generic]) -> Tensor:
        """Features of a batch: (B, D) float32, on the CPU."""
        features: Any = self._session.run([OUTPUT], {INPUT: inputs})[0]
        return torch.from_numpy(features)


def _options() -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    # Float32 products stay float32 where the processor has bfloat16 instructions (on Arm).
    options.add_session_config_entry("mlas.enable_gemm_fastmath_arm64_bfloat16", "0")
    # Batches come in many shapes; a plan of memory for each would be kept for ever.
    options.enable_mem_pattern = False
    return options
