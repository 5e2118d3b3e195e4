"""The device setting: the device that it selects on a machine, and the settings that are refused."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from pydantic_settings import BaseSettings

from creditline.devices import PROCESSOR, Device, choose_device, device_of, full_precision, pick_device
from creditline.embedder.settings import EmbedderSettings
from creditline.errors import InvalidInput, NotReady
from creditline.local.settings import LocalSettings
from creditline.settings import read_settings
from creditline.teacher.settings import TeacherSettings
from tests.device_checks import needs_gpu

_GPUS = ("NVIDIA H200", "NVIDIA A10")
_SETTINGS = (TeacherSettings, EmbedderSettings, LocalSettings)


@pytest.mark.parametrize(
    ("setting", "gpus", "found"),
    [
        ("auto", (), PROCESSOR),
        ("auto", _GPUS, Device("cuda:0", "NVIDIA H200")),
        ("cpu", _GPUS, PROCESSOR),
        ("cuda", _GPUS, Device("cuda:0", "NVIDIA H200")),
        ("cuda:1", _GPUS, Device("cuda:1", "NVIDIA A10")),
    ],
)
def test_a_setting_picks_a_device_among_those_that_are_present(
    setting: str, gpus: tuple[str, ...], found: Device
) -> None:
    assert pick_device(setting, gpus) == found


@pytest.mark.parametrize(
    ("setting", "gpus", "present"),
    [("cuda", (), "none"), ("cuda:2", _GPUS, "cuda:0 (NVIDIA H200), cuda:1 (NVIDIA A10)")],
)
def test_an_absent_gpu_is_refused_with_those_that_are_present(
    setting: str, gpus: tuple[str, ...], present: str
) -> None:
    with pytest.raises(NotReady) as refused:
        pick_device(setting, gpus)
    assert f"is '{setting}', but that GPU is absent" in refused.value.message
    assert f"use here: {present};" in refused.value.message


@pytest.mark.parametrize(
    "setting", ["gpu", "", "cuda:", "cuda:-1", "cuda:x", "CPU", "meta", "cuda:0 ", "mps"]
)
def test_other_settings_are_refused(setting: str) -> None:
    with pytest.raises(InvalidInput, match="none of auto, cpu, cuda and cuda:N"):
        choose_device(setting)


@pytest.mark.parametrize("kind", _SETTINGS)
def test_one_variable_sets_the_device_of_every_service(
    kind: type[BaseSettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CREDITLINE_DEVICE", raising=False)
    assert read_settings(kind).model_dump()["device"] == "auto"
    monkeypatch.setenv("CREDITLINE_DEVICE", "cuda:3")
    assert read_settings(kind).model_dump()["device"] == "cuda:3"
    monkeypatch.setenv("CREDITLINE_DEVICE", "gpu")
    with pytest.raises(InvalidInput, match=r"CREDITLINE_DEVICE is 'gpu'.*none of auto, cpu, cuda and cuda:N"):
        read_settings(kind)


def test_settings_are_read_without_torch() -> None:
    script = (
        "import sys\n"
        "from creditline.devices import pick_device\n"
        "from creditline.embedder.settings import EmbedderSettings\n"
        "from creditline.settings import read_settings\n"
        "assert read_settings(EmbedderSettings).device == pick_device('cpu', ()).name\n"
        "print('torch' in sys.modules)"
    )
    environment = {"CREDITLINE_DEVICE": "cpu", "PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout == "False\n"


def test_a_module_is_where_its_parameters_are() -> None:
    assert device_of(torch.nn.Linear(2, 2).to("meta")) == torch.device("meta")


def test_full_precision_turns_tf32_off_for_products_and_convolutions() -> None:
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    try:
        torch.set_float32_matmul_precision("high")
        torch.backends.cudnn.allow_tf32 = True
        full_precision()
        assert torch.get_float32_matmul_precision() == "highest"
        assert not torch.backends.cuda.matmul.allow_tf32
        assert not torch.backends.cudnn.allow_tf32
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]


@needs_gpu
def test_auto_takes_the_first_gpu_and_names_it() -> None:
    found = choose_device("auto")
    assert found == Device("cuda:0", torch.cuda.get_device_name(0))
