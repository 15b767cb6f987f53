"""A GPU's decoder block for one new token a row, run unit by unit on a CPU, and its plain attention, against NumPy.

In bfloat16 a warp's products are put together from the fragments that tensor cores are given, by the layout that the
PTX manual states.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from max.driver import CPU, Buffer
from max.dtype import DType

from tests.support import numpy_block
from tests.support.bfloat16 import of_buffer, rounded
from tests.support.device_graphs import HEAD_DIM, N_HEAD
from tests.support.device_graphs import add_graphs as add_graphs
from whisper_max.engine.weights import to_device
from whisper_max.model.gpu.fast import COUNTS

WIDTH = N_HEAD * HEAD_DIM
DTYPES = (DType.float32, DType.bfloat16)
TOLERANCE = {DType.float32: 3e-6, DType.bfloat16: 4e-2}  # of numbers up to 10: one unit in the last place
FEW = 16  # rows up to which the kernel has its small tiles


def random(seed, *shape):
    return 2 * np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def run_block(graphs, dtype, n_windows, n_hyps, lengths, capacity, n_audio, scale=1.0):
    """The graph's result with NumPy's, and the caches with what they should be."""
    rows, round_to = n_windows * n_hyps, partial(rounded, dtype=dtype)
    x = scale * random(1, rows, WIDTH)
    cache = [round_to(random(seed, rows, N_HEAD, capacity, HEAD_DIM)) for seed in (2, 3)]
    for row, length in enumerate(lengths):
        for side in cache:
            side[row, :, length:] = np.nan  # what nobody wrote yet is never read
    audio = [round_to(scale * random(seed, n_windows, N_HEAD, n_audio, HEAD_DIM)) for seed in (4, 5)]
    layers = numpy_block.random_layers(np.random.default_rng(6), WIDTH, round_to)
    counts = Buffer.from_numpy(np.zeros((rows, COUNTS + N_HEAD), np.int32))
    put = partial(to_device, dtype=dtype, device=CPU())
    buffers = [put(side.copy()) for side in cache]
    given = [Buffer.from_numpy(x), counts, Buffer.from_numpy(lengths), *buffers, *map(put, audio), *map(put, layers)]
    (found,) = graphs[f"token_block {dtype.name}"].execute(*given)
    expected, new = numpy_block.token_block(x, lengths, cache, audio, layers)
    for side, values in zip(cache, new, strict=True):
        side[np.arange(rows), :, lengths] = values
    assert not counts.to_numpy().any()
    return found.to_numpy(), expected, list(map(of_buffer, buffers)), cache


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_audio", [1, 7, 130, 1500])
@pytest.mark.parametrize(("n_windows", "n_hyps"), [(1, 1), (3, 1), (2, 5), (FEW, 1), (FEW + 1, 1), (14, 5)])
def test_a_block_gives_what_numpy_gives_and_writes_one_slot(device_graphs, dtype, n_windows, n_hyps, n_audio):
    capacity = 19
    lengths = np.resize(np.array([capacity - 1, 0, 1, 9, 17], np.int32), n_windows * n_hyps)
    found, expected, caches, wanted = run_block(device_graphs, dtype, n_windows, n_hyps, lengths, capacity, n_audio)
    np.testing.assert_allclose(found, expected, atol=TOLERANCE[dtype])
    for side, other in zip(caches, wanted, strict=True):
        np.testing.assert_allclose(side, other, atol=TOLERANCE[dtype])  # NaN where NaN is


@pytest.mark.parametrize("length", [0, 15, 16, 127, 128, 447])
def test_all_tokens_up_to_the_new_one_are_read(device_graphs, length):
    lengths = np.array([length], np.int32)
    found, expected, _, _ = run_block(device_graphs, DType.float32, 1, 1, lengths, 448, 52)
    np.testing.assert_allclose(found, expected, atol=TOLERANCE[DType.float32])


def test_scores_far_apart_stay_finite(device_graphs):
    lengths = np.array([5], np.int32)
    found, expected, _, _ = run_block(device_graphs, DType.float32, 1, 1, lengths, 9, 100, scale=30)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rows", [1, FEW, FEW + 1, 40])
@pytest.mark.parametrize("n_vocab", [8, 101])
def test_logits_are_of_the_normalised_rows(device_graphs, dtype, rows, n_vocab):
    round_to = partial(rounded, dtype=dtype)
    x = 3 + random(1, rows, WIDTH)
    norm = numpy_block.random_layers(np.random.default_rng(2), WIDTH, round_to)[:2]
    matrix = round_to(random(3, n_vocab, WIDTH) / np.sqrt(WIDTH))
    put = partial(to_device, dtype=dtype, device=CPU())
    (found,) = device_graphs[f"row_logits {dtype.name}"].execute(Buffer.from_numpy(x), *map(put, (*norm, matrix)))
    np.testing.assert_allclose(found.to_numpy(), numpy_block.row_logits(x, norm, matrix), atol=TOLERANCE[dtype])


@pytest.mark.parametrize("capacity", [5, 19, 448])
@pytest.mark.parametrize("rows", [1, 5])
def test_plain_self_attention_masks_each_row_by_its_own_length(device_graphs, capacity, rows):
    lengths = np.array([capacity // 2, 0, 1, capacity - 1, capacity - 2], np.int32)[:rows]
    k, v = (random(seed, rows, N_HEAD, capacity, HEAD_DIM) for seed in (1, 2))
    before = k.copy(), v.copy()
    qkv = random(3, rows, 3 * N_HEAD * HEAD_DIM)
    (out,) = device_graphs["plain_self"].execute(qkv, lengths, k, v)
    q, new_k, new_v = qkv.reshape(rows, 3, N_HEAD, HEAD_DIM).transpose(1, 0, 2, 3)
    for row, length in enumerate(lengths):
        for cache, old, new in ((k, before[0], new_k), (v, before[1], new_v)):
            old[row, :, length] = new[row]
            np.testing.assert_array_equal(cache[row], old[row])
        own = slice(0, length + 1)
        expected = numpy_block.attend(q[row], k[row, :, own], v[row, :, own])
        np.testing.assert_allclose(out.to_numpy()[row], expected, atol=1e-5)
