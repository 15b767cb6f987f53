"""What a GPU does besides products of many rows, run on a CPU, against NumPy.

With one thread for a thread block; but attention of many positions in bfloat16 as ``test_long_product`` has products.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from max.driver import CPU, Buffer
from max.dtype import DType
from max.graph import DeviceRef, Dim, TensorType

from tests.support import numpy_block
from tests.support.bfloat16 import of_buffer, rounded
from tests.support.device_graphs import DIMS, add_graph, buffer, tensor
from whisper_max.engine.weights import to_device
from whisper_max.model.gpu.fast import FastOps
from whisper_max.model.layers import Weights

N_HEAD, HEAD_DIM = 2, 64
WIDTH = N_HEAD * HEAD_DIM
DTYPES = (DType.float32, DType.bfloat16)
TOLERANCE = {DType.float32: 2e-6, DType.bfloat16: 2**-8}  # of numbers about 1: a unit in the last place


def prefix(dtype):
    return f"prompts {dtype.name}"


def random(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def add_graphs(module, library):
    layers, add, given = FastOps(), partial(add_graph, module, library), {}

    def align(x):
        dims = replace(DIMS, n_text_head=N_HEAD, n_audio_ctx=int(x[1].tensor.shape[2]))
        heads = layers.alignment(x[0].tensor, Dim("length"), dims)
        for layer in range(2):
            heads.add(layer, x[2 + layer].tensor, x[1].tensor)
        return heads.result()

    for dtype in DTYPES:
        weights = Weights(dtype, dtype, DeviceRef.CPU(), layers) / prefix(dtype)
        texts, sides = tensor(dtype, "windows", "length", 3 * WIDTH), tensor(dtype, "windows", N_HEAD, 130, HEAD_DIM)
        q, mask = tensor(dtype, "windows", "length", WIDTH), tensor(dtype, "length", "length")
        cache, numbers = buffer(dtype, "rows", N_HEAD, "capacity", HEAD_DIM), tensor(DType.int32, "rows")
        other = tensor(dtype, "source_rows", N_HEAD, "capacity", HEAD_DIM)
        one = [replace_window(each) for each in (sides, q)]
        for name, types, forward in (
            ("self", [texts, mask], lambda x: layers.self_attention(x[0].tensor, N_HEAD, x[1].tensor)),
            (
                "whole",
                [texts],
                lambda x, w=weights: layers.encoder_attention(x[0].tensor, N_HEAD, w),
            ),
            ("cross", [q, sides, sides], lambda x: layers.cross_attention(*(each.tensor for each in x))),
            (
                "store",
                [cache, cache, texts, numbers],
                lambda x: layers.store_prompt((x[0].buffer, x[1].buffer), x[2].tensor, x[3].tensor),
            ),
            (
                "copy",
                [cache, other, numbers, tensor(DType.int64, 1)],
                lambda x: layers.copy_slots([x[0].buffer], [x[1].tensor], x[2].tensor, x[3].tensor),
            ),
            ("align", [tensor(DType.int32, "n_heads"), one[0], one[1], one[1]], align),
            (
                "embed",
                [tensor(DType.int32, "windows", "length"), tensor(DType.int32, "length")],
                lambda x, w=weights: layers.embed(x[0].tensor, x[1].tensor, w, DIMS),
            ),
            (
                "take",
                [tensor(dtype, "any", WIDTH), tensor(DType.int32, "n")],
                lambda x: layers.take_rows(x[0].tensor, x[1].tensor),
            ),
        ):
            add(f"{prefix(dtype)} {name}", types, forward)
        for name, (shape, _) in weights.declared.items():
            given[name] = to_device(rounded(random(len(name), *shape), dtype), dtype, CPU())
    add(
        "prompts targets",
        [tensor(DType.float32, "length", 37), tensor(DType.int32, "length"), tensor(DType.int32, 1)],
        lambda x: layers.target_probs(*(each.tensor for each in x)),
    )
    return given


def replace_window(of):
    return TensorType(of.dtype, [1, *of.shape[1:]], device=of.device)


def run(graphs, dtype, name, *inputs):
    def given(values):
        if isinstance(values, Buffer):
            return values
        return to_device(values, dtype, CPU()) if values.dtype == np.float32 else Buffer.from_numpy(values)

    return list(map(of_buffer, graphs[f"{prefix(dtype)} {name}"].execute(*map(given, inputs))))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("windows", "length"), [(1, 1), (2, 5), (2, 31), (2, 32), (1, 150), (2, 257)])
def test_a_position_sees_itself_and_what_is_before(kernel_graphs, dtype, windows, length):
    qkv = rounded(random(1, windows, length, 3 * WIDTH), dtype)
    (found,) = run(kernel_graphs, dtype, "self", qkv, np.zeros((length, length), np.float32))
    q, k, v = qkv.reshape(windows, length, 3, N_HEAD, HEAD_DIM).transpose(2, 0, 3, 1, 4)
    for window, position in np.ndindex(windows, length):
        seen = slice(0, position + 1)
        expected = numpy_block.attend(q[window, :, position], k[window, :, seen], v[window, :, seen])
        np.testing.assert_allclose(found[window, position], expected, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("windows", "length"), [(1, 1), (2, 64), (2, 129)])
def test_a_position_of_a_window_sees_all_others(kernel_graphs, dtype, windows, length):
    qkv = rounded(3 * random(1, windows, length, 3 * WIDTH), dtype)
    (found,) = run(kernel_graphs, dtype, "whole", qkv)
    atol = {DType.float32: 2e-5, DType.bfloat16: 3 * 2**-8}[dtype]  # of results about 3, by scores about 100
    q, k, v = qkv.reshape(windows, length, 3, N_HEAD, HEAD_DIM).transpose(2, 0, 3, 1, 4)
    for window, position in np.ndindex(windows, length):
        expected = numpy_block.attend(q[window, :, position], k[window], v[window])
        np.testing.assert_allclose(found[window, position], expected, rtol=TOLERANCE[dtype], atol=atol)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("windows", "length"), [(1, 1), (3, 4), (2, 40)])
def test_a_position_hears_its_own_window(kernel_graphs, dtype, windows, length):
    q = rounded(random(1, windows, length, WIDTH), dtype)
    k, v = (rounded(random(seed, windows, N_HEAD, 130, HEAD_DIM), dtype) for seed in (2, 3))
    (found,) = run(kernel_graphs, dtype, "cross", q, k, v)
    for window, position in np.ndindex(windows, length):
        expected = numpy_block.attend(q[window, position].reshape(N_HEAD, HEAD_DIM), k[window], v[window])
        np.testing.assert_allclose(found[window, position], expected, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("length", [0, 1, 7])
def test_prompts_fill_the_first_slots_of_the_rows_that_take_them(kernel_graphs, dtype, length):
    qkv = rounded(random(1, 2, length, 3 * WIDTH), dtype)
    window_of_row = np.array([1, 0, 1], np.int32)
    before = [rounded(random(seed, 3, N_HEAD, 7, HEAD_DIM), dtype) for seed in (2, 3)]
    cache = [to_device(side.copy(), dtype, CPU()) for side in before]
    run(kernel_graphs, dtype, "store", *cache, qkv, window_of_row)
    parts = qkv.reshape(2, length, 3, N_HEAD, HEAD_DIM).transpose(2, 0, 3, 1, 4)[1:]
    for side, old, new in zip(cache, before, parts, strict=True):
        old[:, :, :length] = new[window_of_row]
        np.testing.assert_array_equal(of_buffer(side), old)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_slots", [0, 1, 9])
def test_slots_in_use_move_with_their_rows(kernel_graphs, dtype, n_slots):
    source, before = (rounded(random(seed, rows, N_HEAD, 9, HEAD_DIM), dtype) for seed, rows in ((1, 2), (2, 3)))
    row_of = np.array([1, 1, 0], np.int32)
    target = to_device(before.copy(), dtype, CPU())
    run(kernel_graphs, dtype, "copy", target, source, row_of, np.array([n_slots], np.int64))
    before[:, :, :n_slots] = source[row_of, :, :n_slots]
    np.testing.assert_array_equal(of_buffer(target), before)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("length", [1, 6])
def test_weights_are_of_the_heads_asked_for(kernel_graphs, dtype, length):
    heads = np.array([N_HEAD, 1, 0], np.int32)  # head 0 of the second layer, heads 1 and 0 of the first
    keys = rounded(random(1, 1, N_HEAD, 130, HEAD_DIM), dtype)
    q = [rounded(random(seed, 1, length, WIDTH), dtype) for seed in (2, 3)]
    (found,) = run(kernel_graphs, dtype, "align", heads, keys, *q)
    for row, (layer, head) in enumerate(((1, 0), (0, 1), (0, 0))):
        wide = q[layer].reshape(length, N_HEAD, HEAD_DIM)[:, head].astype(np.float64)
        scores = np.exp(wide @ keys[0, head].astype(np.float64).T / np.sqrt(HEAD_DIM))
        np.testing.assert_allclose(found[row], scores / scores.sum(-1, keepdims=True), rtol=1e-5)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("windows", "length"), [(1, 1), (3, 4)])
def test_a_token_is_embedded_with_its_position(kernel_graphs, dtype, windows, length):
    tokens = np.random.default_rng(1).integers(0, DIMS.n_vocab, (windows, length), np.int32)
    positions = 5 + np.arange(length, dtype=np.int32)[::-1]
    (found,) = run(kernel_graphs, dtype, "embed", tokens, positions.copy())
    token, position = (
        rounded(random(len(f"{prefix(dtype)}.{name}"), n, WIDTH), dtype)
        for name, n in (("token_embedding.weight", DIMS.n_vocab), ("positional_embedding", DIMS.n_text_ctx))
    )
    np.testing.assert_array_equal(found, rounded(token[tokens] + position[positions], dtype))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("chosen", [[], [2, 0, 2, 1]])
def test_rows_are_taken_in_the_order_asked_for_and_widened(kernel_graphs, dtype, chosen):
    x = rounded(random(1, 3, WIDTH), dtype)
    (found,) = run(kernel_graphs, dtype, "take", x, np.array(chosen, np.int32))
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, x[chosen])


@pytest.mark.parametrize("competing", [30, 37])
def test_targets_are_rated_among_those_that_compete(kernel_graphs, competing):
    logits, targets = 5 * random(1, 6, 37), np.array([0, 29, 30, 36, -1, 37], np.int32)
    inputs = map(Buffer.from_numpy, (logits, targets, np.array([competing], np.int32)))
    (found,) = kernel_graphs["prompts targets"].execute(*inputs)
    wide = np.exp(logits[:, :competing].astype(np.float64))
    rated = [wide[i, t] / wide[i].sum() if 0 <= t < competing else 0 for i, t in enumerate(targets)]
    np.testing.assert_allclose(found.to_numpy(), rated, rtol=1e-5)
