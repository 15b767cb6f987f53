"""Which machines run on a GPU, on which a line says why not, and which fail; drivers and GPUs are fakes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from max.dtype import DType

from whisper_max.dims import ModelDimensions
from whisper_max.errors import DeviceError
from whisper_max.hardware import gpu_record as gpu_support
from whisper_max.hardware.gpu_record import (
    GpuRecord,
    find_checked_gpu,
    find_gpu,
    read_record,
    record_path,
    write_record,
)
from whisper_max.hardware.target import select_target
from whisper_max.model.digest import Graphs

BF16 = DType.bfloat16
RIGHT = GpuRecord(plain=("bfloat16", "float32"), fast=("bfloat16",), tokens=True)


class FakeGpu:
    label, is_compatible = "gpu", True

    def __init__(self, index):
        self.id = index


class FakeOldGpu(FakeGpu):
    label, is_compatible = "old gpu", False


def fail(index):
    raise ValueError("driver version 525.60 is below 580")


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """Sets how many GPUs MAX sees, what opening one gives, and whether there is an NVIDIA driver."""
    monkeypatch.setenv("WHISPER_MAX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(gpu_support, "gpu_graphs", lambda: [])  # the real ones take seconds to build

    def make(n_gpus, opened=FakeGpu, driver=None):
        monkeypatch.setattr(gpu_support, "accelerator_count", lambda: n_gpus)
        monkeypatch.setattr(gpu_support, "Accelerator", opened)
        monkeypatch.setattr(gpu_support, "accelerator_architecture_name", lambda: "sm_90a")
        path = tmp_path / "version"
        if driver is not None:
            path.write_text(driver)
        monkeypatch.setattr(gpu_support, "DRIVER", path)

    return make


def found(dtype=BF16):
    lines = []
    return find_checked_gpu(dtype, lines.append), lines


def test_without_a_gpu_nothing_is_said(machine):
    machine(0)
    assert found() == (None, [])
    with pytest.raises(DeviceError, match=r"gpu:0: no such GPU: found 0 on this machine; use --device cpu"):
        find_gpu(0, BF16)


def test_a_driver_that_shows_max_no_gpu(machine):
    machine(0, driver="NVRM version: 470.82\nGCC version: 11\n")
    assert found() == (None, ["MAX finds no GPU (none that MAX can use, under NVRM version: 470.82); using the CPU"])
    with pytest.raises(DeviceError, match=r"under NVRM version: 470.82"):
        find_gpu(0, BF16)


def test_a_driver_too_old(machine):
    machine(1, fail)
    assert found() == (None, ["gpu:0: the GPU can't be used: found driver version 525.60 is below 580; using the CPU"])
    with pytest.raises(DeviceError, match=r"can't be used: found driver version 525.60 is below 580; use --device cpu"):
        find_gpu(0, BF16)


def test_a_gpu_that_max_does_not_support(machine):
    machine(1, FakeOldGpu)
    assert found() == (None, ["gpu:0: MAX doesn't support this GPU: found old gpu; using the CPU"])
    with pytest.raises(DeviceError, match="doesn't support this GPU"):
        find_gpu(0, BF16)


def test_a_second_gpu_that_is_not_there(machine):
    machine(1)
    with pytest.raises(DeviceError, match="gpu:1: no such GPU: found 1 on this machine"):
        find_gpu(1, BF16)


def test_an_unchecked_gpu_runs_the_plain_forms_and_only_when_demanded(machine):
    machine(1)
    assert find_gpu(0, BF16).codes == ("gpu:sm_90a",)
    gpu, lines = found()
    assert gpu is None
    assert lines == [
        "there is a GPU, not yet checked with this version; using the CPU "
        "(run `python scripts/gpu/gpu_gate.py` to use the GPU)"
    ]


def test_a_checked_gpu_runs_what_was_found_right(machine):
    machine(1)
    write_record("sm_90a", RIGHT)
    gpu, lines = found()
    assert lines == []
    assert gpu.codes == ("gpu:sm_90a:fast", "gpu:sm_90a")
    assert find_gpu(0, DType.float32).codes == ("gpu:sm_90a",)
    assert gpu.record == RIGHT


@pytest.mark.parametrize("right", [True, False])
def test_tokens_are_chosen_where_the_check_found_the_choices_right(machine, right):
    machine(1)
    assert select_target("gpu").tokens  # unchecked, at the user's word
    write_record("sm_90a", replace(RIGHT, tokens=right))
    assert select_target("gpu").tokens == right
    assert select_target("auto").codes[0] == "gpu:sm_90a:fast"


def test_a_gpu_that_failed_its_check(machine):
    machine(1)
    write_record("sm_90a", RIGHT)
    assert found(DType.float16) == (None, ["this GPU failed its check in float16; using the CPU"])


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"plain": 1}', "\xff"])
def test_a_record_that_cannot_be_read_counts_for_nothing(machine, content):
    machine(1)
    path = write_record("sm_90a", RIGHT)
    path.write_text(content)
    assert read_record("sm_90a") is None


def test_a_record_is_about_the_graphs_that_a_gpu_runs(machine, monkeypatch):
    graphs = Graphs(ModelDimensions(8, 16, 64, 1, 1, 64, 16, 64, 1, 1), BF16, BF16, "gpu", True)
    names = []
    for digest in ("a", "a", "b"):
        monkeypatch.setattr(gpu_support, "remembered", lambda name, build: build())
        monkeypatch.setattr(gpu_support, "gpu_graphs", lambda: [graphs])
        monkeypatch.setattr(Graphs, "build", lambda graphs, digest=digest: digest)
        names.append(record_path("sm_90a").name)
    assert names[0] == names[1] != names[2]


def test_nothing_is_built_for_a_gpu_that_was_never_checked(machine, monkeypatch):
    machine(1)
    monkeypatch.setattr(gpu_support, "gpu_graphs", None)
    assert read_record("sm_90a") is None


def test_a_record_is_of_one_gpu_one_max_and_one_state_of_the_graphs(machine, monkeypatch):
    machine(1)
    write_record("sm_90a", RIGHT)
    assert read_record("sm_80") is None
    monkeypatch.setattr(gpu_support, "remembered", lambda name, build: "0" * 64)
    assert read_record("sm_90a") is None
    assert "max" in record_path("sm_90a").name
