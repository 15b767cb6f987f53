"""The CPU's attention in integers against NumPy: the same quantisation in float64, and what has to hold exactly."""

from __future__ import annotations

import math

import numpy as np
import pytest
from max.dtype import DType
from max.graph import DeviceRef, Graph, TensorType

from whisper_max.hardware.processors import vnni as vnni_of_this_processor
from whisper_max.model.int8 import int8_self_attention

HEAD_DIM, N_HEAD = 64, 3
N_STATE = HEAD_DIM * N_HEAD
KEY_BLOCK = 128
POLYNOMIAL = [0.05517166722044535, 0.24261112205253732, 0.6932609857998157, 0.9999280735567159]
LENGTHS = [1, 2, 7, 8, 9, 31, 33, 127, 128, 129, 300, 777]


def add_graphs(module, library):
    device = DeviceRef.CPU()
    types = [
        TensorType(DType.float32, ["windows", "length", 3 * N_STATE], device=device),
        TensorType(DType.int32, [1], device=device),
    ]
    with Graph("int8_attention", input_types=types, module=module, kernel_library=library) as graph:
        qkv, vnni = graph.inputs
        graph.output(int8_self_attention(qkv.tensor, N_HEAD, vnni.tensor))
    return {}


@pytest.fixture(scope="module")
def attention(kernel_graphs):
    """(qkv, what the processor has) -> attended."""
    model = kernel_graphs["int8_attention"]

    def run(qkv, vnni=None):
        flags = vnni_of_this_processor() if vnni is None else vnni & vnni_of_this_processor()
        return model.execute(qkv, np.array([flags], np.int32))[0].to_numpy()

    return run


def random(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def by_heads(qkv):
    """Queries, keys and values, each (B, H, T, hd) in float64."""
    parts = np.split(qkv.astype(np.float64), 3, axis=-1)
    return [part.reshape(*part.shape[:2], N_HEAD, HEAD_DIM).transpose(0, 2, 1, 3) for part in parts]


def by_rows(y):
    """(B, H, T, hd) -> (B, T, H * hd)."""
    return y.transpose(0, 2, 1, 3).reshape(len(y), y.shape[2], -1)


def exact(qkv):
    """Attention in float64."""
    q, k, v = by_heads(qkv)
    scores = q @ k.swapaxes(-1, -2) / math.sqrt(HEAD_DIM)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return by_rows(weights / weights.sum(-1, keepdims=True) @ v)


def in_steps(x, axis):
    """float32 x, rounded to 127 steps of its largest magnitude along an axis; in float64."""
    peaks = np.abs(x).max(axis, keepdims=True)
    return np.rint(x.astype(np.float64) * (np.float32(127) / peaks)) * (peaks / np.float32(127))


def power_of_2(x):
    """By the kernel's polynomial, which is off by 1 in 13000: enough to round some weights to the next step."""
    whole = np.rint(x)
    return np.ldexp(np.polyval(POLYNOMIAL, x - whole), whole.astype(int))


def in_integers(qkv):
    """Attention of the values that the kernel sees, in float64."""
    q, k, v = (part.astype(np.float32) for part in by_heads(qkv))
    k = k - np.cumsum(k, axis=-2)[..., -1:, :] / np.float32(k.shape[-2])  # summed in order, as the kernel does
    scores = in_steps(q, -1) @ in_steps(k, -1).swapaxes(-1, -2) / math.sqrt(HEAD_DIM)
    highest = scores.max(-1, keepdims=True)
    attended, total = 0.0, 0.0
    for start in range(0, k.shape[-2], KEY_BLOCK):
        block = scores[..., start : start + KEY_BLOCK]
        peak = block.max(-1, keepdims=True)
        power = np.maximum((block - peak) / math.log(2) + math.log2(255), -8)
        weights = np.rint(power_of_2(power)) * np.exp(peak - highest)
        attended = attended + weights @ in_steps(v[..., start : start + KEY_BLOCK, :], -2)
        total = total + weights.sum(-1, keepdims=True)
    return by_rows(attended / total)


def off_by(ours, expected):
    """The relative error of a whole."""
    return np.linalg.norm(ours - expected) / np.linalg.norm(expected)


@pytest.mark.parametrize("length", LENGTHS[1:])
@pytest.mark.parametrize("n_windows", [1, 3])
@pytest.mark.parametrize("sharpness", [0.5, 2])
def test_what_is_computed(attention, length, n_windows, sharpness):
    qkv = np.float32(sharpness) * random(1, n_windows, length, 3 * N_STATE)
    ours = attention(qkv)
    assert off_by(ours, in_integers(qkv)) < 4e-4
    assert off_by(ours, exact(qkv)) < 0.02 * max(1, sharpness)


@pytest.mark.parametrize("length", LENGTHS)
def test_every_processor_gives_the_same(attention, length):
    qkv = 2 * random(2, 2, length, 3 * N_STATE)
    np.testing.assert_array_equal(attention(qkv), attention(qkv, vnni=0))


@pytest.mark.parametrize("length", LENGTHS)
def test_weights_sum_to_one(attention, length):
    qkv = 2 * random(3, 2, length, 3 * N_STATE)
    qkv[..., 2 * N_STATE :] = random(4, N_STATE)  # all values are equal
    expected = np.broadcast_to(qkv[..., 2 * N_STATE :], (2, length, N_STATE))
    np.testing.assert_allclose(attention(qkv), expected, rtol=1e-6)


def test_a_mean_that_all_keys_share_changes_nothing(attention):
    qkv = random(5, 1, 200, 3 * N_STATE)
    shifted = qkv.copy()
    shifted[..., N_STATE : 2 * N_STATE] += 50 * random(6, N_STATE)
    assert off_by(attention(shifted), attention(qkv)) < 1e-3


@pytest.mark.parametrize("length", [100, 300])
def test_each_position_finds_its_own_key_at_large_magnitudes(attention, length):
    qkv = random(7, 1, length, 3 * N_STATE)
    qkv[..., :N_STATE] = 1e4 * qkv[..., N_STATE : 2 * N_STATE]  # scores in ten thousands
    values = qkv[..., 2 * N_STATE :]
    bound = np.abs(values).max() / 254 + 1e-6  # a half step
    np.testing.assert_allclose(attention(qkv), values, atol=bound)


def test_queries_or_keys_of_zeros_weigh_all_alike(attention):
    qkv = random(8, 3, 150, 3 * N_STATE)
    qkv[0, :, :N_STATE] = qkv[1, :, N_STATE : 2 * N_STATE] = 0
    ours = attention(qkv)
    for window in range(2):
        mean = qkv[window, :, 2 * N_STATE :].mean(0)
        np.testing.assert_allclose(ours[window], np.broadcast_to(mean, (150, N_STATE)), atol=0.005)
    qkv[2, :, 2 * N_STATE :] = 0
    np.testing.assert_array_equal(attention(qkv)[2], 0)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_not_hidden(attention, bad):
    qkv = random(9, 3, 140, 3 * N_STATE)
    qkv[0, 3, 5] = qkv[1, 133, N_STATE + 70] = qkv[2, 139, 2 * N_STATE + 130] = bad
    ours = attention(qkv)
    assert np.isnan(ours[0, 3, :HEAD_DIM]).all()  # that query's head
    assert np.isnan(ours[1, :, HEAD_DIM : 2 * HEAD_DIM]).all()  # all queries that see the key
    assert np.isnan(ours[2, :, 130]).all()  # that lane
    seen = np.isnan(ours)
    seen[0, 3, :HEAD_DIM] = seen[1, :, HEAD_DIM : 2 * HEAD_DIM] = seen[2, :, 130] = False
    assert not seen.any()


def test_a_window_does_not_depend_on_its_company(attention):
    qkv = random(10, 4, 77, 3 * N_STATE)
    together = attention(qkv)
    for window in range(4):
        np.testing.assert_array_equal(attention(qkv[window : window + 1])[0], together[window])
