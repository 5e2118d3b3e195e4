"""The services' processes run numpy's products on one thread.

OpenBLAS in numpy 2's wheels takes OMP_NUM_THREADS for its own number of threads, which wait busily between
products. With two, a forward pass of 16 pairs took 22.7 ms of processor time a pair instead of 15.2.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

_PROGRAM = """
import os, sys, runpy
import creditline.{service}
assert "numpy" not in sys.modules, "numpy has read its setting already"
import numpy
numpy.ones((600, 600), dtype=numpy.float32) @ numpy.ones((600, 600), dtype=numpy.float32)
print(len(os.listdir("/proc/self/task")))
"""


def _threads(program: str) -> int:
    environment = {name: value for name, value in os.environ.items() if name != "OPENBLAS_NUM_THREADS"}
    ran = subprocess.run(
        [sys.executable, "-c", program],
        env=environment | {"OMP_NUM_THREADS": "2"},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return int(ran.stdout)


@pytest.mark.parametrize("service", ["embedder", "gateway"])
def test_a_product_of_matrices_starts_no_thread(service: str) -> None:
    assert _threads(_PROGRAM.format(service=service)) == 1


def test_without_the_setting_it_does() -> None:
    """The control: otherwise the test above would say nothing."""
    assert _threads(_PROGRAM.format(service="errors")) == 2
