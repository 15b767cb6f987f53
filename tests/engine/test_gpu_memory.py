"""Plans for a GPU's memory, and what happens when they were too bold; the allocator is a fake."""

from __future__ import annotations

import pytest
from max.dtype import DType

from whisper_max.checkpoint.published import MODELS
from whisper_max.engine.gpu import memory as gpu_memory
from whisper_max.engine.gpu.engine import BUCKETS, bucket
from whisper_max.engine.gpu.memory import BatchLimit, decode_bytes, encode_bytes, plan_memory, weight_bytes
from whisper_max.errors import DeviceError, OptionError

BASE, LARGE = MODELS["base"].dims, MODELS["large-v3"].dims
BF16 = DType.bfloat16
GIB = 2**30


def test_weights_and_caches_have_the_sizes_of_the_published_models():
    assert weight_bytes(LARGE, BF16) / 2 == pytest.approx(1_543e6, rel=0.01)  # parameters
    assert weight_bytes(BASE, BF16) / 2 == pytest.approx(74e6, rel=0.03)
    assert decode_bytes(LARGE, BF16, 0) == pytest.approx(246e6, rel=0.02)  # cross-KV, and the features
    assert decode_bytes(LARGE, BF16, 2) - decode_bytes(LARGE, BF16, 1) == pytest.approx(73.4e6, rel=0.05)


def test_scores_are_planned_for_where_attention_is_plain():
    assert encode_bytes(LARGE, BF16, fast=False) - encode_bytes(LARGE, BF16, fast=True) == 20 * 1500 * 1500 * 8
    plain, fast = (encode_bytes(LARGE, DType.float32, fast=fast) for fast in (False, True))
    assert plain - fast == 20 * 1500 * 1500 * 12


def test_a_large_card_takes_large_batches():
    plan = plan_memory(130 * GIB, 0.9, LARGE, BF16, fast=True)
    assert plan.encoded == gpu_memory.MOST_ENCODED
    assert 320 <= plan.decoded <= gpu_memory.MOST_DECODED


@pytest.mark.parametrize("gib", [3, 4, 8, 24])
@pytest.mark.parametrize("utilization", [0.3, 1.0])
def test_a_plan_stays_within_its_share(gib, utilization):
    plan = plan_memory(gib * GIB, utilization, LARGE, BF16, fast=False)
    used = plan.encoded * encode_bytes(LARGE, BF16, fast=False) + plan.decoded * decode_bytes(LARGE, BF16, 1)
    assert min(plan.encoded, plan.decoded) >= 1
    assert used <= gib * GIB * utilization


def test_a_card_too_small():
    with pytest.raises(DeviceError, match=r"too little free memory.*expected .* MiB, found 103 MiB.*--device cpu"):
        plan_memory(GIB // 10, 1.0, LARGE, BF16, fast=True)


@pytest.mark.parametrize("utilization", [0, -0.5, 1.01, float("nan")])
def test_an_impossible_share(utilization):
    with pytest.raises(OptionError, match="gpu_memory_utilization"):
        plan_memory(GIB, utilization, BASE, BF16, fast=True)


class FakeAllocator:
    """Has room for so many windows."""

    def __init__(self, room, error):
        self.room, self.error, self.asked = room, error, []

    def __call__(self, n_windows):
        self.asked.append(n_windows)
        if n_windows > self.room:
            raise self.error
        return n_windows


OUT_OF_MEMORY = [
    ValueError("CUDA call failed: CUDA_ERROR_OUT_OF_MEMORY (out of memory)"),
    RuntimeError("failed to allocate: out of memory"),
    MemoryError(),
]


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=lambda error: type(error).__name__)
def test_out_of_memory_shrinks_the_batch_for_good(error):
    lines, room = [], FakeAllocator(5, error)
    limit = BatchLimit(32, "windows in the decoder", lines.append)
    assert limit.attempt(room) == 4
    assert limit.attempt(room) == 4
    assert room.asked == [32, 16, 8, 4, 4]
    assert lines == [f"the GPU is out of memory; going on with at most {n} windows in the decoder" for n in (16, 8, 4)]


def test_out_of_memory_with_one_window_is_an_error():
    limit = BatchLimit(2, "windows in the encoder", lambda line: None)
    with pytest.raises(DeviceError, match="out of memory with one of the windows in the encoder"):
        limit.attempt(FakeAllocator(0, OUT_OF_MEMORY[0]))


def test_other_errors_are_not_taken_for_it():
    limit = BatchLimit(8, "windows", pytest.fail)
    with pytest.raises(ValueError, match="shape"):
        limit.attempt(FakeAllocator(0, ValueError("shape")))
    assert limit.most == 8


def test_batches_come_in_buckets():
    assert [bucket(n, 512) for n in (1, 3, 8, 33, 300, 320, 512)] == [1, 4, 8, 64, 320, 320, 512]
    assert bucket(300, 310) == 310
    assert list(BUCKETS) == sorted(set(BUCKETS))
    assert BUCKETS[-1] == gpu_memory.MOST_DECODED
