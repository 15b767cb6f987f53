"""A GPU's products of many rows, run thread by thread on a CPU, against NumPy.

In bfloat16 a warp's products are put together from the fragments that tensor cores are given, by the layout that the
PTX manual states.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from max.driver import CPU, Buffer
from max.dtype import DType
from max.graph import DeviceRef

from tests.support.bfloat16 import of_buffer, rounded
from tests.support.device_graphs import add_graph, buffer, tensor
from whisper_max.dims import ModelDimensions
from whisper_max.engine.weights import to_device
from whisper_max.model.gpu.fast import FastOps
from whisper_max.model.layers import Weights

N_IN, N_OUT = 40, 144  # more than one stage deep and more than one tile wide, and not a whole number of either
N_HEAD, HEAD_DIM, N_AUDIO = 2, 16, 70
DIMS = ModelDimensions(
    n_mels=8, n_audio_ctx=N_AUDIO, n_audio_state=48, n_audio_head=1, n_audio_layer=1,
    n_vocab=8, n_text_ctx=8, n_text_state=48, n_text_head=1, n_text_layer=1,
)  # fmt: skip
DTYPES = (DType.float32, DType.bfloat16)
TOLERANCE = {DType.float32: 2e-6, DType.bfloat16: 2**-8}  # relative to a result, and to 1: a unit in the last place
_erf = np.vectorize(math.erf, otypes=[float])


def prefix(dtype):
    return f"long {dtype.name}"


def random(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def add_graphs(module, library):
    given = {}
    for dtype in DTYPES:
        weights = Weights(dtype, dtype, DeviceRef.CPU(), FastOps()) / prefix(dtype)
        rows, added = tensor(dtype, "rows", N_IN), tensor(dtype, "rows", N_OUT)
        mel = tensor(DType.float32, "windows", DIMS.n_mels, DIMS.n_frames)
        xa = tensor(dtype, "windows", N_AUDIO, N_IN)
        heads = buffer(dtype, "windows", N_HEAD, N_AUDIO, HEAD_DIM)
        for name, types, forward in (
            ("plain", [rows], lambda x, w=weights: w.ops.linear(x[0].tensor, w, "layer", N_IN, N_OUT)),
            ("gelu", [rows], lambda x, w=weights: w.ops.linear(x[0].tensor, w, "layer", N_IN, N_OUT, gelu=True)),
            (
                "residual",
                [rows, added],
                lambda x, w=weights: w.ops.linear(x[0].tensor, w, "layer", N_IN, N_OUT, residual=x[1].tensor),
            ),
            ("norm", [rows], lambda x, w=weights: w.ops.layer_norm(x[0].tensor, w, "norm", N_IN)),
            ("stem", [mel], lambda x, w=weights: w.ops.stem_stages(x[0].tensor, w, DIMS)),
            (
                "heads",
                [xa, heads, heads],
                lambda x, w=weights: w.ops.store_audio(
                    (x[1].buffer, x[2].buffer), x[0].tensor, w, N_IN, N_HEAD * HEAD_DIM
                ),
            ),
        ):
            add_graph(module, library, f"{prefix(dtype)} {name}", types, forward)
        for name, (shape, _) in weights.declared.items():
            given[name] = to_device(values_of(name, dtype, shape), dtype, CPU())
    return given


def values_of(name, dtype, shape):
    """The numbers of a weight."""
    scale = 1 / math.sqrt(shape[-1]) if len(shape) == 2 else 0.1
    seed = [len(name), *name.removeprefix(prefix(dtype)).encode()]
    return rounded(("norm.weight" in name) + scale * random(seed, *shape), dtype)


def run(graphs, dtype, name, *inputs):
    results = graphs[f"{prefix(dtype)} {name}"].execute(
        *(each if isinstance(each, Buffer) else to_device(each, dtype, CPU()) for each in inputs)
    )
    return list(map(of_buffer, results))


def weight(dtype, name, *shape):
    return values_of(f"{prefix(dtype)}.{name}", dtype, shape).astype(np.float64)


def linear(dtype, x, name, n_out):
    return x @ weight(dtype, f"{name}.weight", n_out, x.shape[-1]).T + weight(dtype, f"{name}.bias", n_out)


def gelu(x):
    return 0.5 * x * (1 + _erf(x / math.sqrt(2)))


def check(found, expected, dtype):
    np.testing.assert_allclose(found, expected, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rows", [0, 1, 127, 128, 129, 300])
def test_a_linear_layer_of_many_rows(kernel_graphs, dtype, rows):
    x, added = (rounded(random(seed, rows, n), dtype) for seed, n in ((1, N_IN), (2, N_OUT)))
    expected = linear(dtype, x.astype(np.float64), "layer", N_OUT)
    check(run(kernel_graphs, dtype, "plain", x)[0], expected, dtype)
    check(run(kernel_graphs, dtype, "gelu", x)[0], gelu(expected), dtype)
    check(run(kernel_graphs, dtype, "residual", x, added)[0], expected + added, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rows", [0, 1, 9])
def test_rows_are_normalised(kernel_graphs, dtype, rows):
    x = rounded(3 + 2 * random(1, rows, N_IN), dtype)
    wide = x.astype(np.float64)
    far = wide - wide.mean(-1, keepdims=True)
    normed = far / np.sqrt((far**2).mean(-1, keepdims=True) + 1e-5)
    expected = normed * weight(dtype, "norm.weight", N_IN) + weight(dtype, "norm.bias", N_IN)
    check(run(kernel_graphs, dtype, "norm", x)[0], expected, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("windows", [1, 2])
def test_convolutions_see_neither_past_their_window_nor_into_the_next(kernel_graphs, dtype, windows):
    mel = random(1, windows, DIMS.n_mels, DIMS.n_frames)
    n = DIMS.n_audio_state
    x = rounded(mel, dtype).transpose(0, 2, 1).astype(np.float64)
    first = gelu(linear(dtype, unfolded(x, 1), "conv1", n))
    second = gelu(linear(dtype, unfolded(rounded(first, dtype).astype(np.float64), 2), "conv2", n))
    positions = weight(dtype, "positional_embedding", N_AUDIO, n)
    found = run(kernel_graphs, dtype, "stem", Buffer.from_numpy(mel))
    for stage, expected in zip(found, (second, second + positions), strict=True):
        check(stage, expected, dtype)


def unfolded(x, stride):
    """(B, T, n) to (B, T / stride, 3 * n)."""
    padded = np.pad(x, [(0, 0), (1, 1), (0, 0)])
    length = x.shape[1]
    return np.concatenate([padded[:, tap : tap + length : stride] for tap in range(3)], -1)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("windows", [1, 3])
def test_keys_and_values_lie_by_heads(kernel_graphs, dtype, windows):
    x = rounded(random(1, windows, N_AUDIO, N_IN), dtype)
    shape = (windows, N_HEAD, N_AUDIO, HEAD_DIM)
    sides = [to_device(np.full(shape, np.nan, np.float32), dtype, CPU()) for _ in range(2)]
    run(kernel_graphs, dtype, "heads", x, *sides)
    wide, n = x.astype(np.float64), N_HEAD * HEAD_DIM
    keys = wide @ weight(dtype, "cross_attn.key.weight", n, N_IN).T
    for side, expected in zip(sides, (keys, linear(dtype, wide, "cross_attn.value", n)), strict=True):
        check(of_buffer(side), expected.reshape(windows, N_AUDIO, N_HEAD, HEAD_DIM).transpose(0, 2, 1, 3), dtype)
