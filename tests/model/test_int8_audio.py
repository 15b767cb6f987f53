"""Keys and values of the audio as bytes: how they are kept, and attention of many queries, against NumPy in float64."""

from __future__ import annotations

import math

import numpy as np
import pytest
from max.driver import Buffer
from max.dtype import DType
from max.graph import BufferType, DeviceRef, Graph, TensorType, ops

from tests.support.int8_audio import packed
from whisper_max.engine.stages import unpacked
from whisper_max.engine.weights import in_int8_panels, quantized
from whisper_max.hardware.processors import vnni as vnni_of_this_processor
from whisper_max.model.int8 import Int8Ops
from whisper_max.model.panels import GROUP, PANEL, n_panels

HEAD_DIM, N_HEAD, DEPTH = 64, 2, 96
N_STATE = HEAD_DIM * N_HEAD
LENGTHS = [1, 31, 32, 33, 777]
SEEN = [1, 32, 777]
"""For attention, whose kernels are compiled for each length."""
WIDTH = HEAD_DIM + 4
TOLERANCE = 2e-5


def add_graphs(module, library):
    device = DeviceRef.CPU()

    def tensor(dtype, *shape):
        return TensorType(dtype, list(shape), device=device)

    def add(name, types, forward):
        with Graph(name, input_types=types, module=module, kernel_library=library) as graph:
            graph.output(*forward(*graph.inputs))

    of_float, of_int = DType.float32, DType.int32
    layer = [
        tensor(of_float, "rows", DEPTH),
        tensor(DType.int8, "panels", "groups", PANEL, GROUP),
        *[tensor(of_float, "columns")] * 2,
        tensor(of_int, "columns"),
        tensor(of_int, 1),
    ]
    for keys in (True, False):
        target = BufferType(DType.int8, ["windows", N_HEAD, "padded", WIDTH], device=device)
        add(
            f"audio_{keys}",
            [target, *layer],
            lambda *values, keys=keys: ops.inplace_custom(
                "whisper_max.int8_linear_audio", device, values, parameters={"head_dim": HEAD_DIM, "keys": keys}
            ),
        )
    for n_audio in SEEN:
        side = tensor(DType.int8, "windows", N_HEAD, n_panels(n_audio) * PANEL, WIDTH)
        add(
            f"int8_cross_{n_audio}",
            [tensor(of_float, "windows", "length", N_STATE), side, side],
            lambda q, k, v, n_audio=n_audio: [Int8Ops(n_audio).cross_attention(q.tensor, k.tensor, v.tensor)],
        )
        add(
            f"int8_alignment_{n_audio}",
            [
                BufferType(of_float, ["n_heads", "length", n_audio], device=device),
                tensor(of_float, 1, "length", N_STATE),
                tensor(DType.int8, 1, *side.shape[1:]),
                tensor(of_int, "n_heads"),
                tensor(of_int, 1),
            ],
            lambda *values: ops.inplace_custom(
                "whisper_max.int8_attention_weights", device, values, parameters={"head_dim": HEAD_DIM}
            ),
        )
    return {}


def random(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


@pytest.fixture(scope="module")
def stored(kernel_graphs):
    """(x of some windows, keys or values, what the processor has) -> the bytes of ``x @ matrix.T + bias``."""
    matrix, bias = random(1, N_STATE, DEPTH), random(2, N_STATE)
    panels, scale, offset = in_int8_panels(matrix)

    def run(x, keys, vnni=3):
        n_windows, n_audio, _ = x.shape
        target = np.full((n_windows, N_HEAD, n_panels(n_audio) * PANEL, WIDTH), 77, np.int8)
        flags = np.array([vnni & vnni_of_this_processor()], np.int32)
        rows = np.ascontiguousarray(x.reshape(-1, DEPTH))
        kernel_graphs[f"audio_{keys}"].execute(Buffer.from_numpy(target), rows, panels, bias, scale, offset, flags)
        return target

    return run


def product(x):
    """What is to be kept, (B, H, n_audio, hd), in float64 of the values that the layer sees."""
    narrow, scale = quantized(random(1, N_STATE, DEPTH))
    peaks = np.abs(x).max(axis=-1, keepdims=True)
    steps = np.rint(x.astype(np.float64) * (np.float32(127) / peaks))
    rows = steps @ narrow.T.astype(np.float64) * (peaks / 127).astype(np.float64) * scale + random(2, N_STATE)
    return rows.reshape(*x.shape[:2], N_HEAD, HEAD_DIM).transpose(0, 2, 1, 3)


@pytest.mark.parametrize("keys", [True, False])
@pytest.mark.parametrize("n_audio", LENGTHS)
def test_each_position_is_kept_in_127_steps_of_its_own(stored, keys, n_audio):
    x = random(3, 2, n_audio, DEPTH) * np.float32(10) ** random(4, 2, n_audio, 1)
    ours, expected = stored(x, keys), product(x)
    values = unpacked(ours, n_audio, keys=keys)
    peaks = np.abs(expected).max(-1, keepdims=True)
    assert np.abs(values - expected).max() > 0
    assert (np.abs(values - expected) <= peaks * (0.5 / 127 + 1e-5)).all()
    np.testing.assert_allclose(np.abs(values).max(-1, keepdims=True), peaks, rtol=1e-5)


@pytest.mark.parametrize("keys", [True, False])
@pytest.mark.parametrize("n_audio", LENGTHS)
def test_bytes_are_in_order_and_zeros_fill_the_last_panel(stored, keys, n_audio):
    ours = stored(random(5, 2, n_audio, DEPTH), keys)
    values = unpacked(ours, n_audio, keys=keys)
    theirs = packed(values, keys=keys)
    n_bytes = n_panels(n_audio) * PANEL * HEAD_DIM
    flat, other = (each.reshape(2, N_HEAD, -1) for each in (ours, theirs))
    np.testing.assert_array_equal(flat[..., :n_bytes], other[..., :n_bytes])
    scales, others = (np.ascontiguousarray(each[..., n_bytes:]).view(np.float32) for each in (flat, other))
    np.testing.assert_allclose(scales, others, rtol=1e-6)
    assert not scales[..., n_audio:].any()


@pytest.mark.parametrize("keys", [True, False])
def test_a_window_is_kept_the_same_in_any_company_and_by_any_instruction(stored, keys):
    x = random(6, 3, 150, DEPTH)
    together = stored(x, keys)
    np.testing.assert_array_equal(stored(x, keys, vnni=0), together)
    for window in range(3):
        np.testing.assert_array_equal(stored(x[window : window + 1], keys)[0], together[window])


@pytest.mark.parametrize("keys", [True, False])
def test_what_is_not_finite_stays_so_and_zeros_are_zeros(stored, keys):
    x = random(7, 1, 40, DEPTH)
    x[0, 33, 5] = np.nan
    values = unpacked(stored(x, keys), 40, keys=keys)
    assert np.isnan(values[0, :, 33]).all()
    assert np.isfinite(np.delete(values, 33, axis=2)).all()


def sides(seed, n_windows, n_audio):
    """Keys and values as bytes, and what they stand for in float64."""
    both = random(seed, 2, n_windows, N_HEAD, n_audio, HEAD_DIM)
    kept = [packed(side, keys=index == 0) for index, side in enumerate(both)]
    seen = [unpacked(side, n_audio, keys=index == 0).astype(np.float64) for index, side in enumerate(kept)]
    return kept, seen


def attention_weights(q, k):
    """q: (B, T, H * hd), k: (B, H, n, hd) -> (B, H, T, n)."""
    queries = q.reshape(*q.shape[:2], N_HEAD, HEAD_DIM).transpose(0, 2, 1, 3).astype(np.float64)
    scores = queries @ k.swapaxes(-1, -2) / math.sqrt(HEAD_DIM)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


@pytest.mark.parametrize("length", [1, 4, 13])
@pytest.mark.parametrize("n_audio", SEEN)
def test_many_queries_over_the_audio(kernel_graphs, length, n_audio):
    q, (kept, (k, v)) = 2 * random(8, 2, length, N_STATE), sides(9, 2, n_audio)
    expected = (attention_weights(q, k) @ v).transpose(0, 2, 1, 3).reshape(2, length, N_STATE)
    ours = kernel_graphs[f"int8_cross_{n_audio}"].execute(q, *kept)[0].to_numpy()
    np.testing.assert_allclose(ours, expected, atol=TOLERANCE)


@pytest.mark.parametrize("length", [1, 5])
@pytest.mark.parametrize("n_audio", SEEN)
def test_weights_of_the_heads_of_a_layer(kernel_graphs, length, n_audio):
    q, ((keys, _), (k, _)) = 3 * random(10, 1, length, N_STATE), sides(11, 1, n_audio)
    heads = np.array([3, 1, 2, 9], np.int32)  # of layers 1, 0, 1 and 4
    found = np.full((4, length, n_audio), np.nan, np.float32)
    layer = np.array([1], np.int32)
    kernel_graphs[f"int8_alignment_{n_audio}"].execute(Buffer.from_numpy(found), q, keys, heads, layer)
    # A query's largest number has 32512 steps.
    np.testing.assert_allclose(found[[0, 2]], attention_weights(q, k)[0, [1, 0]], atol=2e-5, rtol=1e-4)
    assert np.isnan(found[[1, 3]]).all()
